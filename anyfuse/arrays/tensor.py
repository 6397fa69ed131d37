"""PyTorch's tensor on a NumPy array: the methods that fusing with the default model needs, with PyTorch's meaning.

Numbers may differ from PyTorch's in the last bit: sums run in another order, and products are not fused with sums.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Dims = int | Sequence[int] | None


@dataclass(frozen=True)
class Device:
    """Where a tensor lies: always in the memory of the CPU."""

    type: str = "cpu"

    def __str__(self) -> str:
        return self.type


class Found(NamedTuple):
    """Values and the places where they were found."""

    values: Any
    indices: Any


CPU = Device()


def wrap(array: Any) -> Tensor:
    """An array, or a number, as a tensor on the same memory."""
    return np.asarray(array).view(Tensor)


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes that are given one by one or as a sequence."""
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else tuple(shape)


def _axes(dim: Dims) -> Any:
    return dim if dim is None or isinstance(dim, int) else tuple(dim)


class Tensor(np.ndarray):
    """An array with PyTorch's methods. Arithmetic, comparison and indexing are NumPy's, which agree with PyTorch's."""

    def __getitem__(self, key: Any) -> Any:
        """As an array; a single value is a tensor too."""
        found = super().__getitem__(key)
        return found if isinstance(found, Tensor) else wrap(found)

    def __int__(self) -> int:
        """The only value, whatever the number of axes."""
        return int(self.item())

    def __float__(self) -> builtins.float:
        """The only value, whatever the number of axes."""
        return builtins.float(self.item())

    @property
    def base_array(self) -> np.ndarray:
        """The same memory as a plain array."""
        return self.view(np.ndarray)

    # ------------------------------------------------------------------ facts

    @property
    def device(self) -> Any:
        """The CPU."""
        return CPU

    def dim(self) -> int:
        """Number of axes."""
        return self.ndim

    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def stride(self, dim: int | None = None) -> Any:
        """Steps in memory from one value to the next along each axis, or along one, in values."""
        steps = tuple(step // self.itemsize for step in self.strides)
        return steps if dim is None else steps[dim]

    def data_ptr(self) -> int:
        """Address of the first value."""
        return int(self.ctypes.data)

    def is_contiguous(self) -> bool:
        """Whether the values lie one after the other, the last axis fastest."""
        return bool(self.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether values are of a float type."""
        return self.dtype.kind == "f"

    # ------------------------------------------------------------------ conversion and memory

    def numpy(self) -> np.ndarray:
        """The same memory as a plain array."""
        return self.base_array

    def to(self, *wanted: Any, **_: Any) -> Tensor:
        """In another dtype, or that of another tensor. Devices and memory formats mean nothing here."""
        for one in wanted:
            dtype = one.dtype if isinstance(one, Tensor) else one
            if isinstance(dtype, np.dtype | type):
                return self if self.dtype == dtype else wrap(self.base_array.astype(dtype))
        return self

    def cpu(self) -> Tensor:
        """Itself."""
        return self

    detach = cpu

    def float(self) -> Tensor:
        """As float32."""
        return self.to(np.dtype(np.float32))

    def double(self) -> Tensor:
        """As float64."""
        return self.to(np.dtype(np.float64))

    def clone(self) -> Tensor:
        """A copy."""
        return wrap(self.base_array.copy())

    def contiguous(self, **_: Any) -> Tensor:
        """With dense memory, the last axis fastest."""
        return wrap(np.ascontiguousarray(self.base_array))

    def new_empty(self, *shape: Any) -> Tensor:
        """A tensor of the same dtype with no values yet."""
        return wrap(np.empty(sizes_of(shape), self.dtype))

    def new_tensor(self, values: Any) -> Tensor:
        """Values in the same dtype."""
        return wrap(np.array(values, self.dtype))

    # ------------------------------------------------------------------ shape

    def expand(self, *shape: Any) -> Tensor:
        """Axes of one value repeated without a copy; -1 leaves an axis as it is."""
        sizes = sizes_of(shape)
        own = (1,) * (len(sizes) - self.ndim) + self.shape
        full = [mine if size == -1 else size for size, mine in zip(sizes, own, strict=True)]
        return wrap(np.broadcast_to(self.base_array, full))

    def flatten(self, start: int = 0, end: int = -1) -> Tensor:  # type: ignore[override]
        """Axes from `start` to `end` as one."""
        start, end = start % self.ndim, end % self.ndim
        return wrap(self.base_array.reshape(*self.shape[:start], -1, *self.shape[end + 1 :]))

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """One axis as several."""
        dim %= self.ndim
        return wrap(self.base_array.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :]))

    def view(self, *shape: Any) -> Any:  # type: ignore[override]
        """Other sizes, or NumPy's own `view` for a type."""
        if shape and (isinstance(shape[0], int) or (isinstance(shape[0], tuple) and len(shape) == 1)):
            return self.reshape(*sizes_of(shape))
        return super().view(*shape)

    def permute(self, *dims: Any) -> Tensor:
        """Axes in another order."""
        return wrap(self.base_array.transpose(sizes_of(dims)))

    def movedim(self, source: int, target: int) -> Tensor:
        """One axis at another place."""
        return wrap(np.moveaxis(self.base_array, source, target))

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of one value."""
        return wrap(np.expand_dims(self.base_array, dim))

    def squeeze(self, dim: int) -> Tensor:  # type: ignore[override]
        """Without an axis, if that has one value."""
        return wrap(np.squeeze(self.base_array, dim)) if self.shape[dim] == 1 else self

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The parts along an axis, without it."""
        return tuple(np.moveaxis(self, dim, 0)[k] for k in range(self.shape[dim]))

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """A range of one axis."""
        return self[(slice(None),) * (dim % self.ndim) + (slice(start, start + length),)]

    def split(self, sizes: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Parts of some sizes along an axis."""
        if isinstance(sizes, int):
            sizes = [min(sizes, self.shape[dim] - at) for at in range(0, self.shape[dim], sizes)]
        starts = np.cumsum([0, *sizes])
        return tuple(self.narrow(dim, int(at), size) for at, size in zip(starts, sizes, strict=False))

    def chunk(self, count: int, dim: int = 0) -> tuple[Tensor, ...]:
        """Parts of one size along an axis."""
        return self.split(-(-self.shape[dim] // count), dim)

    # ------------------------------------------------------------------ sums and extremes

    def _reduced(self, function: Any, dim: Dims, keepdim: bool) -> Tensor:
        return wrap(function(self.base_array, axis=_axes(dim), keepdims=keepdim))

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor:  # type: ignore[override]
        """Sum over axes; numbers of true values are whole."""
        return self._reduced(np.sum, dim, keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor:  # type: ignore[override]
        """Mean over axes."""
        return self._reduced(np.mean, dim, keepdim)

    def std(self, dim: Dims = None, correction: int = 1) -> Tensor:  # type: ignore[override]
        """Standard deviation over axes."""
        return wrap(np.std(self.base_array, axis=_axes(dim), ddof=correction))

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Largest value over axes."""
        return self._reduced(np.max, dim, keepdim)

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Smallest value over axes."""
        return self._reduced(np.min, dim, keepdim)

    def max(self) -> Tensor:  # type: ignore[override]
        """Largest value."""
        return self.amax()

    def min(self) -> Tensor:  # type: ignore[override]
        """Smallest value."""
        return self.amin()

    def any(self, dim: Dims = None, keepdim: bool = False) -> Tensor:  # type: ignore[override]
        """Whether any value over axes is true."""
        return self._reduced(np.any, dim, keepdim)

    def all(self, dim: Dims = None, keepdim: bool = False) -> Tensor:  # type: ignore[override]
        """Whether all values over axes are true."""
        return self._reduced(np.all, dim, keepdim)

    def argmax(self, dim: int | None = None) -> Tensor:  # type: ignore[override]
        """Place of the largest value."""
        return wrap(np.argmax(self.base_array, axis=dim))

    def median(self) -> Tensor:
        """The middle value; of an even number of values the lower one in the middle."""
        flat = np.sort(self.base_array, axis=None)
        return wrap(flat[(len(flat) - 1) // 2])

    def cummax(self, dim: int) -> Found:
        """The largest value so far along an axis. The places are not given."""
        return Found(wrap(np.maximum.accumulate(self.base_array, axis=dim)), None)

    def nonzero(self, as_tuple: bool = False) -> Any:
        """Where values are not zero: (K, axes), or for each axis (K,)."""
        found = np.nonzero(self.base_array)
        return tuple(map(wrap, found)) if as_tuple else wrap(np.stack(found, -1))

    # ------------------------------------------------------------------ values

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Values within bounds."""
        return wrap(np.clip(self.base_array, min, max))

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """`clamp`, in place."""
        np.clip(self.base_array, min, max, out=self.base_array)
        return self

    def clamp_min(self, least: Any) -> Tensor:
        """Values of at least `least`."""
        return self.clamp(least)

    def clamp_min_(self, least: Any) -> Tensor:
        """`clamp_min`, in place."""
        return self.clamp_(least)

    def clamp_max_(self, most: Any) -> Tensor:
        """Values of at most `most`, in place."""
        return self.clamp_(None, most)

    def _set(self, function: Any, *others: Any) -> Tensor:
        function(self.base_array, *others, out=self.base_array)
        return self

    def add_(self, other: Any, alpha: Any = 1) -> Tensor:
        """Adds other times alpha, in place."""
        return self._set(np.add, other if alpha == 1 else other * alpha)

    def mul_(self, other: Any) -> Tensor:
        """Multiplies in place."""
        return self._set(np.multiply, other)

    def div_(self, other: Any) -> Tensor:
        """Divides in place."""
        return self._set(np.true_divide, other)

    def neg_(self) -> Tensor:
        """Changes the sign in place."""
        return self._set(np.negative)

    def floor_(self) -> Tensor:
        """Rounds down in place."""
        return self._set(np.floor)

    def floor(self) -> Tensor:
        """Rounded down."""
        return wrap(np.floor(self.base_array))

    def round(self) -> Tensor:  # type: ignore[override]
        """Rounded, halves to the even number."""
        return wrap(np.rint(self.base_array))

    def abs(self) -> Tensor:
        """Without sign."""
        return wrap(np.abs(self.base_array))

    def square(self) -> Tensor:
        """Times itself."""
        return wrap(np.square(self.base_array))

    def sqrt(self) -> Tensor:
        """Square root."""
        return wrap(np.sqrt(self.base_array))

    def softmax(self, dim: int) -> Tensor:
        """Shares that sum to 1 along an axis."""
        raised = np.exp(self.base_array - self.base_array.max(dim, keepdims=True))
        return wrap(raised / raised.sum(dim, keepdims=True))

    def remainder(self, divisor: int) -> Tensor:
        """What a division leaves, with the sign of the divisor."""
        return wrap(np.remainder(self.base_array, divisor))
