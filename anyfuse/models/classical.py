"""Fusion without training, on the same contract: honest baselines for any number of images.

average, maximum: per pixel.
laplacian: Laplacian pyramid, the strongest coefficient of every band, averaged base (Burt and Kolczynski 1993).
mertens: exposure fusion (Mertens, Kautz, Van Reeth 2007, eq. 1 to 4): contrast, saturation and well-exposedness as
weights of a full pyramid.
guided: guided-filter fusion (Li, Kang, Hu 2013): saliency decides, the guided filter aligns the decision with the
image.

Origin: written from the papers. Licence: Apache-2.0. The pyramids are those of pyramid.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import F, Tensor, torch
from ..image.filters import box, gaussian_blur, guided_filter
from ..image.pyramid import collapse, gaussian_pyramid, laplacian_pyramid
from .base import Context, FusionModel, flatten_set, unflatten_set

FINE_LEVELS = 3


@dataclass(frozen=True)
class AverageConfig:
    """Nothing to choose."""


class Average(FusionModel):
    """Mean of the sources."""

    carries_chroma = True
    working_bytes = 16

    def __init__(self, config: AverageConfig | None = None) -> None:
        super().__init__()
        self.config = config or AverageConfig()

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, C, H, W) -> (B, C, H, W); condition and context are not used."""
        return sources.mean(1)

    def weights(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """1 / N everywhere, (B, N, H, W)."""
        return torch.full_like(sources[:, :, 0], 1 / sources.shape[1])


@dataclass(frozen=True)
class MaximumConfig:
    """Nothing to choose."""


class Maximum(FusionModel):
    """Largest luma of the sources; chroma of the source that has it (the mean where several have)."""

    carries_chroma = True
    working_bytes = 24

    def __init__(self, config: MaximumConfig | None = None) -> None:
        super().__init__()
        self.config = config or MaximumConfig()

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, C, H, W) -> (B, C, H, W); condition and context are not used."""
        return (self.weights(sources)[:, :, None] * sources).sum(1)

    def weights(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """1 for the brightest source of a pixel, shared among equals, (B, N, H, W)."""
        luma = sources[:, :, 0]
        return _ties(luma, luma.amax(1, keepdim=True))


def _ties(x: Tensor, best: Tensor) -> Tensor:
    """1 where x equals `best`, shared where several do: (B, N, H, W), sums to 1."""
    hit = (x >= best).to(x.dtype)
    return hit / hit.sum(1, keepdim=True)


def coarse_depth(height: int, width: int, levels: int) -> int:
    """How many of `levels` more reductions an image allows until a side falls below 2 pixels."""
    depth = 0
    while depth < levels and min(height, width) >= 4:
        height, width, depth = (height + 1) // 2, (width + 1) // 2, depth + 1
    return depth


def pad_to(x: Tensor, unit: int) -> Tensor:
    """(B, C, h, w) replicated on the right and below to multiples of `unit`."""
    h, w = x.shape[-2:]
    return F.pad(x, (0, -w % unit, 0, -h % unit), mode="replicate")


@dataclass(frozen=True)
class LaplacianConfig:
    """Shape of the pyramid."""

    levels: int = 5  # bands


class Laplacian(FusionModel):
    """Of every band the coefficient of largest magnitude, of the base the mean."""

    stride = 2**FINE_LEVELS
    halo = 32
    context_scale = 2**FINE_LEVELS
    context_bytes = 128
    stored_bytes = 8
    working_bytes = 64

    def __init__(self, config: LaplacianConfig | None = None) -> None:
        super().__init__()
        self.config = config or LaplacianConfig()
        self.context_halo = 16 if self.config.levels <= 5 else None  # cells that two reductions reach

    def global_features(self, sources: Tensor) -> Tensor:
        """The sources' third Gaussian level, (B, N, C, H/8, W/8)."""
        return unflatten_set(gaussian_pyramid(flatten_set(sources), FINE_LEVELS)[-1], sources.shape[1])

    def context(self, reduced: Tensor) -> Context:
        """Maps of `global_features` -> the fused image at 1/8, (B, C, H/8, W/8)."""
        n, (h, w) = reduced.shape[1], reduced.shape[-2:]
        depth = coarse_depth(h, w, self.config.levels - FINE_LEVELS)
        pyramid = laplacian_pyramid(pad_to(flatten_set(reduced), 2**depth), depth)
        bands = [unflatten_set(b, n) for b in pyramid]
        fused = collapse([*[strongest(b) for b in bands[:-1]], bands[-1].mean(1)])
        return Context((fused[..., :h, :w],))

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, C, H, W), sides multiples of 8 -> (B, C, H, W) in [0, 1]"""
        n = sources.shape[1]
        pyramid = laplacian_pyramid(flatten_set(sources), FINE_LEVELS)
        coarse = (context or self.context(unflatten_set(pyramid[-1], n))).maps[0]
        fused = collapse([*[strongest(unflatten_set(b, n)) for b in pyramid[:-1]], coarse])
        return fused.clamp(0, 1)


def strongest(bands: Tensor) -> Tensor:
    """(B, N, C, h, w) -> (B, C, h, w): the coefficient of largest magnitude, the mean of equals."""
    size = bands.abs()
    hit = (size >= size.amax(1, keepdim=True)).to(bands.dtype)
    return (hit * bands).sum(1) / hit.sum(1)


@dataclass(frozen=True)
class MertensConfig:
    """The paper's values."""

    contrast: float = 1.0  # exponent
    saturation: float = 1.0  # exponent
    exposedness: float = 1.0  # exponent of well-exposedness
    sigma: float = 0.2  # deviation of well-exposedness


