"""What a tensor without PyTorch computes from its values: sums, extremes, places, functions of single values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

Dims = int | Sequence[int] | None


class Found(NamedTuple):
    """Values and the places where they were found."""

    values: Any
    indices: Any


def _axes(dim: Dims) -> Any:
    return dim if dim is None or isinstance(dim, int) else tuple(dim)


class Values(np.ndarray):
    """An array with PyTorch's methods that compute; `tensor.Tensor` has the rest."""

    @property
    def base_array(self) -> np.ndarray:
        """The same memory as a plain array."""
        return self.view(np.ndarray)

    def _new(self, array: Any) -> Self:
        """An array, or a number, as a tensor on the same memory."""
        return np.asarray(array).view(type(self))

    def _real(self) -> np.ndarray:
        """Values as a plain array of real numbers; whole ones become float32, as PyTorch has it."""
        array = self.base_array
        return array if array.dtype.kind in "fc" else array.astype(np.float32)

    # ------------------------------------------------------------------ sums and extremes

    def _reduced(self, function: Any, dim: Dims, keepdim: bool) -> Self:
        return self._new(function(self.base_array, axis=_axes(dim), keepdims=keepdim))

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Self:  # type: ignore[override]
        """Sum over axes; sums of whole and of true values are int64."""
        whole = np.int64 if self.dtype.kind in "biu" else None
        return self._new(np.sum(self.base_array, axis=_axes(dim), keepdims=keepdim, dtype=whole))

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Self:  # type: ignore[override]
        """Mean over axes."""
        return self._reduced(np.mean, dim, keepdim)

    def std(self, dim: Dims = None, correction: int = 1) -> Self:  # type: ignore[override]
        """Standard deviation over axes."""
        return self._new(np.std(self.base_array, axis=_axes(dim), ddof=correction))

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """Largest value over axes."""
        return self._reduced(np.max, dim, keepdim)

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """Smallest value over axes."""
        return self._reduced(np.min, dim, keepdim)

    def max(self, dim: int | None = None) -> Any:  # type: ignore[override]
        """Largest value; along an axis, the values and their places."""
        if dim is None:
            return self.amax()
        index = np.expand_dims(np.argmax(self.base_array, axis=dim), dim)
        values = np.take_along_axis(self.base_array, index, dim)
        return Found(self._new(values.squeeze(dim)), self._new(index.squeeze(dim)))

    def min(self) -> Self:  # type: ignore[override]
        """Smallest value."""
        return self.amin()

    def any(self, dim: Dims = None, keepdim: bool = False) -> Self:  # type: ignore[override]
        """Whether any value over axes is true."""
        return self._reduced(np.any, dim, keepdim)

    def all(self, dim: Dims = None, keepdim: bool = False) -> Self:  # type: ignore[override]
        """Whether all values over axes are true."""
        return self._reduced(np.all, dim, keepdim)

    def argmax(self, dim: int | None = None) -> Self:  # type: ignore[override]
        """Place of the largest value."""
        return self._new(np.argmax(self.base_array, axis=dim))

    def median(self) -> Self:
        """The middle value; of an even number of values the lower one in the middle."""
        flat = np.sort(self.base_array, axis=None)
        return self._new(flat[(len(flat) - 1) // 2])

    def norm(self, dim: Dims = None) -> Self:
        """Length: square root of the sum of squares."""
        return self._new(np.sqrt(np.square(self.base_array).sum(axis=_axes(dim))))

    def cumsum(self, dim: int) -> Self:  # type: ignore[override]
        """Sums so far along an axis; of float32 they are added in double precision."""
        kind = np.float64 if self.dtype == np.float32 else None
        found = np.cumsum(self.base_array, axis=dim, dtype=kind)
        return self._new(found.astype(self.dtype) if kind else found)

    def diff(self, dim: int = -1) -> Self:
        """Each value less the one before it along an axis."""
        return self._new(np.diff(self.base_array, axis=dim))

    def argsort(self) -> Self:  # type: ignore[override]
        """Places in the order of the values along the last axis; equal values stay in their order."""
        return self._new(np.argsort(self.base_array, kind="stable"))

    def gather(self, dim: int, index: Any) -> Self:
        """The values at an index along an axis."""
        return self._new(np.take_along_axis(self.base_array, index.base_array, dim))

    def index_select(self, dim: int, index: Any) -> Self:
        """Some places of an axis."""
        return self._new(np.take(self.base_array, index.base_array, dim))

    def take(self, index: Any) -> Self:  # type: ignore[override]
        """The values at places of the flat tensor."""
        return self._new(np.take(self.base_array, index.base_array))

    def cummax(self, dim: int) -> Found:
        """The largest value so far along an axis. The places are not given."""
        return Found(self._new(np.maximum.accumulate(self.base_array, axis=dim)), None)

    def nonzero(self, as_tuple: bool = False) -> Any:
        """Where values are not zero: (K, axes), or for each axis (K,)."""
        found = np.nonzero(self.base_array)
        return tuple(map(self._new, found)) if as_tuple else self._new(np.stack(found, -1))

    # ------------------------------------------------------------------ values

    def clamp(self, min: Any = None, max: Any = None) -> Self:
        """Values within bounds."""
        return self._new(np.clip(self.base_array, min, max))

    def clamp_(self, min: Any = None, max: Any = None) -> Self:
        """`clamp`, in place."""
        np.clip(self.base_array, min, max, out=self.base_array)
        return self

    def clamp_min(self, least: Any) -> Self:
        """Values of at least `least`."""
        return self.clamp(least)

    def clamp_min_(self, least: Any) -> Self:
        """`clamp_min`, in place."""
        return self.clamp_(least)

    def clamp_max(self, most: Any) -> Self:
        """Values of at most `most`."""
        return self.clamp(None, most)

    def clamp_max_(self, most: Any) -> Self:
        """Values of at most `most`, in place."""
        return self.clamp_(None, most)

    def _set(self, function: Any, *others: Any) -> Self:
        function(self.base_array, *others, out=self.base_array)
        return self

    def add_(self, other: Any, alpha: Any = 1) -> Self:
        """Adds other times alpha, in place."""
        return self._set(np.add, other if alpha == 1 else other * alpha)

    def sub_(self, other: Any) -> Self:
        """Subtracts in place."""
        return self._set(np.subtract, other)

    def mul_(self, other: Any) -> Self:
        """Multiplies in place."""
        return self._set(np.multiply, other)

    def div_(self, other: Any) -> Self:
        """Divides in place."""
        return self._set(np.true_divide, other)

    def neg_(self) -> Self:
        """Changes the sign in place."""
        return self._set(np.negative)

    def floor_(self) -> Self:
        """Rounds down in place."""
        return self._set(np.floor)

    def masked_fill_(self, mask: Any, value: Any) -> Self:
        """One value where a mask is true, in place."""
        self[mask.base_array] = value
        return self

    def mul(self, other: Any) -> Self:
        """Product."""
        return self * other

    def div(self, other: Any) -> Self:
        """Quotient."""
        return self / other

    def ceil(self) -> Self:
        """Rounded up."""
        return self._new(np.ceil(self.base_array))

    def exp(self) -> Self:
        """e to the power of values."""
        return self._new(np.exp(self._real()))

    def log(self) -> Self:
        """Natural logarithm; -inf of 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._new(np.log(self._real()))

    def isfinite(self) -> Self:
        """Whether values are numbers."""
        return self._new(np.isfinite(self.base_array))

    def floor(self) -> Self:
        """Rounded down."""
        return self._new(np.floor(self.base_array))

    def round(self) -> Self:  # type: ignore[override]
        """Rounded, halves to the even number."""
        return self._new(np.rint(self.base_array))

    def abs(self) -> Self:
        """Without sign."""
        return self._new(np.abs(self.base_array))

    def square(self) -> Self:
        """Times itself."""
        return self._new(np.square(self.base_array))

    def sqrt(self) -> Self:
        """Square root."""
        return self._new(np.sqrt(self._real()))

    def softmax(self, dim: int) -> Self:
        """Shares that sum to 1 along an axis."""
        real = self._real()
        raised = np.exp(real - real.max(dim, keepdims=True))
        return self._new(raised / raised.sum(dim, keepdims=True))

    def remainder(self, divisor: int) -> Self:
        """What a division leaves, with the sign of the divisor."""
        return self._new(np.remainder(self.base_array, divisor))
