"""IPA (Interaction-enhanced Pixel Attention) of TITA (ICCV 2025, arXiv 2504.05164): interaction between two sources.

For each pixel by itself, here for the direction X1 <- X2:

    phi = softmax over channels of W2 GELU(W1 [X1; X2])        one discriminator for both directions, own source first
    K   = [n_k + X1 - X1 phi,  n_v + X1 + X1 phi]               two keys, both of X1; n_k and n_v are learned
    V   = [X1, X2]
    X1  = X1 + MHA(Q = X1, K, V)

Both directions are made from the old X1 and X2. The keys by +-phi are the paper's; two keys for a pixel come from
GeminiFusion. The numbers of the paper's equations are not known to us, so parts bear the paper's names.

Origin: written from the formulas; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

import math

from ...arrays import F, Tensor, nn, torch
from ...native import windows as compiled
from .config import TITAConfig
from .windows import Mlp, weights_of


class PairAttention(nn.Module):
    """Multi-head attention of one query over two keys, for every pixel by itself.

    A softmax over two is a sigmoid of the scores' difference, so the keys enter by their difference alone, and the bias
    of the keys (kept for its place in checkpoints) cancels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, keys: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """query, keys (first less second), two values (..., C) -> result (..., C), share of the first value (...,
        heads)
        """
        wq, wk, wv = self.in_proj_weight.chunk(3)
        bq, _, bv = self.in_proj_bias.chunk(3)
        score = F.linear(query, wq, bq) * F.linear(keys, wk)
        score = score.unflatten(-1, (self.heads, -1)).sum(-1) / math.sqrt(query.shape[-1] // self.heads)
        share = score.sigmoid()
        each = F.linear(first - second, wv).unflatten(-1, (self.heads, -1)) * share[..., None]
        return self.out_proj(F.linear(second, wv, bv) + each.flatten(-2)), share


class IPA(nn.Module):
    """IPA: every pixel of a source attends to itself and to the same pixel of the other source.

    phi = gate(own, other); keys n_k + own - own phi and n_v + own + own phi, values own and other; the result is added
    to own.
    """

    def __init__(self, config: TITAConfig) -> None:
        super().__init__()
        c = config.channels
        self.sigmoid = config.phi == "sigmoid"
        self.gate = Mlp(2 * c, c, c)
        self.attend = nn.ModuleList([PairAttention(c, config.heads) for _ in range(2)])
        self.noise_k = nn.Parameter(torch.randn(2, c)) if config.noise else None
        self.noise_v = nn.Parameter(torch.randn(2, c)) if config.noise else None

    def _phi(self, own: Tensor, other: Tensor) -> Tensor:
        first = self.gate.first
        hidden = F.linear(own, first.weight[:, : own.shape[-1]], first.bias)
        hidden = hidden + F.linear(other, first.weight[:, own.shape[-1] :])  # saves joining the two
        gate = self.gate.second(F.gelu(hidden))
        return gate.sigmoid() if self.sigmoid else gate.softmax(-1)

    def _direction(self, index: int, own: Tensor, other: Tensor, explain: bool) -> tuple[Tensor, ...]:
        """-> own after the interaction (..., C); if `explain`, also (..., 2): strength of phi, share of the other
        source
        """
        phi = self._phi(own, other)
        keys = own * phi * -2
        if self.noise_k is not None and self.noise_v is not None:
            keys = keys + (self.noise_k[index] - self.noise_v[index])
        out, share = self.attend[index](own, keys, own, other)
        if not explain:
            return (own + out,)
        strength = phi.mean(-1) if self.sigmoid else phi.amax(-1)
        return own + out, torch.stack([strength, 1 - share.mean(-1)], -1)

    def forward(self, x: Tensor, y: Tensor, explain: bool = False) -> tuple[Tensor, ...]:
        """Features of both sources (..., C) -> the same after interaction; if `explain`, also (..., 4): strength of phi
        and share of the other source, of x, then of y.
        """
        x1, *maps1 = self._direction(0, x, y, explain)
        y1, *maps2 = self._direction(1, y, x, explain)
        return (x1, y1, torch.cat([*maps1, *maps2], -1)) if explain else (x1, y1)

    def packed(self) -> Tensor:
        """Weights in the order that compiled blocks read."""
        found = [weights_of(self.gate)]
        for index, part in enumerate(self.attend):
            apart = torch.zeros(self.gate.second.out_features)
            if self.noise_k is not None and self.noise_v is not None:
                apart = self.noise_k[index] - self.noise_v[index]
            assert isinstance(part, PairAttention)
            found += [apart, part.in_proj_weight, part.in_proj_bias, part.out_proj.weight, part.out_proj.bias]
        return compiled.packed(*found)
