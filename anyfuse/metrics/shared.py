"""What the metrics have in common: checked inputs, separable filters, and results kept for the next metric.

Every metric is a function `(fused, sources, shared=None) -> Tensor (B,)` with fused (B, H, W), sources (B, N, H, W)
and values in 0..255. `Shared` holds one such batch and remembers gradients, histograms, local moments and spectra, so
that a set of metrics of one triple pays for each of them once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from anyfuse.errors import FusionError


class TooSmallError(FusionError):
    """The images are smaller than the window of a metric."""


class Shared:
    """One batch of fused images and their sources, with everything that was computed from it.

    images: (B, 1 + N, H, W), fused first, in float64 (or in float32 if that is what came in).
    """

    def __init__(self, fused: Tensor, sources: Tensor) -> None:
        check_shapes(fused, sources)
        if not fused.is_floating_point() or not sources.is_floating_point():
            fused, sources = fused.double(), sources.double()
        dtype = torch.promote_types(fused.dtype, sources.dtype)
        if dtype in (torch.float16, torch.bfloat16):
            dtype = torch.float32
        self.images = torch.cat([fused[:, None].to(dtype), sources.to(dtype)], dim=1)
        self._kept: dict[Any, Any] = {}

    @classmethod
    def of(cls, fused: Tensor, sources: Tensor, shared: Shared | None) -> Shared:
        """`shared` where it is given, else a new one of fused (B, H, W) and sources (B, N, H, W)."""
        return cls(fused, sources) if shared is None else shared

    @property
    def fused(self) -> Tensor:
        """(B, H, W)"""
        return self.images[:, 0]

    @property
    def sources(self) -> Tensor:
        """(B, N, H, W)"""
        return self.images[:, 1:]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.images.shape[-2], self.images.shape[-1]

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value under `key`, computed by `make` the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def forget(self) -> None:
        """Drops all that was kept, to bound memory between groups of metrics that share nothing large."""
        self._kept.clear()

    def double(self) -> Shared:
        """The same batch in float64."""
        if self.images.dtype == torch.float64:
            return self
        images = self.images.double()
        return self.once("double", lambda: Shared(images[:, 0], images[:, 1:]))

    def keep_nan(self, value: Tensor) -> Tensor:
        """`value` (B,), NaN where the images have NaN pixels that a mean over windows has dropped."""
        return value.masked_fill(self.images.isnan().flatten(1).any(1), float("nan"))

    def at_least(self, rows: int, columns: int, metric: str) -> None:
        """Refuses images smaller than the window of `metric`."""
        height, width = self.size
        if height < rows or width < columns:
            raise TooSmallError(
                f"{metric} needs images of at least {columns}x{rows} pixels, got {width}x{height}: "
                "leave this metric out or use larger images"
            )

    def levels(self, i: int) -> Tensor:
        """Grey levels (B, H, W) uint8 of image i: values rounded half up, as every reference sees 8-bit images."""
        return self.once(("levels", i), lambda: self._levels(self.images[:, i]))

    def _levels(self, image: Tensor) -> Tensor:
        image = image.detach()
        low, high = (float(v) for v in torch.aminmax(image))
        if math.isnan(low) or math.isnan(high):
            raise FusionError("metrics over grey levels need finite values, got NaN: mend the image")
        if not (low >= -0.5 and high < 255.5):
            raise FusionError(
                f"metrics over grey levels need values in 0..255, got {low:g}..{high:g}: scale the images to 0..255"
            )
        return (image + 0.5).to(torch.uint8)


def check_shapes(fused: Tensor, sources: Tensor) -> None:
    """Raises FusionError unless fused is (B, H, W) and sources (B, N, H, W) with N >= 1."""
    if fused.ndim != 3 or sources.ndim != 4:
        raise FusionError(
            f"metrics take fused (B, H, W) and sources (B, N, H, W), got {tuple(fused.shape)} and "
            f"{tuple(sources.shape)}"
        )
    if fused.shape[0] != sources.shape[0] or fused.shape[1:] != sources.shape[2:]:
        raise FusionError(
            f"fused {tuple(fused.shape)} and sources {tuple(sources.shape)} differ in batch or size: "
            "bring all images to one size first"
        )
    if fused.numel() == 0 or sources.shape[1] == 0:
        raise FusionError(f"nothing to measure: fused {tuple(fused.shape)}, sources {tuple(sources.shape)}")


# Filters. All work on the last two dimensions of any tensor.


def border_index(length: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """Indices of a padded axis. mode: replicate (edge repeated), symmetric (edge doubled) or reflect (edge once)."""
    index = torch.arange(-before, length + after, device=device)
    if mode == "replicate" or length == 1:
        return index.clamp(0, length - 1)
    if mode == "symmetric":
        index = index.remainder(2 * length)
        return torch.minimum(index, 2 * length - 1 - index)
    if mode == "reflect":
        index = index.remainder(2 * length - 2)
        return torch.minimum(index, 2 * length - 2 - index)
    raise ValueError(f"unknown border {mode!r}")


def pad(x: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    """Pads the last two dimensions; mode zeros, replicate, symmetric or reflect, any width."""
    if mode == "zeros":
        return torch.nn.functional.pad(x, (*columns, *rows))
    if any(rows):
        x = x.index_select(-2, border_index(x.shape[-2], *rows, mode, x.device))
    if any(columns):
        x = x.index_select(-1, border_index(x.shape[-1], *columns, mode, x.device))
    return x


def correlate(x: Tensor, taps: Sequence[float], dim: int, step: int = 1) -> Tensor:
    """Correlation with `taps` along `dim` (-1 or -2), only where the window fits, every `step`-th result."""
    length = x.shape[dim] - len(taps) + 1
    if length < 1:
        raise TooSmallError(f"image side {x.shape[dim]} is smaller than a window of {len(taps)} pixels")
    if len(taps) > 24:
        full = _correlate_long(x, taps, dim, length)
        return full if step == 1 else full[..., ::step] if dim == -1 else full[..., ::step, :]
    out: Tensor | None = None
    for offset, tap in enumerate(taps):
        if tap == 0:
            continue
        part = x.narrow(dim, offset, length)
        if step > 1:
            part = part[..., ::step] if dim == -1 else part[..., ::step, :]
        out = part * tap if out is None else out.add_(part, alpha=tap)
    return torch.zeros_like(x.narrow(dim, 0, length)) if out is None else out


def _correlate_long(x: Tensor, taps: Sequence[float], dim: int, length: int) -> Tensor:
    """The same by small banded matrix products, which are faster for long windows."""
    block, count = 64, len(taps)
    row = torch.tensor(list(taps), dtype=x.dtype, device=x.device)
    matrix = x.new_zeros(block, block + count - 1)
    for i in range(block):
        matrix[i, i : i + count] = row
    parts = []
    for start in range(0, length, block):
        size = min(block, length - start)
        part = x.narrow(dim, start, size + count - 1)
        band = matrix[:size, : size + count - 1]
        parts.append(part @ band.T if dim == -1 else band @ part)
    return torch.cat(parts, dim)


def separable(
    x: Tensor, rows: Sequence[float], columns: Sequence[float], border: str = "valid", step: int = 1
) -> Tensor:
    """Correlates down the columns with `rows` and along the rows with `columns`.

    border: valid, or the padding mode of a result of the same size (centre at tap floor(n / 2)).
    """
    if border != "valid":
        top, left = len(rows) // 2, len(columns) // 2
        x = pad(x, (top, len(rows) - 1 - top), (left, len(columns) - 1 - left), border)
    return correlate(correlate(x, rows, -2, step), columns, -1, step)


def gaussian_taps(size: int, sigma: float) -> list[float]:
    """A normalised one-dimensional Gaussian window of `size` taps."""
    half = (size - 1) / 2
    taps = [math.exp(-((i - half) ** 2) / (2 * sigma * sigma)) for i in range(size)]
    total = math.fsum(taps)
    return [tap / total for tap in taps]


def sobel(x: Tensor, border: str) -> tuple[Tensor, Tensor]:
    """3x3 Sobel differences (right - left, bottom - top), not divided by 8."""
    padded = pad(x, (1, 1), (1, 1), border)
    smooth, difference = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    return separable(padded, smooth, difference), separable(padded, difference, smooth)


def safe_sqrt(x: Tensor) -> Tensor:
    """sqrt with derivative 0 instead of infinity at 0."""
    if not x.requires_grad:
        return x.sqrt()
    positive = x > 0
    return torch.where(positive, x, torch.ones_like(x)).sqrt() * positive


class Moments:
    """Local weighted means, variances and covariances of a batch under one separable window."""

    def __init__(self, shared: Shared, taps: Sequence[float], border: str = "valid") -> None:
        self._shared, self._taps, self._border = shared, taps, border
        self._cross: dict[tuple[int, int], Tensor] = {}
        images = shared.images
        self.mean = self.filter(images)  # (B, 1 + N, h, w)
        self.variance = self.filter(images * images) - self.mean * self.mean

    def filter(self, x: Tensor) -> Tensor:
        """Weighted mean under the window: (B, K, H, W) -> (B, K, h, w)."""
        return separable(x, self._taps, self._taps, self._border)

    def covariance(self, i: int, j: int) -> Tensor:
        """(B, h, w) between images i and j (0 is the fused one)."""
        if i == j:
            return self.variance[:, i]
        key = (min(i, j), max(i, j))
        if key not in self._cross:
            images = self._shared.images
            product = self.filter(images[:, key[0]] * images[:, key[1]])
            self._cross[key] = product - self.mean[:, key[0]] * self.mean[:, key[1]]
        return self._cross[key]


def gaussian_moments(shared: Shared, size: int = 11, sigma: float = 1.5, border: str = "valid") -> Moments:
    """Moments under fspecial('gaussian', size, sigma)."""
    return shared.once(("gaussian", size, sigma, border), lambda: Moments(shared, gaussian_taps(size, sigma), border))
