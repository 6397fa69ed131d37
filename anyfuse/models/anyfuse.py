"""anyfuse, the default model: a set encoder that gives every input a weight in every band of a Laplacian pyramid.

Origin: ours. Code and weights: Apache-2.0.

    features   the same network for every input; the inputs see each other through their mean and maximum only, so
               order doesn't matter and their number is free
    weights    one logit per input, band and place, from coarse to fine (a finer logit adds to the coarser one); softmax
               over inputs. Bands 0 and 1 have their places at half size
    residual   r in [-margin, margin] per input, band and pixel, less its mean over inputs, is added to the weight: a
               band may leave the span of the sources by that much where they differ, and nowhere else
    fusion     every band of the result is the weighted sum of the sources' bands; the base has weights alone
    decisive   in use, if smooth images agree nearly everywhere, as in a focus stack, coarse logits grow there
    regions    coarse weights also see the smooth image, and how many deviations it is from the mean of the whole image:
               what is hot or lit is decided by regions, not by grain
    specks     single pixels that one image alone has, as hot pixels of a sensor, are taken out first
    bound      a pixel of the result lies between the sources' darkest and brightest there, or in the 3x3 pixels around
               it where their smooth images differ: no halo where all are black

Weights sum to 1 in every band, so equal inputs give that input back. Bands 0 to 2 (full, half, quarter size) are
computed in tiles; bands 3, 4 and the base from maps of the whole image at 1/8 (`context`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from .. import native
from ..arrays import F, Tensor, nn, torch
from ..image.filters import extreme3, without_specks
from ..image.pyramid import collapse, expand, gaussian_pyramid
from .base import Context, FusionModel, flatten_set, unflatten_set
from .set_layers import (
    DETAIL,
    LOGIT_BOUND,
    FoldedStem,
    Head,
    SetConv,
    Stem,
    extremes,
    set_expand,
    total,
    weighted_sum,
)

FINE_LEVELS = 3
COARSE_LEVELS = 2
NEUTRAL = 0.02  # chroma below this counts little when colours are merged
FLAT = 0.02  # deviation of an image below which its regions hardly differ
AGREE, APART = 0.05, 0.20  # differences of the smooth images up to which, and from which, the bound is strict or near
MIXED, ALIKE = 0.75, 0.9  # shares of a picture that agree up to which, and from which, it is taken as a focus stack


@dataclass(frozen=True)
class AnyfuseConfig:
    """The defaults are the first version (`anyfuse-first`); `REGIONS` is the present one."""

    half: int = 8  # channels at 1/2 of the image size; 0: the stem goes to 1/4 at once
    quarter: int = 24  # channels at 1/4
    eighth: int = 32  # channels at 1/8
    deep: int = 48  # channels below 1/8
    blocks: int = 2  # convolutions per scale of the context
    margin: float = 0.5  # bound of the residual that is added to a weight
    mixing: bool = True  # False: an input does not see the others (ablation)
    pyramid: bool = True  # False: the finest weights apply to pixels (ablation)
    regions: bool = False  # coarse weights see the smooth image and its distance from the image's mean
    normalised: bool = False  # heads see features of unit size, so that low precision does no harm
    near: bool = False  # the bound takes the sources' 3x3 neighbourhood
    strict: bool = False  # inference only: with near, the bound ignores the neighbourhood where smooth images agree
    decisive: float = (
        0.0  # inference only: share by which coarse logits grow where smooth images agree, in focus stacks
    )


REGIONS = AnyfuseConfig(half=0, quarter=16, regions=True, normalised=True, near=True, strict=True, decisive=1.0)


def _apart(smooth: Tensor) -> Tensor:
    """0 where smooth luma (B, N, 1, h, w) agrees, so that sources differ in detail alone; 1 where it does not."""
    top, bottom = extremes(smooth)
    return ((top - bottom - AGREE) / (APART - AGREE)).clamp(0.0, 1.0)


class Anyfuse(FusionModel):
    """The default model, see the module's text. Any number of inputs; luma decides, chroma follows."""

    stride = 2 ** (FINE_LEVELS + COARSE_LEVELS)
    halo = 32
    arity = (2, None)
    channels = 1
    carries_chroma = True
    takes_statistics = True  # `forward` has a keyword for those of whole images, for training on crops
    context_scale = 2**FINE_LEVELS
    context_halo = 32
    context_bytes = 1280
    stored_bytes = 296
    working_bytes = 68

    def __init__(self, config: AnyfuseConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or AnyfuseConfig()
        self.low_precision = c.normalised  # else logits hang on small differences of large features
        block = functools.partial(SetConv, mixing=c.mixing)
        if c.half:
            self.enc2: nn.Module = Stem(c.half)
            self.enc4 = nn.ModuleList([block(c.half, c.quarter, 2), block(c.quarter, c.quarter)])
        else:
            self.enc2 = FoldedStem(c.quarter)
            self.enc4 = nn.ModuleList([block(c.quarter, c.quarter)])
        self.enc8_in = block(c.quarter, c.eighth, 2)
        self.see = nn.Conv2d(3, c.eighth, 1) if c.regions else None
        self.enc8 = nn.ModuleList([block(c.eighth, c.eighth) for _ in range(c.blocks)])
        self.enc16 = nn.ModuleList([block(c.eighth, c.deep, 2), *[block(c.deep, c.deep) for _ in range(c.blocks)]])
        self.enc32 = nn.ModuleList([block(c.deep, c.deep, 2), *[block(c.deep, c.deep) for _ in range(c.blocks + 1)]])
        self.dec16 = block(c.deep, c.deep)
        self.to8 = nn.Conv2d(c.deep, c.eighth, 1)
        self.dec8 = block(c.eighth, c.eighth)
        self.to4 = nn.Conv2d(c.eighth, c.quarter, 1)
        self.dec4 = block(c.quarter, c.quarter)
        self.head32 = Head(c.deep, normalised=c.normalised)
        self.head16 = Head(c.deep, normalised=c.normalised)
        self.head8 = Head(c.eighth, normalised=c.normalised)
        self.head4 = Head(c.quarter, 1 + 4 + 4, c.normalised)

    # ------------------------------------------------------------------ network

    def _encode(self, gauss: list[Tensor], n: int, band: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gaussian levels (B*N, C, ., .), and the finest band where it is known -> features at 1/4 and 1/8 that depend
        on nearby pixels alone
        """
        stem, luma = self.enc2, gauss[0][:, :1]
        found = native.takes(*gauss[:2])
        if found is not None and isinstance(stem, FoldedStem) and stem.own.weight.dtype == torch.float32:
            return self.encode(stem.see(native.stem_input(found, gauss[0], gauss[1], DETAIL)), n)
        return self.encode(stem(luma, luma - expand(gauss[1][:, :1]) if band is None else band[:, :1]), n)

    def encode(self, q: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The stem's features (B*N, C, H/4, W/4) -> features at 1/4 and 1/8, (B, N, C, ., .)"""
        q = unflatten_set(q, n)
        for block in self.enc4:
            q = block(q)
        return q, self.enc8_in(q)

    @staticmethod
    def _up(low: Tensor, project: nn.Module, skip: Tensor, block: nn.Module) -> Tensor:
        """One step of the decoder: low features, projected and doubled in size, added to the skip."""
        n, projected = low.shape[1], project(flatten_set(low))
        found = native.takes_features(projected, flatten_set(skip))
        if found is not None:
            return block(unflatten_set(native.up_add(found, projected, flatten_set(skip)), n))
        return block(skip + unflatten_set(expand(projected), n))

    def decide(self, e: Tensor, seen: Tensor | None = None) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """features at 1/8, and what `see` takes of the smooth images, (B, N, C, H/8, W/8) -> decoded features at 1/8
        and the (logit, residual) of bands 3, 4 and the base
        """
        e = e.to(self.to4.weight.dtype)
        if self.see is not None and seen is not None:
            e = e + unflatten_set(self.see(flatten_set(seen).to(e.dtype)), e.shape[1])
        for block in self.enc8:
            e = block(e)
        s = e
        for block in self.enc16:
            s = block(s)
        d = s
        for block in self.enc32:
            d = block(d)
        base, _ = self.head32(d)
        s = self._up(d, nn.Identity(), s, self.dec16)
        logit4, r4 = self.head16(s)
        e = self._up(s, self.to8, e, self.dec8)
        logit3, r3 = self.head8(e)
        logit4 = logit4 + set_expand(base)
        logit3 = logit3 + set_expand(logit4)
        return e, [(logit3, r3), (logit4, r4), (base, torch.zeros_like(base))]

    def _fine(self, q: Tensor, e: Tensor, logit3: Tensor) -> list[Tensor]:
        """features at 1/4, decoded 1/8 and the logit of band 3 -> weights of bands 0 (at half size), 1 and 2,
        (B, N, 1, ., .)
        """
        maps = self.finish(q, e)
        found = native.takes(maps, logit3)
        if found is not None and len(maps) == 1:
            coarse = logit3[0, :, 0]
            fine = native.fine_weights(found, maps[0], coarse, LOGIT_BOUND, self.config.margin)
            return [w[None, :, None] for w in fine]
        logit, residual = maps.chunk(2, 2)
        logits = (LOGIT_BOUND * torch.tanh(logit / LOGIT_BOUND)).split([1, 4, 4], 2)
        residuals = residual.split([1, 4, 4], 2)
        logit2 = logits[0] + set_expand(logit3)
        logit1 = F.pixel_shuffle(logits[1], 2) + set_expand(logit2)
        logit0 = F.pixel_shuffle(logits[2], 2) + logit1
        return [
            self._weights(logit0, F.pixel_shuffle(residuals[2], 2)),
            self._weights(logit1, F.pixel_shuffle(residuals[1], 2)),
            self._weights(logit2, residuals[0]),
        ]

    def finish(self, q: Tensor, e: Tensor) -> Tensor:
        """features at 1/4 and decoded features at 1/8 -> logits and residuals of the finest bands, (B, N, 18, ., .)"""
        return self.head4.maps(self._up(e, self.to4, q, self.dec4))

    def _weights(self, logit: Tensor, residual: Tensor) -> Tensor:
        """(B, N, 1, h, w) twice -> weights that sum to 1 over N"""
        bounded = self.config.margin * torch.tanh(residual)
        return logit.softmax(1) + bounded - bounded.mean(1, keepdim=True)

    @staticmethod
    def _blend(gauss: list[Tensor], bands: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
        """Gaussian levels and bands (B*N, C, h, w), weights (B, N, 1, h, w) per level -> fused bands (B, C, h, w).

        Chroma takes the weights times the saturation, so that a source which is black or clipped does not wash colours
        out.
        """
        out = []
        for level, band, w in zip(gauss, bands, weights, strict=True):
            parts = unflatten_set(band, w.shape[1])
            luma = weighted_sum(w, parts[:, :, :1])
            if parts.shape[2] == 1:
                out.append(luma)
                continue
            cb, cr = unflatten_set(level, w.shape[1])[:, :, 1:].split(1, 2)
            vivid = w.clamp_min(0) * (torch.addcmul(cb * cb, cr, cr).sqrt() + NEUTRAL)
            chroma = weighted_sum(vivid, parts[:, :, 1:]) / total(vivid)
            out.append(torch.cat([luma, chroma], 1))
        return out

    # ------------------------------------------------------------------ the contract

    def global_features(self, sources: Tensor) -> Tensor:
        """-> (B, N, eighth + C, H/8, W/8): local features and the sources' third Gaussian level"""
        gauss = gaussian_pyramid(flatten_set(self._clean(sources)), FINE_LEVELS)
        _, e = self._encode(gauss, sources.shape[1])
        return self._pack(e, gauss[-1])

    @staticmethod
    def _pack(eighth: Tensor, gauss: Tensor) -> Tensor:
        return torch.cat([eighth.float(), unflatten_set(gauss, eighth.shape[1])], 2)

    def statistics(self, reduced: Tensor) -> Tensor | None:
        """Mean and deviation of each source's smooth luma, (B, N, 2). See FusionModel."""
        if not self.config.regions:
            return None
        return self._statistics_of(reduced[:, :, self.config.eighth])

    @staticmethod
    def _statistics_of(luma: Tensor) -> Tensor:
        return torch.stack([luma.mean((-2, -1)), luma.std((-2, -1), correction=0)], 2)

    def with_statistics(self, reduced: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Adds a plane: the smooth luma less its mean over the whole image, in deviations. See FusionModel.

        statistics: mean and deviation (B, N, 2) of the whole images where the sources are crops of them, in training.
        """
        if not self.config.regions:
            return reduced
        luma = reduced[:, :, self.config.eighth : self.config.eighth + 1]
        return torch.cat([reduced, self._away(luma, statistics)], 2)

    def _away(self, luma: Tensor, statistics: Tensor | None) -> Tensor:
        """Smooth luma (B, N, 1, h, w) less its mean over the whole image, in deviations."""
        known = self._statistics_of(luma[:, :, 0]) if statistics is None else statistics
        mean, deviation = known[:, :, :, None, None].to(luma).split(1, 2)
        return (luma - mean) / (deviation + FLAT)

    def context(self, reduced: Tensor) -> Context:
        """-> maps at 1/8: decoded features (B, N, eighth, .), logits of band 3 (B, N, 1, .), the fused image (B, C, .),
        shares of the sources so far (B, N, 1, .)"""
        c = self.config.eighth
        e, planes = reduced[:, :, :c], reduced[:, :, c:]
        if not self.config.regions:
            return self._decide(e, planes, None)
        return self._decide(e, planes[:, :, :-1], planes[:, :, -1:])

    def _decide(self, e: Tensor, planes: Tensor, away: Tensor | None) -> Context:
        """features at 1/8, the sources' third Gaussian level, and its distance from the mean of the whole images, all
        (B, N, ., H/8, W/8) -> the context
        """
        seen = None
        if away is not None:
            luma, away = planes[:, :, :1], torch.tanh(away / 2)
            seen = torch.cat([luma - 0.5, away, away.abs() * away], 2)
        e, heads = self.decide(e, seen)
        gauss = gaussian_pyramid(flatten_set(planes), COARSE_LEVELS)
        if self.config.decisive and not self.training:
            smooth = [unflatten_set(level[:, :1], planes.shape[1]) for level in gauss]
            apart = [_apart(level)[:, None] for level in smooth]
            alike = ((1 - apart[0]).mean((-2, -1), keepdim=True) - MIXED) / (ALIKE - MIXED)  # of the whole image
            factors = [1 + self.config.decisive * alike.clamp(0.0, 1.0) * (1 - level) for level in apart]
            heads = [(logit * factor, rest) for (logit, rest), factor in zip(heads, factors, strict=True)]
        bands = [fine - expand(low) for fine, low in pairwise(gauss)] + gauss[-1:]
        weights = [self._weights(*head) for head in heads]
        share = set_expand(set_expand(weights[2]) + weights[1]) + weights[0]
        return Context((e, heads[0][0], collapse(self._blend(gauss, bands, weights)), share / len(weights)))

    def forward(
        self,
        sources: Tensor,
        condition: None = None,
        context: Context | None = None,
        *,
        statistics: Tensor | None = None,
    ) -> Tensor:
        """As FusionModel.

        statistics: in training on crops, mean and deviation (B, N, 2) of the smooth luma of each source's whole image;
            None: those of the sources themselves.
        """
        sources = self._clean(sources)
        fused, _, _, smooth = self._fuse(sources, context, statistics)
        return self._held(fused, sources, smooth)

    def forward_adjusted(self, sources: Tensor, condition: None, adjust: Callable[[Context], Context]) -> Tensor:
        """As FusionModel; features that the context and the fusion share are computed once."""
        sources = self._clean(sources)
        fused, _, _, smooth = self._fuse(sources, None, None, adjust)
        return self._held(fused, sources, smooth)

    def _held(self, fused: Tensor, sources: Tensor, smooth: Tensor) -> Tensor:
        """The fused planes with luma within the bound. fused (B, C, H, W) may be written to."""
        found = native.takes(fused, sources)
        if found is not None and len(fused) == 1:
            share = self._far(smooth)
            share = None if share is None else share[0, 0].contiguous()
            native.bound(found, fused[0, 0], sources[0], self.config.near, share)
            return fused
        luma = self._bound(fused[:, :1], sources[:, :, :1], smooth)
        return torch.cat([luma, fused[:, 1:]], 1) if fused.shape[1] > 1 else luma

    def _clean(self, sources: Tensor) -> Tensor:
        """Without specks, in use: training shows them to the network."""
        return without_specks(sources) if self.config.regions and not self.training else sources

    def _bound(self, fused: Tensor, sources: Tensor, smooth: Tensor) -> Tensor:
        """Keeps luma (B, 1, H, W) between the smallest and the largest of the sources (B, N, 1, H, W) at or near each
        pixel.

        smooth: their third Gaussian level (B, N, 1, H/8, W/8).
        """
        high, low = extremes(sources)
        if self.config.near:
            highest, lowest = extreme3(high, torch.maximum), extreme3(low, torch.minimum)
            share = self._far(smooth)
            if share is not None:
                high, low = torch.lerp(high, highest, share), torch.lerp(low, lowest, share)
            else:
                high, low = highest, lowest
        return torch.maximum(torch.minimum(fused, high), low)

    def _far(self, smooth: Tensor) -> Tensor | None:
        """Share of the neighbourhood in the bound, (B, 1, H, W) in [0, 1]; None: it takes all of it, or none."""
        if not (self.config.near and self.config.strict) or self.training:
            return None
        share = extreme3(_apart(smooth), torch.maximum)  # and beside such places
        for _ in range(FINE_LEVELS):
            share = expand(share)
        return share

    def weights(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """Mean over bands of each source's weight, (B, N, H, W)."""
        _, weights, share, _ = self._fuse(self._clean(sources), context)
        weights = [set_expand(weights[0]), *weights[1:]]
        for level, w in enumerate(reversed(weights), start=COARSE_LEVELS + 1):
            share = (set_expand(share) * level + w) / (level + 1)
        return share[:, :, 0]

    def _fuse(
        self,
        sources: Tensor,
        context: Context | None,
        statistics: Tensor | None = None,
        adjust: Callable[[Context], Context] | None = None,
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        gauss = gaussian_pyramid(flatten_set(sources), FINE_LEVELS)
        finest = None if native.takes(*gauss) else gauss[0] - expand(gauss[1])
        q, e = self._encode(gauss, sources.shape[1], finest)
        if context is None:
            context = self._own_context(e, unflatten_set(gauss[-1], sources.shape[1]), statistics)
        context = context if adjust is None else adjust(context)
        features, logit3, coarse, share = context.maps
        weights = self._fine(q, features, logit3)
        smooth = unflatten_set(gauss[-1][:, :1], sources.shape[1])
        return self._fuse_fine(gauss, weights, coarse, finest), weights, share, smooth

    def _own_context(self, e: Tensor, planes: Tensor, statistics: Tensor | None) -> Context:
        """The context of sources that are the whole images, from what `_decide` takes."""
        if native.takes_features(flatten_set(e)) is None:
            return self.context(self.with_statistics(self._pack(e, flatten_set(planes)), statistics))
        if not self.config.regions:
            return self._decide(e, planes, None)
        return self._decide(e, planes, self._away(planes[:, :, :1], statistics))

    def _fuse_fine(
        self, gauss: list[Tensor], weights: list[Tensor], coarse: Tensor, finest: Tensor | None = None
    ) -> Tensor:
        """Gaussian levels (B*N, C, ., .), weights of `_fine`, the fused image (B, C, H/8, W/8), the finest band if
        it is known -> fused (B, C, H, W)
        """
        found = native.takes(*gauss, coarse)
        if found is not None and len(coarse) == 1 and self.config.pyramid:
            fused = coarse[0]
            for k in reversed(range(FINE_LEVELS)):
                fused = native.blend_level(found, gauss[k], gauss[k + 1], weights[k][0, :, 0].contiguous(), fused)
            return fused[None]
        weights = [set_expand(weights[0]), *weights[1:]]
        if not self.config.pyramid:
            return self._blend(gauss[:1], gauss[:1], weights[:1])[0]
        bands = [] if finest is None else [finest]
        bands += [fine - expand(low) for fine, low in pairwise(gauss[len(bands) :])]
        return collapse([*self._blend(gauss[:FINE_LEVELS], bands, weights), coarse])
