"""`torch.fft` without PyTorch: NumPy's transforms, in single precision where the input is."""

from __future__ import annotations

from typing import Any

import numpy as np

from .absent import missing
from .tensor import Tensor, wrap


def rfft2(x: Tensor, s: tuple[int, int] | None = None) -> Tensor:
    """The half spectrum of planes (..., H, W), cut or filled with zeros to the size `s` first."""
    found = np.fft.rfft2(x.base_array, s, axes=(-2, -1))
    return wrap(found.astype(np.complex64, copy=False) if x.dtype == np.float32 else found)


def irfft2(x: Tensor, s: tuple[int, int]) -> Tensor:
    """Planes of the size `s` of half spectra (..., H, W / 2 + 1)."""
    found = np.fft.irfft2(x.base_array, s, axes=(-2, -1))
    return wrap(found.astype(np.float32, copy=False) if x.dtype == np.complex64 else found)


def __getattr__(name: str) -> Any:
    return missing("torch.fft", name)
