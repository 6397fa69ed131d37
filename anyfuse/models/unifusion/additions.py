"""What this UniFusion has beyond the paper's, each with a field of UniFusionConfig that leaves it out.

    inputs='set'       any number of inputs: one adapter and one cross block for all, each input attends to all others,
                       the decoder gets their mean and maximum
    inputs='shared'    one adapter for both inputs
    norm='running'     statistics of the adapters' batch norm that small batches of mixed tasks do not disturb
    norm='group'       group norm in its place
    colour='luma'      luma in and out; chroma goes around the network
    half               the fusion network works at half size, on folded pixels
    scaled             the backbone's own normalisation of its input

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from typing import cast

from ...arrays import F, Tensor, nn, torch
from ..base import unflatten_set
from .config import UniFusionConfig
from .fusion import Fusion


class RunningNorm(nn.BatchNorm2d):
    """Batch norm with running statistics in training as in use, so that small batches of mixed tasks do not disturb it.

    Each pass in training updates the statistics first: their plain mean over the first 100 passes, then a moving
    average.
    """

    def share(self) -> Tensor:
        """Weight of the next pass in the statistics, above 0 and at most 1."""
        assert self.num_batches_tracked is not None
        return (1 / (1 + self.num_batches_tracked)).clamp_min(0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        if self.training:
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                share = self.share()
                var, mean = torch.var_mean(x.float(), (0, 2, 3))
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(var, share)
                self.num_batches_tracked += 1
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class SetFusion(Fusion):
    """The paper's fusion network for sets: one cross block a round; mean and maximum over the inputs are joined."""

    def __init__(self, c: UniFusionConfig) -> None:
        super().__init__(c, sides=1)

    def exchange(self, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of each of N inputs -> their mean and maximum (B, D, H, W) after the rounds."""
        n = len(z)
        x = torch.stack(z, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for blocks in self.rounds:
            x = cast(nn.ModuleList, blocks)[0](x, x, n)
        parts = unflatten_set(x, n)
        return parts.mean(1), parts.amax(1)
