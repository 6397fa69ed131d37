"""Parts of a layer of MMAIF's DiT (ICCV 2025, arXiv 2503.14944, figure 3), in the paper's order:

    X = X + position table                           one learned table a block
    X = NAFBlock(X)                                  Chen et al., ECCV 2022
    X = X + alpha1 Attention(LN(X) (1 + gamma1) + beta1, V^(l-1))
        V^l = (1 - eta) W_V X + eta V^(l-1)          value residual (ResFormer, Zhou et al. 2024)
        q, k turned by row and by column             RoPE (Su et al. 2021) along two axes
    X = X + alpha2 MoE-GLU(LN(X) (1 + gamma2) + beta2)
        shared(y) + sum of the top k of p_e E_e(y), p = softmax(W_r y), E(y) = W_o(SiLU(W_a y) * W_b y)
                                                     with the balance loss of Switch (Fedus et al. 2021, eq. 4 to 6)
    gamma1 ... alpha2 = shared(c) + U W SiLU(c)      LoRA AdaLN: low rank per block, starts at 0 (DiT, AdaLN-zero)

The paper's figure 3c draws this order; the numbers of its equations are not known to us.

Written from the formulas; no code was copied. Licence: Apache-2.0. Tokens are maps with channels last, (B, h, w, D),
unless a line says otherwise.
"""

from __future__ import annotations

from ...arrays import F, Tensor, nn, torch
from ..latent.positions import Rotary, resize_table, rotate
from .config import MMAIFConfig

# ---------------------------------------------------------------------- blocks


class NAF(nn.Module):
    """NAFNet's block: no activations, gates instead; both residual scales start at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.expand1, self.expand2 = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.near = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width)
        self.attend = nn.Linear(width, width)
        self.join1, self.join2 = nn.Linear(width, width), nn.Linear(width, width)
        self.beta, self.gamma = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h, w, D)"""
        y = self.near(self.expand1(self.norm1(x)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        a, b = y.chunk(2, -1)
        y = a * b
        y = y * self.attend(y.mean((1, 2), keepdim=True))
        x = x + self.beta * self.join1(y)
        a, b = self.expand2(self.norm2(x)).chunk(2, -1)
        return x + self.gamma * self.join2(a * b)


class ValueResidualAttention(nn.Module):
    """Over all tokens.

    With `residual` the values are (1 - eta) own + eta of the block before, eta learned, 1/2 at first.
    """

    def __init__(self, width: int, heads: int, residual: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.eta = nn.Parameter(torch.tensor(0.5)) if residual else None

    def forward(self, x: Tensor, before: Tensor | None, positions: Rotary | None) -> tuple[Tensor, Tensor]:
        """x (B, T, D), values of the block before (B, heads, T, d) -> result (B, T, D), values"""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, T, d) each
        if self.eta is not None and before is not None:
            v = (1 - self.eta) * v + self.eta * before
        if positions is not None:
            q, k = rotate(q, positions), rotate(k, positions)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2)), v


class GLU(nn.Module):
    """W_o (SiLU(W_a y) * W_b y)"""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * hidden)
        self.leave = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)"""
        a, b = self.enter(x).chunk(2, -1)
        return self.leave(F.silu(a) * b)


class MoEGLU(nn.Module):
    """One GLU for all tokens plus the `active` best of `experts` routed ones, each times its probability."""

    def __init__(self, width: int, hidden: int, experts: int, active: int) -> None:
        super().__init__()
        self.active = active
        self.router = nn.Linear(width, experts)
        self.shared = GLU(width, hidden)
        self.experts = nn.ModuleList([GLU(width, hidden) for _ in range(experts)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (P, D) -> result (P, D), balance loss (1 where all experts get alike), share of the choices each expert got
        (experts,)
        """
        probability = self.router(x).softmax(-1)
        weight, chosen = probability.topk(self.active, -1)  # (P, active)
        out = self.shared(x)
        for index, expert in enumerate(self.experts):
            token, place = (chosen == index).nonzero(as_tuple=True)
            if len(token):
                out = out.index_add(0, token, weight[token, place, None] * expert(x[token]))
        load = torch.bincount(chosen.flatten(), minlength=len(self.experts)) / chosen.numel()
        return out, balance_loss(probability, load), load


def balance_loss(probability: Tensor, load: Tensor) -> Tensor:
    """experts * sum_e f_e P_e, of probabilities (P, experts) and shares f (experts,) of the choices."""
    return len(load) * (load * probability.mean(0)).sum()


class LoRAAdaLN(nn.Module):
    """LoRA AdaLN: the low-rank part of a block's six vectors, U(W SiLU(c)); U starts at 0."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, 6 * width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, condition: Tensor, shared: Tensor) -> tuple[Tensor, ...]:
        """SiLU(c) (B, D), what all blocks share (B, 6D) -> gamma1, beta1, alpha1, gamma2, beta2, alpha2, (B, 1, 1, D)
        each
        """
        return (shared + self.up(self.down(condition)))[:, None, None].chunk(6, -1)


class DiTBlock(nn.Module):
    """One layer in MMAIF's drawn order: position table, NAF, modulated attention, modulated experts; see MMAIFConfig
    for the switches. residual: whether it takes the values of the block before; the first one has none.
    """

    def __init__(
        self,
        c: MMAIFConfig,
        *,
        residual: bool,
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(c.width, c.table, c.table))
        self.naf = NAF(c.width) if c.naf else None
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.attention = ValueResidualAttention(c.width, c.heads, residual)
        self.experts: MoEGLU | None = MoEGLU(c.width, c.hidden, c.experts, c.active) if c.moe and c.experts else None
        self.dense = None if self.experts is not None else GLU(c.width, 2 * c.hidden)
        self.modulation = LoRAAdaLN(c.width, c.rank)

    def forward(
        self, x: Tensor, condition: Tensor, shared: Tensor, before: Tensor | None, positions: Rotary | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """-> x, this block's values, (balance loss, load) where there are experts"""
        size = x.shape[1:3]
        x = x + resize_table(self.table, *size).to(x.dtype)
        if self.naf is not None:
            x = self.naf(x)
        gamma1, beta1, alpha1, gamma2, beta2, alpha2 = self.modulation(condition, shared)
        y, values = self.attention((self.norm(x) * (1 + gamma1) + beta1).flatten(1, 2), before, positions)
        x = x + alpha1 * y.unflatten(1, size)
        y = self.norm(x) * (1 + gamma2) + beta2
        if self.experts is None:
            assert self.dense is not None
            return x + alpha2 * self.dense(y), values, None
        y, balance, load = self.experts(y.flatten(0, 2))
        return x + alpha2 * y.view_as(x), values, (balance, load)
