"""The field's metrics, exact and fast.

    from anyfuse.metrics import score
    score(fused, [infrared, visible], metrics=["mi", "qabf", "vif", "halo"])   # {"mi": 4.18, ...}

`METRICS` lists them: function, direction, range, family, source. Each function takes fused (B, H, W) and sources (B, N,
H, W) in 0..255 and returns (B,); most are differentiable, their docstrings say so. docs/metrics.md has the formulas and
which published tables used which variant.
"""

from __future__ import annotations

import difflib
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
    "known_names",
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
    grey: GreyRule = "opencv",
    reference: Image | None = None,
    *,
    strict: bool = True,
) -> dict[str, float]:
    """Metrics of one fused image and its sources: name -> value.

    Args:
        fused: array (H, W) or (H, W, C), or tensor (H, W) or (C, H, W), C 1 or 3, values 0..255.
        sources: the same, all of one size.
        metrics: names of METRICS; None: all plain ones, "all": every one.
        grey: rule by which colour becomes grey levels (matlab, pil, opencv).
        reference: a known ground truth of the same size; adds psnr_truth and ssim_truth.
        strict: images smaller than the window of a named metric are an error; False: NaN. Without names always NaN.

    A value is also NaN where the reference implementation returns NaN.

    Raises:
        FusionError: an unknown metric, or images of another type, range or size.
    """
    batch = score_batch(
        to_grey(_chw(fused, "fused"), grey)[None],
        torch.stack(_same_size([to_grey(_chw(s, f"source {k + 1}"), grey) for k, s in enumerate(sources)]))[None],
        metrics,
        None if reference is None else to_grey(_chw(reference, "reference"), grey)[None],
        strict=strict,
    )
    return {name: float(value) for name, value in batch.items()}


def score_batch(
    fused: Tensor,
    sources: Tensor,
    metrics: Iterable[str] | None = None,
    reference: Tensor | None = None,
    *,
    strict: bool = True,
) -> dict[str, Tensor]:
    """As `score`, for grey batches.

    Args:
        fused: (B, H, W) in 0..255.
        sources: (B, N, H, W) in 0..255.
        metrics: as in `score`.
        reference: (B, H, W) in 0..255.
        strict: as in `score`.

    Returns:
        Name -> values (B,).
    """
    for image, what in (
        (fused, "fused"),
        (sources, "sources"),
        *([] if reference is None else [(reference, "reference")]),
    ):
        if not isinstance(image, Tensor):
            raise FusionError(f"{what} is a {type(image).__name__}: give a tensor")
    names = list(PLAIN) if metrics is None else known_names(metrics)
    strict = strict and metrics is not None and names != list(METRICS)
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
                    if strict:
                        raise
                    value = torch.full((1,), float("nan"), dtype=torch.float64, device=fused.device)
                values[name].append(value)
        out = {name: torch.cat(parts) for name, parts in values.items()}
        if reference is not None:
            if reference.shape != fused.shape:
                raise FusionError(
                    f"reference {tuple(reference.shape)} and fused {tuple(fused.shape)} differ in size: bring them "
                    "to one size"
                )
            _check_values(reference, "reference")
            out["psnr_truth"] = psnr_truth(fused.double(), reference.double())
            out["ssim_truth"] = ssim_truth(fused.double(), reference.double())
    return out


def known_names(metrics: Iterable[str]) -> list[str]:
    """Names of METRICS without repeats, or all of them for "all" or ["all"]; a FusionError suggests the nearest
    name.
    """
    names = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    if names == ["all"]:
        return list(METRICS)
    if not names:
        raise FusionError("no metric named: leave the names out for the usual ones, or give 'all'")
    for name in names:
        if name not in METRICS:
            nearest = difflib.get_close_matches(str(name).lower(), METRICS, 1, 0.5)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise FusionError(f"unknown metric {name}: {hint}docs/metrics.md lists all of them")
    return names


def _chw(image: Image, what: str) -> Tensor:
    """(C, H, W) of an array (H, W[, C]) or a tensor ([C,] H, W)."""
    if not isinstance(image, (np.ndarray, Tensor)):
        raise FusionError(f"{what} is a {type(image).__name__}: give an array (H, W[, 3]) or a tensor ([3,] H, W)")
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "uif" and image.dtype != np.bool_:
            raise FusionError(f"{what} has the type {image.dtype}: give numbers in 0..255")
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
    """Refuses truth values, NaN, values outside 0..255 and floats that were left in 0..1."""
    if values.numel() == 0:
        raise FusionError(f"{what} is empty: shape {tuple(values.shape)}")
    if values.dtype == torch.bool:
        raise FusionError(f"{what} holds True and False: metrics are defined on 0..255, multiply by 255")
    if values.is_complex():
        raise FusionError(f"{what} holds complex numbers: metrics are defined on 0..255, give real levels")
    low, high = (float(v) for v in torch.aminmax(values))
    if math.isnan(low) or math.isnan(high):
        count = int(values.isnan().sum())
        raise FusionError(f"{what} has {count} NaN pixels of {values.numel()}: mend or mask them first")
    if low < 0 or high > 255:
        raise FusionError(f"{what} has values {low:g}..{high:g}: metrics are defined on 0..255, scale or clip first")
    if values.is_floating_point() and 0 < high <= 1 and bool((values != values.round()).any()):
        raise FusionError(f"{what} has values {low:g}..{high:g}, which look like 0..1: multiply by 255")


def _same_size(images: list[Tensor]) -> list[Tensor]:
    if not images:
        raise FusionError("no sources given: metrics of fusion need at least one")
    if len({tuple(image.shape) for image in images}) > 1:
        sizes = ", ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in images)
        raise FusionError(f"sources differ in size ({sizes}): bring them to one size first")
    return images