class Mertens(FusionModel):
    """Exposure fusion on luma and chroma, down to a base of a few pixels. Grey input has no saturation term."""

    stride = 2**FINE_LEVELS
    halo = 32
    carries_chroma = True
    context_scale = 2**FINE_LEVELS
    context_bytes = 128
    stored_bytes = 20
    working_bytes = 96

    def __init__(self, config: MertensConfig | None = None) -> None:
        super().__init__()
        self.config = config or MertensConfig()

    def weights(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """Contrast times saturation times well-exposedness of each pixel, (B, N, H, W); they sum to 1."""
        c = self.config
        luma = sources[:, :, 0]
        padded = F.pad(luma, (1, 1, 1, 1), mode="replicate")
        around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
        w = (around - 4 * luma).abs() ** c.contrast * torch.exp(
            -((luma - 0.5) ** 2) / (2 * c.sigma**2)
        ) ** c.exposedness
        if sources.shape[2] == 3:
            w = w * (sources[:, :, 1:].square().sum(2).sqrt() + 1e-3) ** c.saturation
        w = w + 1e-12
        return w / w.sum(1, keepdim=True)

    def global_features(self, sources: Tensor) -> Tensor:
        """Third Gaussian level of the sources and of their weights, (B, N, C + 1, H/8, W/8)."""
        both = torch.cat([sources, self.weights(sources)[:, :, None]], 2)
        return unflatten_set(gaussian_pyramid(flatten_set(both), FINE_LEVELS)[-1], sources.shape[1])

    def context(self, reduced: Tensor) -> Context:
        """Maps of `global_features` -> the fused image at 1/8, (B, C, H/8, W/8)."""
        n, (h, w) = reduced.shape[1], reduced.shape[-2:]
        depth = coarse_depth(h, w, 16)
        x = pad_to(flatten_set(reduced), 2**depth)
        fused = self._blend(laplacian_pyramid(x[:, :-1], depth), gaussian_pyramid(x[:, -1:], depth), n)
        return Context((collapse(fused)[..., :h, :w],))

    @staticmethod
    def _blend(bands: list[Tensor], weights: list[Tensor], n: int) -> list[Tensor]:
        return [unflatten_set(b * w, n).sum(1) for b, w in zip(bands, weights, strict=True)]

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, C, H, W), sides multiples of 8 -> (B, C, H, W): bands times Gaussian levels of the weights."""
        n = sources.shape[1]
        coarse = (context or self.context(self.global_features(sources))).maps[0]
        weights = gaussian_pyramid(flatten_set(self.weights(sources)[:, :, None]), FINE_LEVELS)
        bands = laplacian_pyramid(flatten_set(sources), FINE_LEVELS)
        fused = collapse([*self._blend(bands[:-1], weights[:-1], n), coarse])
        return torch.cat([fused[:, :1].clamp(0, 1), fused[:, 1:]], 1)


@dataclass(frozen=True)
class GuidedConfig:
    """The paper's values."""

    base_radius: int = 45  # of the guided filter, in pixels
    base_eps: float = 0.3  # regularisation
    detail_radius: int = 7  # in pixels
    detail_eps: float = 1e-6  # regularisation
    mean_size: int = 31  # of the base's mean filter, in pixels


class Guided(FusionModel):
    """Two scales; the source with the most local contrast wins each pixel, smoothed along the edges of the source."""

    halo = 128
    carries_chroma = True
    working_bytes = 160

    def __init__(self, config: GuidedConfig | None = None) -> None:
        super().__init__()
        self.config = config or GuidedConfig()

    def _decisions(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of base and detail, (B, N, H, W) each, that sum to 1."""
        c = self.config
        luma = sources[:, :, 0]
        padded = F.pad(luma, (1, 1, 1, 1), mode="replicate")
        around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
        saliency = gaussian_blur((around - 4 * luma).abs(), 5.0, 5)
        winner = _ties(saliency, saliency.amax(1, keepdim=True))
        out = []
        for radius, eps in ((c.base_radius, c.base_eps), (c.detail_radius, c.detail_eps)):
            w = guided_filter(luma, winner, radius, eps).clamp(0, 1) + 1e-6
            out.append(w / w.sum(1, keepdim=True))
        return out[0], out[1]

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, C, H, W) -> (B, C, H, W): base and detail, each by its own weights."""
        base_weight, detail_weight = self._decisions(sources)
        base = unflatten_set(box(flatten_set(sources), self.config.mean_size // 2), sources.shape[1])
        fused = (base_weight[:, :, None] * base + detail_weight[:, :, None] * (sources - base)).sum(1)
        return torch.cat([fused[:, :1].clamp(0, 1), fused[:, 1:]], 1)

    def weights(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """Mean of the weights of base and detail, (B, N, H, W)."""
        base, detail = self._decisions(sources)
        return (base + detail) / 2
