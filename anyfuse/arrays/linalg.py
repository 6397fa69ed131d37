"""`torch.linalg` without PyTorch: what small matrices need."""

from __future__ import annotations

from typing import Any

import numpy as np

from .absent import missing
from .tensor import Tensor, wrap


def inv(matrix: Tensor) -> Tensor:
    """The inverse of square matrices (..., n, n)."""
    return wrap(np.linalg.inv(matrix.base_array))


def det(matrix: Tensor) -> Tensor:
    """The determinant of square matrices (..., n, n)."""
    return wrap(np.linalg.det(matrix.base_array))


def __getattr__(name: str) -> Any:
    return missing("torch.linalg", name)
