"""The field's metrics, exact and fast.

    from anyfuse.metrics import score
    score(fused, [infrared, visible], metrics=["mi", "qabf", "vif", "halo"])   # {"mi": 4.18, ...}

`METRICS` lists them: function, direction, range, family, source. Each function takes fused (B, H, W) and sources
(B, N, H, W) in 0..255 and returns (B,); most are differentiable, their docstrings say so. docs/metrics.md has the formulas
and which published tables used which variant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from anyfuse.errors import FusionError

from .fidelity import psnr_truth
from .grey import RULES, GreyRule, to_grey
from .native import native_score
from .shared import Shared, TooSmallError, check_shapes
from .structure import ssim_truth
from .table import METRICS, PLAIN, Metric

Image = Tensor | np.ndarray

__all__ = [
    "METRICS",
    "PLAIN",
    "RULES",
    "Metric",
    "Shared",
    "native_score",
    "psnr_truth",
    "score",
    "score_batch",
    "ssim_truth",
    "to_grey",
]


def score(
    fused: Image,
    sources: Sequence[Image],
    metrics: Iterable[str] | None = None,
    grey: GreyRule = "matlab",
    reference: Image | None = None,
) -> dict[str, float]:
    """Metrics of one fused image and its sources: name -> value.

    fused, sources, reference: arrays (H, W) or (H, W, C), tensors (H, W) or (C, H, W), C 1 or 3, values 0..255, all of one
    size. Colour becomes grey levels by the rule `grey` (matlab, pil, opencv). metrics: names of METRICS; None: all plain
    ones, NaN for those whose window does not fit into the image; ["all"]: every one. reference: a known truth, adds
    psnr_truth and ssim_truth. Where a reference implementation returns NaN, so does this.
    """
    batch = score_batch(
        to_grey(_chw(fused, "fused"), grey)[None],
        torch.stack(_same_size([to_grey(_chw(s, f"source {k + 1}"), grey) for k, s in enumerate(sources)]))[None],
        metrics,
        None if reference is None else to_grey(_chw(reference, "reference"), grey)[None],
    )
    return {name: float(value) for name, value in batch.items()}


def score_batch(
    fused: Tensor, sources: Tensor, metrics: Iterable[str] | None = None, reference: Tensor | None = None
) -> dict[str, Tensor]:
    """The same for grey batches: fused (B, H, W), sources (B, N, H, W), reference (B, H, W) in 0..255; values (B,)."""
    names = _names(metrics)
    check_shapes(fused, sources)
    _check_values(fused, "fused")
    _check_values(sources, "sources")
    in_order = sorted(names, key=list(METRICS).index)  # metrics that share work stand together
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for k in range(len(fused)):  # one image at a time, and forgetting between families, keeps memory low
            shared = Shared(fused[k : k + 1].double(), sources[k : k + 1].double())
            family = ""
            for name in in_order:
                if METRICS[name].family != family:
                    shared.forget()
                    family = METRICS[name].family
                try:
                    value = METRICS[name].function(shared.fused, shared.sources, shared)
                except TooSmallError:
                    if metrics is not None:
                        raise
                    value = torch.full((1,), float("nan"), dtype=torch.float64, device=fused.device)
                values[name].append(value)
        out = {name: torch.cat(parts) for name, parts in values.items()}
        if reference is not None:
            if reference.shape != fused.shape:
                raise FusionError(
                    f"reference {tuple(reference.shape)} and fused {tuple(fused.shape)} differ in size: bring them to one size"
                )
            _check_values(reference, "reference")
            out["psnr_truth"] = psnr_truth(fused.double(), reference.double())
            out["ssim_truth"] = ssim_truth(fused.double(), reference.double())
    return out


def _names(metrics: Iterable[str] | None) -> list[str]:
    if metrics is None:
        return list(PLAIN)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if names == ["all"]:
        return list(METRICS)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise FusionError(f"unknown metric {', '.join(unknown)}: known are {', '.join(METRICS)}")
    return names


def _chw(image: Image, what: str) -> Tensor:
    """(C, H, W) of an array (H, W[, C]) or a tensor ([C,] H, W)."""
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint16:
            raise FusionError(f"{what} has 16 bits: metrics are defined on 0..255, divide by 257")
        tensor = torch.from_numpy(np.array(image, order="C"))  # a copy: views of files are read-only
        tensor = tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor
    else:
        tensor = image
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise FusionError(f"{what} must be grey or RGB, got shape {tuple(image.shape)}")
    _check_values(tensor, what)
    return tensor


def _check_values(values: Tensor, what: str = "image") -> None:
    """Refuses NaN, values outside 0..255 and floats that were left in 0..1."""
    if values.numel() == 0:
        raise FusionError(f"{what} is empty: shape {tuple(values.shape)}")
    if not values.is_floating_point():
        return
    low, high = (float(v) for v in torch.aminmax(values))
    if math.isnan(low) or math.isnan(high):
        count = int(values.isnan().sum())
        raise FusionError(f"{what} has {count} NaN pixels of {values.numel()}: mend or mask them first")
    if low < 0 or high > 255:
        raise FusionError(f"{what} has values {low:g}..{high:g}: metrics are defined on 0..255, scale or clip first")
    if 0 < high <= 1 and bool((values != values.round()).any()):
        raise FusionError(f"{what} has values {low:g}..{high:g}, which look like 0..1: multiply by 255")


def _same_size(images: list[Tensor]) -> list[Tensor]:
    if not images:
        raise FusionError("no sources given: metrics of fusion need at least one")
    if len({tuple(image.shape) for image in images}) > 1:
        sizes = ", ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in images)
        raise FusionError(f"sources differ in size ({sizes}): bring them to one size first")
    return images
