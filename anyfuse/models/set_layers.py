"""Layers for sets of images: the same for every input; inputs see each other through their mean and maximum.

Origin: ours. Code: Apache-2.0. anyfuse.py joins them.
"""

from __future__ import annotations

import functools

from .. import native
from ..arrays import F, Tensor, nn, torch
from ..image.pyramid import expand
from .base import flatten_set, unflatten_set

LOGIT_BOUND = 6.0
DETAIL = 0.03  # band value at which the stem's compression has reached one half


def total(x: Tensor) -> Tensor:
    """Sum over the inputs, (B, N, ...) -> (B, ...)."""
    return x.sum(1) if torch.compiler.is_exporting() else functools.reduce(torch.add, x.unbind(1))


def total_and_peak(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the inputs and the largest of them, (B, N, ...) -> two of (B, ...).

    Pairwise operations keep channels_last, which reductions over N would not; in a graph that is exported their number
    would be fixed.
    """
    if torch.compiler.is_exporting():
        return x.sum(1), x.amax(1)
    parts = x.unbind(1)
    return functools.reduce(torch.add, parts), functools.reduce(torch.maximum, parts)


def extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and the smallest of the inputs, (B, N, C, h, w) -> two of (B, C, h, w)."""
    if torch.compiler.is_exporting():
        return x.amax(1), x.amin(1)
    parts = x.unbind(1)
    return functools.reduce(torch.maximum, parts), functools.reduce(torch.minimum, parts)


class Stem(nn.Module):
    """Luma and its finest Laplacian band, compressed so that faint detail counts, to features at half size."""

    def __init__(self, cout: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(2, cout, 4, 2, 1)

    def forward(self, luma: Tensor, band: Tensor) -> Tensor:
        """luma in [0, 1] and band, (B, 1, H, W) -> (B, C, H/2, W/2)"""
        x = torch.cat([luma - 0.5, band / (band.abs() + DETAIL)], 1).to(self.own.weight.dtype)
        return F.relu(self.own(x), inplace=True)


class FoldedStem(nn.Module):
    """The same inputs at half size by pixel unshuffling, to features at a quarter of the size in one convolution."""

    def __init__(self, cout: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(8, cout, 3, 2, 1)

    def forward(self, luma: Tensor, band: Tensor) -> Tensor:
        """luma in [0, 1] and band, (B, 1, H, W) -> (B, C, H/4, W/4)"""
        x = folded(luma, band).to(self.own.weight.dtype)
        return self.see(x.contiguous(memory_format=torch.channels_last))

    def see(self, x: Tensor) -> Tensor:
        """Luma - 0.5 and compressed band of 2x2 pixels, (B, 8, H/2, W/2), channels last -> (B, C, H/4, W/4)"""
        return F.relu(self.own(x), inplace=True)


def folded(luma: Tensor, band: Tensor) -> Tensor:
    """luma in [0, 1] and band, (B, 1, H, W) -> luma - 0.5 and compressed band of 2x2 pixels, (B, 8, H/2, W/2)"""
    x, y = F.pixel_unshuffle(luma, 2) - 0.5, F.pixel_unshuffle(band, 2)
    return torch.cat([x, y / (y.abs() + DETAIL)], 1)


class SetConv(nn.Module):
    """3x3 convolution of each input plus a 1x1 mix of the inputs' mean and maximum, then ReLU."""

    def __init__(self, cin: int, cout: int, stride: int = 1, mixing: bool = True) -> None:
        super().__init__()
        self.own = nn.Conv2d(cin, cout, 3, stride, 1)
        self.mix = nn.Conv2d(2 * cin, cout, 1, bias=False) if mixing else None
        self.stride = stride
        self.residual = cin == cout and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C, h, w) -> (B, N, C', h/stride, w/stride)"""
        n = x.shape[1]
        if self.mix is None:
            y = F.relu(unflatten_set(self.own(flatten_set(x)), n))
            return x + y if self.residual else y
        found = native.takes_features(flatten_set(x)) if len(x) == 1 else None
        if found is not None and self.own.out_channels <= native.MOST_LANES:
            own = self.own(x[0])
            if native.takes_features(own, x[0]) is not None:
                native.mix(found, x[0], self.mix.weight, own, self.stride, self.residual)
                return own[None]
        mean, peak = total_and_peak(x)
        mean = mean / n
        if self.stride == 2:
            mean, peak = halve(mean), halve(peak)
        mean_weight, peak_weight = self.mix.weight.flatten(1).chunk(2, 1)
        shared = F.linear(mean.movedim(1, -1), mean_weight) + F.linear(peak.movedim(1, -1), peak_weight)
        shared = shared.movedim(-1, 1)  # (B, C', h, w)
        own = unflatten_set(self.own(flatten_set(x)), n)
        if torch.is_grad_enabled() or torch.compiler.is_exporting():
            y = F.relu(own + shared[:, None])
        else:
            for part in own.unbind(1):
                part.add_(shared)
            y = own.relu_()
        return x + y if self.residual else y


def halve(x: Tensor) -> Tensor:
    """Mean over 2x2 pixels, (B, C, h, w) -> (B, C, h/2, w/2)"""
    x = x[..., ::2, :] + x[..., 1::2, :]
    return (x[..., ::2] + x[..., 1::2]) / 4


class Head(nn.Module):
    """Logits and residuals of each input: (B, N, C, h, w) -> two of (B, N, K, h, w).

    It sees how an input's features differ from the mean of all, so what the inputs share cannot drive it, and equal
    inputs get 0. A logit is bounded softly: 6 is a share of 0.998 against one other input. normalised: features get
    unit size over inputs and channels first.
    """

    def __init__(self, cin: int, maps: int = 1, normalised: bool = False) -> None:
        super().__init__()
        self.normalised = normalised
        self.out = nn.Conv2d(cin, 2 * maps, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C, h, w) -> logits and residuals, (B, N, K, h, w) each"""
        logit, residual = self.maps(x).chunk(2, 2)
        return LOGIT_BOUND * torch.tanh(logit / LOGIT_BOUND), residual

    def maps(self, x: Tensor) -> Tensor:
        """(B, N, C, h, w) -> logits without their bound, then residuals, (B, N, 2K, h, w)"""
        found = native.takes_features(x[0]) if len(x) == 1 else None
        if found is not None and self.out.weight.dtype == torch.float32:
            return native.head(found, x[0], self.out.weight, self.normalised)[None]
        different = self._graph_different(x) if torch.compiler.is_exporting() else self._different(x)
        y = F.linear(different, self.out.weight.flatten(1)).movedim(-1, 1).float().contiguous()
        return unflatten_set(y, x.shape[1])

    def _different(self, x: Tensor) -> Tensor:
        """(B, N, C, h, w), of unit size if normalised, less the mean of the inputs -> (B*N, h, w, C)"""
        parts = x.unbind(1)
        if self.normalised:
            size = functools.reduce(torch.add, [p.float().square().mean(1, keepdim=True) for p in parts]) / len(parts)
            scale = torch.rsqrt(size + 1e-4).to(x.dtype)
            parts = tuple(p * scale for p in parts)
        mean = functools.reduce(torch.add, parts) / len(parts)
        return flatten_set(torch.stack([p - mean for p in parts], 1)).movedim(1, -1)

    def _graph_different(self, x: Tensor) -> Tensor:
        """The same for any number of inputs in an exported graph."""
        if self.normalised:
            x = x * torch.rsqrt(x.float().square().mean((1, 2), keepdim=True) + 1e-4).to(x.dtype)
        return flatten_set(x - x.mean(1, keepdim=True)).movedim(1, -1)


def set_expand(x: Tensor) -> Tensor:
    """(B, N, C, h, w) -> (B, N, C, 2h, 2w)"""
    return unflatten_set(expand(flatten_set(x)), x.shape[1])


def weighted_sum(weights: Tensor, x: Tensor) -> Tensor:
    """(B, N, 1, h, w), (B, N, C, h, w) -> (B, C, h, w)"""
    if torch.compiler.is_exporting():
        return (weights * x).sum(1)
    first, *others = zip(weights.unbind(1), x.unbind(1), strict=True)
    return functools.reduce(lambda done, pair: torch.addcmul(done, *pair), others, first[0] * first[1])
