"""Which number format an operation of two tensors has: PyTorch's rules, where NumPy's are others.

PyTorch     whole numbers and a float give float32; a tensor without axes does not widen one with axes
NumPy       whole numbers and a float give float64; an array without axes counts as any other
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOAT32 = np.dtype(np.float32)
CLASSES = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
"""Kinds of numbers, each of which holds those before it."""


def plain(value: Any) -> Any:
    """A tensor as a plain array, and a single number as Python's."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    return value.item() if isinstance(value, np.generic) else value


def agreed(ufunc: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """Two operands, as `plain` gives them, in the formats in which PyTorch computes with them."""
    arrays = isinstance(one, np.ndarray), isinstance(other, np.ndarray)
    if all(arrays):
        one, other = _of_arrays(one, other)
    elif arrays[0]:
        one = _with_number(one, other)
    elif arrays[1]:
        other = _with_number(other, one)
    if ufunc is np.true_divide:
        return _divisible(one), _divisible(other)
    return one, other


def _of_arrays(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if one.dtype == other.dtype:
        return one, other
    first, second = CLASSES.get(one.dtype.kind, 0), CLASSES.get(other.dtype.kind, 0)
    if first == second and (one.ndim == 0) != (other.ndim == 0):  # the one with axes decides
        first, second = int(one.ndim > 0), int(other.ndim > 0)
    if first > second:
        return one, other.astype(one.dtype)
    return (one.astype(other.dtype), other) if second > first else (one, other)


def _with_number(array: np.ndarray, number: Any) -> np.ndarray:
    """Whole numbers become float32 beside a float."""
    return array.astype(FLOAT32) if isinstance(number, float) and array.dtype.kind in "biu" else array


def _divisible(value: Any) -> Any:
    is_whole = isinstance(value, np.ndarray) and value.dtype.kind in "biu"
    return value.astype(FLOAT32) if is_whole else value
