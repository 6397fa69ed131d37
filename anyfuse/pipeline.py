"""The whole job on one page: read -> split colour -> model -> join colour -> show classes -> write.

Only io.py touches files, only colour.py changes colour space, only tiling.py knows of tiles, only overlay.py paints. Models see tensors in [0, 1].
"""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from . import tiling
from .control import Control
from .image import colour, overlay
from .image.stack import Stack, Window, order_of_roles
from .models.base import FusionModel
from .result import Fused

ColourRule = Literal["grey", "blend", "merge", "rgb"]


def colour_rule(stack: Stack, model: FusionModel) -> ColourRule:
    """How colour goes through the model.

    grey: no source has any. rgb: the model takes RGB itself. blend: all sources have colour and the model's weights apply to
    chroma as they do to luma. merge: the model fuses luma, and the chroma of the coloured sources is merged by saturation.
    """
    if model.channels == 3:
        return "rgb"
    if not any(stack.has_colour):
        return "grey"
    return "blend" if all(stack.has_colour) and model.carries_chroma else "merge"


def split(images: Tensor, rule: ColourRule) -> Tensor:
    """(N, 1 or 3, h, w) in [0, 1] -> the planes that the model sees (N, 1 or 3, h, w)."""
    if rule == "rgb":
        return images.expand(-1, 3, -1, -1)
    if rule == "blend":
        return colour.to_luma_chroma(images.expand(-1, 3, -1, -1))
    return colour.to_luma(images)


def join(fused: Tensor, stack: Stack, window: Window, rule: ColourRule, painted: bool = False) -> Tensor:
    """Fused planes of a window -> image (1 or 3, h, w) in [0, 1]. painted: a model of RGB keeps its colours though no source has any."""
    if rule == "blend":
        return colour.join(fused[:1], fused[1:])
    if rule == "merge":
        return colour.join(fused, colour.merge_chroma(colour.to_chroma(stack.read(window))))
    return colour.to_luma(fused) if stack.stored_channels == 1 and not painted else fused


def least_bytes(stack: Stack, model: FusionModel) -> int:
    """The smallest budget with which `fuse_stack` can work."""
    planes = 3 if colour_rule(stack, model) in ("blend", "rgb") else 1
    return tiling.least_bytes(model, stack.n, planes, stack.height, stack.width)


def fuse_stack(
    stack: Stack,
    model: FusionModel,
    *,
    device: torch.device | str = "cpu",
    budget: int | None = None,
    with_weights: bool = False,
    keep_order: bool = False,
    explain: bool = False,
    control: Control | None = None,
) -> Fused:
    """Fuses a stack with a loaded model. budget: bytes to use beside the images, None for no limit.

    A model whose sources have roles gets them in the order of `order_of_roles`, unless `keep_order`; everything else, as the
    reference and its metadata, goes by the order of the stack. control: what the user asks for; classes to be shown are painted, in RGB. A
    single frame given twice keeps its own pixels below them, unless another tone is asked for.
    """
    control = control or Control()
    model.check_arity(stack.n)
    start = time.perf_counter()
    rule = colour_rule(stack, model)
    planes = 3 if rule in ("blend", "rgb") else 1
    layout = tiling.plan(model, stack.n, planes, stack.height, stack.width, budget)
    channels = 3 if control.segment else stack.stored_channels
    out = np.empty((stack.height, stack.width, channels), stack.depth)
    shares = np.empty((stack.n, stack.height, stack.width), np.uint8) if with_weights else None
    found = False
    order = list(range(stack.n))
    if model.ordered and not keep_order:
        order = order_of_roles(stack.frames)
    notes = model.tell(control, order)
    kept = bool(control.segment) and not control.tone and model.shows and len(set(map(id, stack.frames))) == 1
    likely: dict[str, Tensor] = {}

    def read(window: Window) -> Tensor:
        planes = split(stack.read(window), rule)
        return planes[order] if model.ordered else planes

    def write(window: Window, fused: Tensor, weights: Tensor | None) -> None:
        nonlocal found
        image = join(fused.float().cpu(), stack, window, rule, bool(control.segment))
        shown = overlay.settle({name: mask[window] for name, mask in likely.items()})
        out[window] = stack.quantise(overlay.show(image, shown, control.segment))
        if shares is not None and weights is not None:
            found = True
            shares[(order, *window)] = (weights.clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy()

    explained: dict[str, Tensor] = {}
    tiling.fuse_tiles(
        model, layout, read, write, device=device, with_weights=with_weights, explained=explained if explain else None,
        masks=likely if control.segment else None, keep=kept,
    )  # fmt: skip
    masks = {name: mask.numpy().astype(np.uint8) * 255 for name, mask in overlay.settle(likely).items()}
    notes += [f"no {name} is found" for name, mask in masks.items() if not mask.any()]
    report = {
        "inputs": [
            {"name": f.name, "width": f.width, "height": f.height, "depth": str(f.pixels.dtype), "colour": c}
            for f, c in zip(stack.frames, stack.has_colour, strict=True)
        ],
        "width": stack.width, "height": stack.height, "depth": str(stack.depth), "channels": out.shape[2],
        "colour_rule": rule, "tiles": layout.count, "notes": notes, "seconds": round(time.perf_counter() - start, 4),
    }  # fmt: skip
    if model.ordered:
        report["order"] = [stack.frames[k].name for k in order]
    if masks:
        colours = overlay.colours_of(control.segment)
        report["shown"] = {
            n: {"colour": colours[n], "share": round(float(m.mean()) / 255, 6)} for n, m in masks.items()
        }
    return Fused(out, shares if found else None, explained, masks, report)
