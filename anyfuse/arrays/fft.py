"""`torch.fft` without PyTorch: transforms of planes, in single precision where the input is.

Rows of float32 planes are transformed as a product with a matrix of waves, and columns by NumPy's inverse transform of
what is conjugate. Both are several times as fast as NumPy's own transforms of float32 to this direction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .absent import missing
from .tensor import Tensor, wrap

LONGEST = 512  # row up to which the product is the faster way


def rfft2(x: Tensor, s: tuple[int, int] | None = None) -> Tensor:
    """The half spectrum of planes (..., H, W), filled with zeros to the size `s` first."""
    rows, columns = s or (x.shape[-2], x.shape[-1])
    if x.dtype != np.float32 or columns > LONGEST or x.shape[-1] > columns:
        found = np.fft.rfft2(x.base_array, (rows, columns), axes=(-2, -1))
        return wrap(found.astype(np.complex64, copy=False) if x.dtype == np.float32 else found)
    flat = x.base_array.reshape(-1, x.shape[-1]) @ _waves(x.shape[-1], columns)
    half = flat.view(np.complex64).reshape(*x.shape[:-1], columns // 2 + 1)
    found = np.fft.ifft(half, rows, axis=-2, norm="forward").astype(np.complex64, copy=False)
    return wrap(np.conj(found, out=found))


@lru_cache(maxsize=16)
def _waves(length: int, size: int) -> np.ndarray:
    """(length, 2 (size / 2 + 1)): cosines and sines in turn, the conjugate half spectrum of each value of a row."""
    turns = np.outer(np.arange(length), np.arange(size // 2 + 1)) % size * (2 * np.pi / size)
    return np.stack([np.cos(turns), np.sin(turns)], 2).reshape(length, -1).astype(np.float32)


def irfft2(x: Tensor, s: tuple[int, int]) -> Tensor:
    """Planes of the size `s` of half spectra (..., H, W / 2 + 1)."""
    found = np.fft.irfft2(x.base_array, s, axes=(-2, -1))
    return wrap(found.astype(np.float32, copy=False) if x.dtype == np.complex64 else found)


def __getattr__(name: str) -> Any:
    return missing("torch.fft", name)
