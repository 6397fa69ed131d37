"""PyTorch's tensor on a NumPy array: the methods that fusing with the default model needs, with PyTorch's meaning.

Numbers may differ from PyTorch's in the last bit: sums run in another order, and products are not fused with sums.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .promotion import agreed, plain
from .values import Values


@dataclass(frozen=True)
class Device:
    """Where a tensor lies: always in the memory of the CPU."""

    type: str = "cpu"

    def __str__(self) -> str:
        return self.type


CPU = Device()


def wrap(array: Any) -> Tensor:
    """An array, or a number, as a tensor on the same memory."""
    return np.asarray(array).view(Tensor)


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes that are given one by one or as a sequence."""
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else tuple(shape)


class Tensor(Values):
    """An array with PyTorch's methods. Arithmetic and comparison are NumPy's, in PyTorch's formats (`promotion.py`);
    indexing is NumPy's."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        """What NumPy does for each operation on values."""
        values = tuple(map(plain, inputs))
        if len(values) == 2 and method == "__call__" and ufunc is not np.matmul:
            values = agreed(ufunc, *values)
        if out is not None:
            getattr(ufunc, method)(*values, out=tuple(map(plain, out)), **options)
            return out[0]
        return wrap(getattr(ufunc, method)(*values, **options))

    def __getitem__(self, key: Any) -> Any:
        """As an array; a single value is a tensor too."""
        found = super().__getitem__(key)
        return found if isinstance(found, Tensor) else wrap(found)

    def __int__(self) -> builtins.int:
        """The only value, whatever the number of axes."""
        return int(self.item())

    def __float__(self) -> builtins.float:
        """The only value, whatever the number of axes."""
        return builtins.float(self.item())

    # ------------------------------------------------------------------ facts

    @property
    def device(self) -> Any:
        """The CPU."""
        return CPU

    def dim(self) -> builtins.int:
        """Number of axes."""
        return self.ndim

    def numel(self) -> builtins.int:
        """Number of values."""
        return math.prod(self.shape)

    def stride(self, dim: builtins.int | None = None) -> Any:
        """Steps in memory from one value to the next along each axis, or along one, in values."""
        steps = tuple(step // self.itemsize for step in self.strides)
        return steps if dim is None else steps[dim]

    def data_ptr(self) -> builtins.int:
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

    def long(self) -> Tensor:
        """As int64, cut towards 0."""
        return self.to(np.dtype(np.int64))

    def int(self) -> Tensor:
        """As int32, cut towards 0."""
        return self.to(np.dtype(np.int32))

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

    def expand_as(self, other: Tensor) -> Tensor:
        """`expand` to the shape of another tensor."""
        return self.expand(other.shape)

    def view_as(self, other: Tensor) -> Any:
        """The sizes of another tensor."""
        return self.reshape(other.shape)

    def flatten(self, start: builtins.int = 0, end: builtins.int = -1) -> Tensor:  # type: ignore[override]
        """Axes from `start` to `end` as one."""
        start, end = start % self.ndim, end % self.ndim
        return wrap(self.base_array.reshape(*self.shape[:start], -1, *self.shape[end + 1 :]))

    def unflatten(self, dim: builtins.int, sizes: Sequence[builtins.int]) -> Tensor:
        """One axis as several."""
        dim %= self.ndim
        return wrap(self.base_array.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :]))

    def view(self, *shape: Any) -> Any:  # type: ignore[override]
        """Other sizes, or NumPy's own `view` for a type."""
        if shape and (isinstance(shape[0], builtins.int) or (isinstance(shape[0], tuple | list) and len(shape) == 1)):
            return self.reshape(*sizes_of(shape))
        return super().view(*shape)

    def permute(self, *dims: Any) -> Tensor:
        """Axes in another order."""
        return wrap(self.base_array.transpose(sizes_of(dims)))

    def movedim(self, source: builtins.int, target: builtins.int) -> Tensor:
        """One axis at another place."""
        return wrap(np.moveaxis(self.base_array, source, target))

    def unsqueeze(self, dim: builtins.int) -> Tensor:
        """With a new axis of one value."""
        return wrap(np.expand_dims(self.base_array, dim))

    def squeeze(self, dim: builtins.int) -> Tensor:  # type: ignore[override]
        """Without an axis, if that has one value."""
        return wrap(np.squeeze(self.base_array, dim)) if self.shape[dim] == 1 else self

    def unfold(self, dim: builtins.int, size: builtins.int, step: builtins.int) -> Tensor:
        """Parts of `size` values along an axis, each `step` further; their values are a new last axis."""
        parts = np.lib.stride_tricks.sliding_window_view(self.base_array, size, axis=dim)
        return wrap(parts)[(slice(None),) * (dim % self.ndim) + (slice(None, None, step),)]

    def unbind(self, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """The parts along an axis, without it."""
        return tuple(np.moveaxis(self, dim, 0)[k] for k in range(self.shape[dim]))

    def narrow(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
        """A range of one axis."""
        return self[(slice(None),) * (dim % self.ndim) + (slice(start, start + length),)]

    def split(self, sizes: builtins.int | Sequence[builtins.int], dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Parts of some sizes along an axis."""
        if isinstance(sizes, builtins.int):
            sizes = [min(sizes, self.shape[dim] - at) for at in range(0, self.shape[dim], sizes)]
        starts = np.cumsum([0, *sizes])
        return tuple(self.narrow(dim, int(at), size) for at, size in zip(starts, sizes, strict=False))

    def chunk(self, count: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Parts of one size along an axis."""
        return self.split(-(-self.shape[dim] // count), dim)
