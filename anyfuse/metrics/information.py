"""Metrics of information theory over grey levels: EN, CE, MI, NMI, TE, NCIE.

All count 8-bit levels, so none is differentiable. They reward copies: F = A has the largest MI that F can have with A.
Values in 0..255 are rounded half up to levels first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Shared


def histogram(shared: Shared, i: int) -> Tensor:
    """Relative frequencies of the 256 levels of image i (0 is the fused one), (B, 256) float64."""

    def make() -> Tensor:
        flat = shared.levels(i).flatten(1)
        counts = torch.stack([torch.bincount(image, minlength=256) for image in flat])
        return counts.double() / flat.shape[1]

    return shared.once(("histogram", i), make)


def histograms(shared: Shared) -> Tensor:
    """`histogram` of all images, (B, 1 + N, 256)."""
    return torch.stack([histogram(shared, i) for i in range(shared.images.shape[1])], 1)


def joint_histogram(shared: Shared, i: int, j: int) -> Tensor:
    """Relative frequencies of pairs of levels of images i and j, (B, 256, 256) float64."""
    if i > j:
        return joint_histogram(shared, j, i).transpose(-2, -1)

    def make() -> Tensor:
        codes = (shared.levels(i).int() * 256 + shared.levels(j)).flatten(1)
        counts = torch.stack([torch.bincount(code, minlength=65536) for code in codes])
        return counts.view(-1, 256, 256).double() / codes.shape[1]

    return shared.once(("joint", i, j), make)


def shannon(p: Tensor, dims: int = 1) -> Tensor:
    """Entropy in bits over the last `dims` dimensions of frequencies p."""
    log = torch.where(p > 0, p, torch.ones_like(p)).log2()
    return -(p * log).flatten(-dims).sum(-1)


def _entropies(shared: Shared) -> Tensor:
    """(B, 1 + N) bits."""
    return shared.once("entropies", lambda: shannon(histograms(shared)))


def _joint_entropy(shared: Shared, i: int, j: int) -> Tensor:
    """(B,) bits; only the occupied cells are visited."""
    key = (min(i, j), max(i, j))

    def make() -> Tensor:
        out = []
        for p in joint_histogram(shared, *key).flatten(1):
            occupied = p[p > 0]
            out.append(-(occupied * occupied.log2()).sum())
        return torch.stack(out)

    return shared.once(("joint entropy", key), make)


def _mutual(shared: Shared, i: int, j: int) -> Tensor:
    """(B,) mutual information of images i and j in bits."""
    entropies = _entropies(shared)
    return entropies[:, i] + entropies[:, j] - _joint_entropy(shared, i, j)


def _source_indices(shared: Shared) -> range:
    return range(1, shared.images.shape[1])


def en(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Entropy of the fused image in bits (Roberts 2008; VIFB, MEFB, TANG).

    Range 0..8, higher is richer; noise raises it.
    """
    s = Shared.of(fused, sources, shared)
    return shannon(histogram(s, 0))


