"""The default model's fusion: what a restoration is held against (degradation/gate.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from .arrays import F, Tensor, torch
from .control import Control
from .image.colour import join, to_luma_chroma
from .image.stack import Stack
from .language.lexicon import noun_of
from .models.base import FusionModel
from .options import Engine
from .tiling import TileGrid, fuse_whole

if TYPE_CHECKING:
    from .degradation.estimator import Estimate

NOTHING = {"light": 0.0, "detail": 0.0}
"""What is taken of a restoration that there is none of."""
MOSTLY = 0.5
"""Share of a restoration below which a person who asked for it is told so."""


@lru_cache(maxsize=2)
def _default(device: str, dtype: torch.dtype) -> FusionModel:
    from .models.registry import load_model

    model = load_model("anyfuse").to(device, dtype)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.inference_mode()
def plain_fusion(sources: Tensor) -> Tensor:
    """sources (B, N, 1 or 3, H, W) in [0, 1] of any size -> (B, 1 or 3, H, W) in [0, 1]"""
    model = _default(str(sources.device), torch.float32)
    return torch.stack([_fused(model, planes.float()) for planes in sources]).clamp(0, 1)


def _fused(model: FusionModel, planes: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) -> (1 or 3, H, W)"""
    if planes.shape[1] == 1:
        return fuse_whole(model, planes)
    fused = fuse_whole(model, to_luma_chroma(planes))[None]
    return join(fused[:, :1], fused[:, 1:])[0]


@dataclass(frozen=True)
class Wanted:
    """What is to be restored in two images."""

    control: Control  # the request, or with what the images seem to have
    estimate: Estimate | None  # of the images; None: nothing can be restored, or nothing shall be
    told: bool  # a person named the degradations
    absent: tuple[str, ...] = ()  # those of them that are surely not there, nor their kin; the control has them no more

    @property
    def assumed(self) -> Estimate | None:
        """The estimate, where it decided."""
        return None if self.told else self.estimate

    def notes(self) -> list[str]:
        """A line about what was named and is not there."""
        if not self.absent:
            return []
        names = " and no ".join(noun_of(name) for name in self.absent)
        return [f"the images show no {names}: nothing was done about it"]


def wanted(control: Control, say: str | Control | None, stack: Stack, order: list[int], model: FusionModel) -> Wanted:
    """What a model restores in a stack: what the control names, as far as it is there, and what looks like it and is
    there; or where `say`, of which it is, is silent about that what the images seem to have.
    """
    silent = say is None or not (control.empty or control.degradations)
    if not (model.restores and stack.n == 2 and (silent or control.degradations)):
        return Wanted(control, None, told=True)
    from .degradation.estimator import estimate_stack

    estimate = estimate_stack(stack, control.task, order=order)
    if silent:
        return Wanted(replace(control, degradations=estimate.control().degradations), estimate, told=False)
    absent = estimate.absent(control)
    left = {name: where for name, where in control.degradations.items() if name not in absent} | estimate.kin(control)
    alone = [name for name in absent if not estimate.kin(Control(degradations={name: control.degradations[name]}))]
    return Wanted(replace(control, degradations=left), estimate, told=True, absent=tuple(alone))


def model_for(model: FusionModel, control: Control, n: int, device: torch.device, dtype: torch.dtype) -> FusionModel:
    """The model, or the default one where it restores and there is nothing to restore in two images: the picture is
    the default model's to the bit.
    """
    idle = model.restores and not control.degradations and n == 2
    return _default(str(device), dtype) if idle else model


def engine_for(engine: Engine, control: Control, n: int) -> Engine:
    """The engine with its model, or with the default one: see `model_for`."""
    model = model_for(engine.model, control, n, engine.device, engine.dtype)
    return engine if model is engine.model else replace(engine, model=model)


class Held:
    """Holds what a restoring model makes of a pair against the default model's fusion; passes on what others make.

    A picture in one piece is held without its padding, so that a share of 0 gives the default model's picture.

    shares: after a call, how much of the restoration was taken, as the report has it; None: nothing was held.
    """

    def __init__(self, model: FusionModel, wish: Wanted, grid: TileGrid) -> None:
        self.restores, self.control = model.restores, wish.control
        self.estimate, self.told = wish.estimate, wish.told
        self.shares: dict[str, float] | None = None
        self.grid = grid

    def __call__(self, sources: Tensor, result: Tensor) -> Tensor:
        """sources (1, 2, C, H, W) by role, result (1, C, H, W) of the model -> the same, as far as it helps"""
        if not self.restores or sources.shape[1] != 2:
            return result
        from .degradation.estimator import roles_of
        from .degradation.gate import harmless

        roles = roles_of(self.control, self.estimate)
        size, margin = result.shape[-2:], self.grid.margin if self.grid.whole else 0
        height, width = (self.grid.height, self.grid.width) if self.grid.whole else size
        window = ..., slice(margin, margin + height), slice(margin, margin + width)
        sources, result = sources[window], result[window]
        held, shares = harmless(sources, plain_fusion(sources), result, self.control, roles, self.told)
        self.shares = shares.as_dict()
        return F.pad(held, (margin, size[1] - margin - width, margin, size[0] - margin - height), mode="replicate")

    def notes(self) -> list[str]:
        """A line where little was taken of a restoration that a person asked for."""
        if self.shares is None or not (self.told and self.control.degradations):
            return []
        light, detail = self.shares["light"], self.shares["detail"]
        if max(light, detail) >= MOSTLY:
            return []
        return [
            f"the restoration was mostly left out ({light:.0%} of its light, {detail:.0%} of its detail): "
            "the fusion without it seemed better"
        ]
