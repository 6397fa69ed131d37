"""OAF (Operation-based Adaptive Fusion) of TITA (ICCV 2025, arXiv 2504.05164): task-specific adaptation. The features
themselves predict the operands and the weights of the operations.

    g     = conv1x1(X)
    X_hpf = X - sum over 3x3 of k X, k = softmax(conv3x3(g)) times a Hamming window, normalised; the same
            for all channels
    X_add = X + conv3x3(g)
    X_mul = X * conv3x3(g)
    w     = softmax(MLP(mean of [X_A; X_B]))                     six weights of the whole image, which sum to 1
    out   = sum over o of w_A,o X_A,o + w_B,o X_B,o

The numbers of the paper's equations are not known to us, so parts bear the paper's names.

Origin: written from the formulas; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from ... import native
from ...arrays import Tensor, nn, torch


class OAF(nn.Module):
    """OAF for one source: operands made from the features themselves, and the features under them.

    hpf: x less its mean under nine weights per pixel, the same for all channels; add: x + a; mul: x * m.
    """

    hamming: Tensor

    def __init__(self, channels: int, branches: Sequence[str]) -> None:
        super().__init__()
        self.make = nn.Conv2d(channels, channels, 1)
        sizes = {"hpf": 9, "add": channels, "mul": channels}
        self.branches = nn.ModuleDict({b: nn.Conv2d(channels, sizes[b], 3, padding=1) for b in branches})
        taps = torch.tensor([0.08, 1.0, 0.08])
        self.register_buffer("hamming", taps.outer(taps).flatten(), persistent=False)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x (B, H, W, C), weights (B, branches, 1, 1) -> their weighted sum (B, H, W, C)"""
        g = self.make(x.movedim(-1, 1))
        shares = dict(zip(self.branches, weights.unbind(1), strict=True))
        plain = sum((s for b, s in shares.items() if b != "mul"), torch.zeros_like(weights[:, 0]))
        out = x * plain[..., None]
        for name, share in shares.items():
            made = self.branches[name](g).movedim(1, -1)  # (B, H, W, 9 or C)
            term = self._low(x, made) if name == "hpf" else x * made if name == "mul" else made
            out = out + (-share if name == "hpf" else share)[..., None] * term
        return out

    def _low(self, x: Tensor, logits: Tensor) -> Tensor:
        """Mean of 3x3 pixels under softmax weights times a Hamming window, border reflected; nine shifted products."""
        found = native.takes(x, logits, self.hamming) if min(x.shape[1:3]) > 1 else None
        if found is not None:
            return native.low_pass(found, x, logits, self.hamming)
        k = logits.softmax(-1) * self.hamming.to(logits.dtype)
        k = k / k.sum(-1, keepdim=True)
        h, w = x.shape[1:3]
        padded = torch.cat([x[:, 1:2], x, x[:, -2:-1]], 1)
        padded = torch.cat([padded[:, :, 1:2], padded, padded[:, :, -2:-1]], 2)
        low = padded[:, :h, :w] * k[..., :1]
        for i in range(1, 9):
            low = torch.addcmul(low, padded[:, i // 3 : i // 3 + h, i % 3 : i % 3 + w], k[..., i : i + 1])
        return low