def ce(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Cross entropy (VIFB, MEFB): mean over the sources of sum p_S log2(p_S / p_F), only levels that both have.

    Lower is better; may be negative because levels are left out. Ports with sigmoids of pixels are unrelated.
    """
    s = Shared.of(fused, sources, shared)
    p = histograms(s)
    p_fused, p_source = p[:, :1], p[:, 1:]
    both = (p_fused > 0) & (p_source > 0)
    one = torch.ones_like(p_source)
    ratio = torch.where(both, p_source, one) / torch.where(both, p_fused, one)
    return (p_source * ratio.log2()).sum(-1).mean(1)


def mi(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mutual information in bits, summed over the sources, no normalisation (Qu et al. 2002).

    Range 0..8 N, higher is better; best for copies. The definition behind most published tables (TANG, UniFusion,
    TITA), without the saturation slip of `mi_tang`.
    """
    s = Shared.of(fused, sources, shared)
    return torch.stack([_mutual(s, i, 0) for i in _source_indices(s)]).sum(0)


def mi_nats(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`mi` in nats, 0.693 times the bits (CDDFuse)."""
    return mi(fused, sources, shared) * math.log(2)


def mi_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`mi` as TANG's Hab.m computes it: levels 254 and 255 share a row of the joint histogram, but not of the marginal
    ones. Equal to `mi` where no pixel is 255, up to 2.3 % more on saturated images."""
    s = Shared.of(fused, sources, shared)
    entropies = _entropies(s)
    total = torch.zeros_like(entropies[:, 0])
    for i in _source_indices(s):
        joint = joint_histogram(s, 0, i).clone()
        joint[:, 254] += joint[:, 255]
        joint[:, :, 254] += joint[:, :, 255]
        merged = joint[:, :255, :255]
        total = total + entropies[:, 0] + entropies[:, i] - shannon(merged, 2)
    return total


def mi_vifb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mutual information in nats, summed, after each image is stretched to its own range (VIFB, MEFB metricsMutinf).

    The stretch to 0..255 keeps different levels apart, so this is `mi_nats`; a constant image has 0.
    """
    return mi_nats(fused, sources, shared)


def nmi(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Normalised mutual information (Hossny et al. 2008; MEFB NMI, LIU metricMI sw=1): 2 sum MI(S, F) / (H(S) + H(F)).

    Range 0..N (0..2 for two sources), higher is better. NaN when F and a source are both constant. Ports with one
    common denominator are up to 16 % off.
    """
    s = Shared.of(fused, sources, shared)
    entropies = _entropies(s)
    return 2 * torch.stack([_mutual(s, i, 0) / (entropies[:, i] + entropies[:, 0]) for i in _source_indices(s)]).sum(0)


def _tsallis(shared: Shared, i: int, j: int, q: float, *, crossed: bool = False) -> Tensor:
    """(B,) Tsallis mutual information (1 - sum h^q / (p_i p_j)^(q - 1)) / (1 - q) of images i and j.

    crossed: as LIU's metricMI.m has it, with each image stretched to 0..255 and the two marginals exchanged.
    """
    joint, p = joint_histogram(shared, i, j), histograms(shared)
    out = []
    for k in range(len(joint)):
        first, second = joint[k].nonzero(as_tuple=True)
        h = joint[k, first, second]
        if crossed:
            first, p_first = _stretched(p[k, i], first)
            second, p_second = _stretched(p[k, j], second)
            product = p_second[first] * p_first[second]
        else:
            product = p[k, i, first] * p[k, j, second]
        seen = product > 0
        out.append((1 - (h[seen] ** q / product[seen] ** (q - 1)).sum()) / (1 - q))
    return torch.stack(out)


def _stretched(p: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Levels and histogram p (256,) after the stretch round(255 (x - min) / (max - min)); a constant image
    becomes 0.
    """
    occupied = p.nonzero().flatten()
    low, high = int(occupied[0]), int(occupied[-1])
    to = torch.arange(256, device=p.device)
    if low == high:
        to = torch.zeros_like(to)
    else:
        to = ((to - low).double() * 255 / (high - low) + 0.5).floor().long().clamp(0, 255)
    stretched = torch.zeros_like(p).index_add_(0, to[occupied], p[occupied])
    return to[levels], stretched


def te(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Tsallis mutual information, q = 1.85, summed over the sources (Cvejic et al. 2006).

    (1 - sum h^q / (p_S p_F)^(q - 1)) / (1 - q). Range 0.. without bound, higher is better. Tables of MEFB and LIU hold
    `te_mefb`. UniFusion's "TE" = H(A) + H(B) - H(F) is another quantity.
    """
    s = Shared.of(fused, sources, shared)
    return torch.stack([_tsallis(s, i, 0, 1.85) for i in _source_indices(s)]).sum(0)


def te_mefb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`te` as MEFB and LIU (metricMI sw=2) compute it: images stretched to 0..255, and the marginals exchanged, so that
    h(x, y) is divided by p_F(x) p_S(y) for x a level of the source: 1e1 to 1e5, not a mutual information."""
    s = Shared.of(fused, sources, shared)
    return torch.stack([_tsallis(s, i, 0, 1.85, crossed=True) for i in _source_indices(s)]).sum(0)


def te_nava(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Normalised Tsallis metric, q = 0.43137 (Nava et al. 2007; LIU metricMI sw=3, its exchanged marginals kept).

    sum_i I(S_i, F) / (sum_i H(S_i)^q + sum over pairs of sources I(S_i, S_j)), H in bits. Higher is better.
    """
    s = Shared.of(fused, sources, shared)
    q = 0.43137
    indices = _source_indices(s)
    entropies = _entropies(s)
    total = torch.stack([_tsallis(s, i, 0, q, crossed=True) for i in indices]).sum(0)
    scale = (entropies[:, 1:] ** q).sum(1)
    for i in indices:
        for j in range(i + 1, len(indices) + 1):
            scale = scale + _tsallis(s, i, j, q, crossed=True)
    return total / scale


def ncie(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Nonlinear correlation information entropy (Wang et al. 2005; MEFB Qncie, LIU metricWang).

    R has NCC(X, Y) = (H(X) + H(Y) - H(X, Y)) / 8 off the unit diagonal over fused and sources; with eigenvalues l_i of
    K images NCIE = 1 + sum (l_i / K) log256(l_i / K). Range 0..1, in practice .80 to .87 for two sources; higher is
    better.
    """
    s = Shared.of(fused, sources, shared)
    batch, count = s.images.shape[:2]
    matrix = torch.eye(count, dtype=torch.float64, device=s.images.device).repeat(batch, 1, 1)
    for i in range(count):
        for j in range(i):
            matrix[:, i, j] = matrix[:, j, i] = _mutual(s, i, j) / 8
    share = torch.linalg.eigvalsh(matrix) / count
    positive = torch.where(share > 0, share, torch.ones_like(share))
    return 1 + (share * positive.log2()).sum(-1) / 8
