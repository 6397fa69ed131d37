"""One moment after the other through one model, with decisions that stay where the streams do.

Roles, colour rule, tiles and the request are settled by the first moment, so that none of them changes on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import tiling
from ..canvas import Canvas
from ..control import Control
from ..errors import FusionError
from ..fuser import Fuser
from ..held import Held, model_for, wanted
from ..image import planes
from ..image.cover import Window
from ..image.frame import Frame
from ..image.stack import Stack
from ..language.instruction import read_say
from ..models.base import Context, FusionModel
from ..models.choice import asks_for_both
from ..options import Options
from ..prepare import roles_for
from .settings import VideoSettings
from .smoothing import Smoother


@dataclass(frozen=True)
class Plan:
    """What the first moment settles."""

    model: FusionModel
    rule: planes.ColourRule
    order: list[int]
    control: Control
    condition: object
    grid: tiling.TileGrid
    held: Held


class MomentFuser:
    """Fuses the frames of one moment after the other.

    Args:
        fuser: the loaded model.
        settings: `say`, `smooth`, `reference`.
        has_colour: for each stream, whether it has colour.
    """

    def __init__(self, fuser: Fuser, settings: VideoSettings, has_colour: Sequence[bool]) -> None:
        self.fuser, self.settings, self.has_colour = fuser, settings, list(has_colour)
        self.model = fuser.model
        self.control = read_say(settings.say)
        if asks_for_both(self.control):
            raise FusionError(f"--say {settings.say}: a video takes repairs or light, not both; do one after the other")
        self.smoother = Smoother(settings.smooth)
        self.notes: list[str] = []
        self.is_steady = self.model.context_scale is not None and settings.smooth > 0
        if settings.smooth > 0 and not self.is_steady:
            self.notes.append(f"model {fuser.name} has no context to smooth; frames are fused one by one")
        self._plan: Plan | None = None

    def __call__(self, frames: Sequence[Frame], time: float) -> np.ndarray:
        """The fused pixels (H, W, 1 or 3) in the depth of the frames; time in seconds."""
        stack = Stack(tuple(frames), self.settings.reference)
        stack.__dict__["has_colour"] = self.has_colour
        plan = self._plan = self._plan or self._settle(stack)
        canvas = Canvas(stack, plan.rule, plan.order, plan.control)

        def read(window: Window) -> Tensor:
            sources = planes.read(stack, window, plan.rule)
            return sources[plan.order] if plan.model.ordered else sources

        def step(sources: Tensor, context: Context | None) -> dict[str, Tensor]:
            if context is None and self.is_steady:
                adjust = self.smoother.at(self._cells(sources[0]), time)
                fused = self.model.forward_adjusted(sources, plan.condition, adjust)
            else:
                fused = plan.model(sources, plan.condition, context)
            masks = plan.model.masks(sources, plan.control.segment)
            return {"fused": plan.held(sources, fused), **{f"class {name}": m for name, m in masks.items()}}

        adjust = None
        if self.is_steady and not plan.grid.whole:
            adjust = self.smoother.at(self._cells_in_strips(read, plan.grid), time)
        for window, maps in tiling.run_tiles(
            plan.model, plan.grid, read, step, device=self.fuser.device, adjust=adjust
        ):
            canvas.write(window, maps)
        return canvas.pixels

    def _settle(self, stack: Stack) -> Plan:
        """What all moments share."""
        model = self.model
        model.check_arity(stack.n)
        options = Options(self.settings.reference, say=self.settings.say)
        _, order = roles_for(stack, model, options)
        wish = wanted(self.control, self.settings.say, stack, order, model)
        control = wish.control
        self.notes += wish.notes()
        condition = model.condition(control, order)
        self.notes += model.ignored(control)
        model = model_for(model, control, stack.n, self.fuser.device, self.fuser.dtype)
        if model is not self.model:  # nothing to restore
            condition, order = None, list(range(stack.n))
        rule = planes.colour_rule(stack, model.channels, model.carries_chroma)
        grid = tiling.plan_tiles(model, stack.n, planes.plane_count(rule), stack.height, stack.width)
        return Plan(model, rule, order, control, condition, grid, Held(model, wish, grid))

    def _cells(self, sources: Tensor) -> Tensor:
        """(N, C, H, W) -> means (N, h, w) of the cells of the context, of luma or of all channels."""
        luma = sources[:, :1] if self.model.channels == 1 else sources.mean(1, keepdim=True)
        return F.avg_pool2d(luma.float(), self.model.context_scale or 1)[:, 0]

    def _cells_in_strips(self, read: tiling.Reader, grid: tiling.TileGrid) -> Tensor:
        """The same of a large picture, read in strips."""
        strip, columns = 32 * (self.model.context_scale or 1), slice(0, grid.padded_width)
        parts = []
        for top in range(0, grid.padded_height, strip):
            rows = slice(top, min(top + strip, grid.padded_height))
            sources = tiling.read_padded(read, (rows, columns), grid.height, grid.width, grid.margin)
            parts.append(self._cells(sources.to(self.fuser.device)))
        return torch.cat(parts, 1)
