"""`torch` without PyTorch: the functions that fusing with the default model needs, on NumPy arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..engine_choice import lacks_torch
from . import fft, functional, linalg
from . import layers as nn
from .absent import missing
from .tensor import CPU, Device, Tensor, sizes_of, wrap

__all__ = ["Generator", "Tensor", "fft", "functional", "linalg", "nn"]

uint8, int64 = np.dtype(np.uint8), np.dtype(np.int64)
float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
bool = np.dtype(np.bool_)
bfloat16 = "bfloat16"
"""A name alone: no network runs in it here."""
dtype = np.dtype
Size = tuple
channels_last = contiguous_format = strided = None
__version__ = "not installed"


class Generator:
    """Random draws need PyTorch: a seed means its numbers."""

    def __init__(self) -> None:
        raise lacks_torch("a random draw")


def device(name: Any) -> Device:
    """The CPU; RuntimeError for another device."""
    if str(name) != "cpu":
        raise RuntimeError(f"no device {name}")
    return CPU


cuda = SimpleNamespace(is_available=lambda: False)
jit = SimpleNamespace(is_tracing=lambda: False)
compiler = SimpleNamespace(is_exporting=lambda: False)
autograd = SimpleNamespace(
    Function=missing("torch.autograd", "Function"),
    function=SimpleNamespace(once_differentiable=lambda function: function),
)
backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))


@contextlib.contextmanager
def inference_mode() -> Iterator[None]:
    """Nothing: there are no gradients."""
    yield


no_grad = inference_mode


def is_grad_enabled() -> Any:
    """False."""
    return False


_threads = [0]


def get_num_threads() -> int:
    """Threads that compiled kernels and ONNX Runtime may use: OMP_NUM_THREADS, or one for each core of the process."""
    if not _threads[0]:
        given = os.environ.get("OMP_NUM_THREADS", "")
        _threads[0] = int(given) if given.isdigit() and int(given) else _cores()
    return _threads[0]


def _cores() -> int:
    """Cores that this process may use, as a container or a queue gives them."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """Changes that number."""
    _threads[0] = count


# ---------------------------------------------------------------------- new tensors


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor on the memory of an array."""
    return wrap(array)


def as_tensor(values: Any, dtype: Any = None) -> Tensor:
    """Values as a tensor; floats are float32."""
    array = np.asarray(values, dtype)
    plain = dtype is None and array.dtype == float64 and not isinstance(values, np.ndarray)
    return wrap(array.astype(float32) if plain else array)


def tensor(values: Any, dtype: Any = None) -> Tensor:
    """A copy of values as a tensor; floats are float32."""
    return as_tensor(values, dtype).clone()


def empty(*shape: Any, dtype: Any = float32) -> Tensor:
    """A tensor with no values yet."""
    return wrap(np.empty(sizes_of(shape), dtype))


def zeros(*shape: Any, dtype: Any = float32) -> Tensor:
    """Zeros."""
    return wrap(np.zeros(sizes_of(shape), dtype))


def ones(*shape: Any, dtype: Any = float32) -> Tensor:
    """Ones."""
    return wrap(np.ones(sizes_of(shape), dtype))


def full(shape: Sequence[int], value: float, dtype: Any = float32) -> Tensor:
    """One value everywhere."""
    return wrap(np.full(shape, value, dtype))


def eye(count: int, dtype: Any = float32) -> Tensor:
    """The identity matrix."""
    return wrap(np.eye(count, dtype=dtype))


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros of the same shape, and of the same dtype if none is given."""
    return wrap(np.zeros(x.shape, dtype or x.dtype))


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones of the same shape, and of the same dtype if none is given."""
    return wrap(np.ones(x.shape, dtype or x.dtype))


def full_like(x: Tensor, value: float) -> Tensor:
    """One value everywhere, in the same shape and dtype."""
    return wrap(np.full(x.shape, value, x.dtype))


def empty_like(x: Tensor) -> Tensor:
    """No values yet, in the same shape, dtype and order of axes in memory."""
    return np.empty_like(x)


def arange(start: int, stop: int | None = None, dtype: Any = None, device: Any = CPU) -> Tensor:
    """start, start + 1, ... below stop; with one number, from 0."""
    return wrap(np.arange(start, stop, dtype=dtype) if stop is not None else np.arange(start, dtype=dtype))


def linspace(start: float, stop: float, count: int, dtype: Any = float32) -> Tensor:
    """Evenly spaced numbers, both ends included."""
    return wrap(np.linspace(start, stop, count, dtype=dtype))


def meshgrid(*axes: Tensor, indexing: Any = "ij") -> list[Tensor]:
    """Coordinates of a grid."""
    return list(map(wrap, np.meshgrid(*axes, indexing=indexing)))


# ---------------------------------------------------------------------- several tensors


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return wrap(np.stack(tensors, dim))


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis."""
    return wrap(np.concatenate(tensors, dim))


def where(condition: Any, yes: Any, no: Any) -> Tensor:
    """`yes` where the condition is true, else `no`."""
    return wrap(np.where(condition, yes, no))


def einsum(rule: str, *tensors: Tensor) -> Tensor:
    """Sums of products by Einstein's notation."""
    return wrap(np.einsum(rule, *(x.base_array for x in tensors), optimize=True))


def equal(x: Tensor, y: Tensor) -> Any:
    """Whether two tensors have the same shape and values."""
    return np.array_equal(x.base_array, y.base_array)


# ---------------------------------------------------------------------- numbers and places


def bincount(x: Tensor, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 on is there."""
    return wrap(np.bincount(x.base_array, minlength=minlength))


def corrcoef(x: Tensor) -> Tensor:
    """Correlations of rows with each other."""
    return wrap(np.corrcoef(x.base_array).astype(x.dtype))


def nonzero(x: Tensor) -> Tensor:
    """Where values are not zero, (K, axes)."""
    return wrap(x.nonzero())


# ---------------------------------------------------------------------- values


def add(x: Any, y: Any, *, out: Any = None) -> Any:
    """Sum."""
    return np.add(x, y, out=out)


def sub(x: Any, y: Any, *, out: Any = None) -> Any:
    """Difference."""
    return np.subtract(x, y, out=out)


def mul(x: Any, y: Any, *, out: Any = None) -> Any:
    """Product."""
    return np.multiply(x, y, out=out)


def div(x: Any, y: Any) -> Any:
    """Quotient."""
    return np.true_divide(x, y)


def maximum(x: Any, y: Any) -> Any:
    """The larger of two."""
    return np.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two."""
    return np.minimum(x, y)


def logical_or(x: Any, y: Any) -> Any:
    """Whether one of two is true."""
    return np.logical_or(x, y)


def addcmul(x: Any, y: Any, z: Any) -> Any:
    """x plus y times z."""
    return x + y * z


def lerp(start: Any, end: Any, share: Any, *, out: Any = None) -> Any:
    """From start to end by a share."""
    moved = (end - start) * share
    return np.add(start, moved, out=out)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return np.tanh(x)


def exp(x: Any) -> Any:
    """e to the power of x."""
    return np.exp(x)


def isfinite(x: Any) -> Any:
    """Whether values are numbers."""
    return np.isfinite(x)


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several."""
    return x.unflatten(dim, sizes)


def __getattr__(name: str) -> Any:
    return missing("torch", name)
