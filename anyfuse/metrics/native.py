"""Scores on colour images as VIFB and MEFB compute them: channel by channel, each benchmark with its own rules.

- A metric is computed per channel of F, with the same channel of a source, or its only one; then the mean is taken.
- MEFB, sources grey and F colour: only the first channel (red) of F counts; AG alone takes F's grey value.
- VIFB: spatial frequency of a colour F treats the channels as one image three times as wide, its two seams included.
- MEFB's MEF-SSIM works on grey values (rgb2gray) of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from anyfuse.errors import FusionError

from . import edges, fidelity, fmi, gradient, information, mefssim, perception, phase, structure, vif, weighted
from .grey import to_grey
from .shared import Shared

Channels = Literal["vifb", "mefb"]

VIFB = {
    "ag": gradient.ag,
    "ce": information.ce,
    "ei": gradient.ei,
    "en": information.en,
    "mi_vifb": information.mi_vifb,
    "psnr_vifb": fidelity.psnr_vifb,
    "qabf": edges.qabf,
    "qcb_vifb": perception.qcb_vifb,
    "qcv": perception.qcv,
    "rmse_vifb": fidelity.rmse_vifb,
    "sd": gradient.sd,
    "sf_vifb": gradient.sf_vifb,
    "ssim_sum": structure.ssim_sum,
}
MEFB = {
    "ag": gradient.ag,
    "ce": information.ce,
    "ei": gradient.ei,
    "en": information.en,
    "fmi_edge": fmi.fmi_edge,
    "mef_ssim": mefssim.mef_ssim,
    "ncie": information.ncie,
    "nmi": information.nmi,
    "psnr_vifb": fidelity.psnr_vifb,
    "qabf": edges.qabf,
    "qc_mefb": weighted.qc_mefb,
    "qcb": perception.qcb,
    "qcv": perception.qcv,
    "qp": phase.qp,
    "qw_mefb": weighted.qw_mefb,
    "qy_mefb": weighted.qy_mefb,
    "sd": gradient.sd,
    "sf_vifb": gradient.sf_vifb,
    "te_mefb": information.te_mefb,
    "viff": vif.viff,
}


def native_score(
    fused: Tensor, sources: Sequence[Tensor], channels: Channels = "vifb", metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """The metrics of VIFB (13) or MEFB (20) of one fused image and its sources, each (C, H, W) in 0..255, C 1 or 3."""
    if channels not in ("vifb", "mefb"):
        raise FusionError(f"unknown channel rule {channels!r}: use vifb or mefb")
    table = VIFB if channels == "vifb" else MEFB
    unknown = [name for name in metrics or () if name not in table]
    if unknown:
        raise FusionError(f"{channels} has no metric {', '.join(unknown)}: it has {', '.join(table)}")
    names = list(table) if metrics is None else list(metrics)
    images = [image.double() for image in (fused, *sources)]
    if any(image.ndim != 3 or image.shape[0] not in (1, 3) for image in images):
        raise FusionError(f"images must be (1 or 3, H, W), got {[tuple(i.shape) for i in images]}")
    if len({image.shape[1:] for image in images}) > 1:
        raise FusionError(f"images differ in size: {[tuple(i.shape[1:]) for i in images]}; bring them to one size")
    grey_sources = all(image.shape[0] == 1 for image in images[1:])
    fused = images[0][:1] if channels == "mefb" and grey_sources else images[0]
    planes = len(fused)
    shared = []
    for k in range(planes):
        plane = [image[min(k, len(image) - 1)] for image in images[1:]]
        shared.append(Shared(fused[k][None], torch.stack(plane)[None]))
    grey = Shared(to_grey(images[0])[None], torch.stack([to_grey(image) for image in images[1:]])[None])
    wide = fused.transpose(0, 1).flatten(1)[None]  # (1, H, C W)
    scores = {}
    with torch.no_grad():
        for name in names:
            function = table[name]
            if name == "sf_vifb" and channels == "vifb":
                scores[name] = float(function(wide, wide[:, None]))
            elif name == "mef_ssim" or (name == "ag" and planes < len(images[0])):
                scores[name] = float(function(grey.fused, grey.sources, grey))
            else:
                values = [function(s.fused, s.sources, s) for s in shared]
                scores[name] = float(torch.stack(values).mean())
    return scores
