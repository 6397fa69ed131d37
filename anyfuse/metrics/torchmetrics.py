"""The fusion metrics as classes of torchmetrics, for validation loops and several processes.

from anyfuse.metrics.torchmetrics import FusionMetric
qabf = FusionMetric("qabf")
for fused, sources in batches:
    qabf.update(fused, sources)
print(qabf.compute())
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..errors import FusionError
from . import known_names, score_batch
from .grey import RULES, GreyRule, to_grey
from .table import METRICS

try:
    from torchmetrics import Metric as _Base
    from torchmetrics import MetricCollection
except ImportError:
    raise FusionError("torchmetrics is not installed: pip install 'anyfuse[torchmetrics]'") from None

__all__ = ["FusionMetric", "fusion_metrics"]


class FusionMetric(_Base):
    """The mean of one fusion metric over all images of all batches, and of all processes.

    An image whose value is NaN is not in the mean; `missing` counts such images since the last reset.

    Args:
        name: in `anyfuse.metrics.METRICS`.
        data_range: value of white: 255, the default, or 1.
        grey: rule by which colour becomes grey levels (matlab, pil, opencv).
        options: of `torchmetrics.Metric`, as `sync_on_compute`.

    Raises:
        FusionError: an unknown metric or rule.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor
    missing: Tensor

    def __init__(self, name: str, *, data_range: float = 255, grey: GreyRule = "opencv", **options: Any) -> None:
        super().__init__(**options)
        names = known_names([name])
        if len(names) != 1:
            raise FusionError(f"FusionMetric takes one metric, not '{name}'; fusion_metrics takes several")
        if not data_range > 0:
            raise FusionError(f"data_range {data_range:g}: give more than 0")
        if grey not in RULES:
            raise FusionError(f"grey '{grey}': give one of {', '.join(RULES)}")
        self.metric, self.data_range, self.grey = names[0], float(data_range), grey
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("missing", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Which direction is better; None where neither is."""
        better = METRICS[self.metric].better
        return None if better == "none" else better == "higher"

    def update(self, fused: Tensor, sources: Tensor) -> None:
        """Adds a batch.

        Args:
            fused: (B, H, W) or (B, C, H, W), C 1 or 3, in 0..data_range.
            sources: (B, N, H, W) or (B, N, C, H, W), of the same size and range.

        Raises:
            FusionError: other shapes or ranges, or images too small for the metric.
        """
        if not isinstance(fused, Tensor) or not isinstance(sources, Tensor):
            raise FusionError("FusionMetric takes tensors")
        if fused.ndim not in (3, 4) or sources.ndim != fused.ndim + 1:
            raise FusionError(
                f"fused {tuple(fused.shape)} and sources {tuple(sources.shape)}: give (B, H, W) and (B, N, H, W), or "
                "(B, C, H, W) and (B, N, C, H, W)"
            )
        values = score_batch(self._levels(fused, 3), self._levels(sources, 4), [self.metric])[self.metric]
        known = values[~values.isnan()]
        self.total += known.sum().to(self.total)
        self.count += len(known)
        self.missing += len(values) - len(known)

    def compute(self) -> Tensor:
        """The mean, a scalar; NaN where no image had a value."""
        return self.total / self.count  # 0 / 0 is NaN

    def _levels(self, images: Tensor, flat: int) -> Tensor:
        """Grey levels in 0..255, float64; `flat`: dimensions of images without channels."""
        levels = images.detach().double() * (255 / self.data_range)
        whole = levels.round()  # of 8-bit images that were divided: their levels again, to the bit
        levels = torch.where((levels - whole).abs() < 1e-3, whole, levels)
        return levels if images.ndim == flat else to_grey(levels, self.grey)


def fusion_metrics(
    names: Iterable[str] | str, *, data_range: float = 255, grey: GreyRule = "opencv"
) -> MetricCollection:
    """Several metrics in one: `update` takes a batch, `compute` gives name -> mean.

    Args:
        names: of METRICS, or 'all'.
        data_range: as in `FusionMetric`.
        grey: as in `FusionMetric`.

    Raises:
        FusionError: an unknown metric or rule.
    """
    each: dict[str, Any] = {name: FusionMetric(name, data_range=data_range, grey=grey) for name in known_names(names)}
    return MetricCollection(each, compute_groups=False)  # all have equal states, and values of their own
