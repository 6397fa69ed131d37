"""What tiles are written to: the result's pixels, the weights, and the maps of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import Tensor, torch
from .control import Control
from .errors import FusionError
from .image import overlay, planes
from .image.cover import Window
from .image.stack import Stack
from .io.scratch import Scratch
from .runtime import release


class Canvas:
    """Takes the maps of each tile: 'fused', 'weights', 'class NAME', and all others as explanations.

    pixels: (H, W, C) in the stack's depth. weights: (N, H, W) uint8 in the user's order, or None. explained: by name.
    order: place in the user's list of each source that the model gets. scratch: holds the weights, if it is there.
    """

    def __init__(
        self,
        stack: Stack,
        rule: planes.ColourRule,
        order: list[int],
        control: Control,
        scratch: Scratch | None = None,
    ) -> None:
        self.scratch = scratch
        self.stack, self.rule, self.order, self.segment = stack, rule, order, control.segment
        self.keeps = not control.tone and not control.degradations  # what one image alone shows stays as it is
        channels = 3 if self.segment else stack.stored_channels
        self.pixels = np.empty((stack.height, stack.width, channels), stack.depth)
        self.weights: np.ndarray | None = None
        self.explained: dict[str, Tensor] = {}
        self.likely: dict[str, Tensor] = {}

    def write(self, window: Window, maps: Mapping[str, Tensor]) -> None:
        """Puts the maps of one window, (..., h, w) or numbers, in their places."""
        for name, value in maps.items():
            if name == "fused":
                continue
            if name == "weights":
                self._write_weights(window, value)
            elif name.startswith("class "):
                self._write_map(self.likely, name.removeprefix("class "), window, value)
            else:
                self._write_map(self.explained, name, window, value)
        fused = maps["fused"].float().cpu()
        plain = not self.segment and (not self.keeps or self.stack.is_opaque)
        if plain and planes.write(fused, self.stack, window, self.rule, self.pixels[window]):
            return
        if not torch.isfinite(fused).all():
            raise FusionError("the model gave no numbers (NaN or infinite); its weights or settings are damaged")
        image = planes.join(fused, self.stack, window, self.rule, bool(self.segment))
        image = self._keep_single(image, window) if self.keeps else image
        classes = overlay.assign_classes({name: m[window] for name, m in self.likely.items()})
        self.pixels[window] = self.stack.quantise(overlay.paint_classes(image, classes, self.segment))

    def _keep_single(self, image: Tensor, window: Window) -> Tensor:
        """The image (C, h, w) with the pixels of the only frame that is not transparent, where there is but one."""
        alone = self.stack.alone(window)
        if not bool(alone.any()):
            return image
        own = self.stack.read(window).mean(0).expand(len(image), -1, -1)
        return torch.lerp(image, own, alone)

    def _write_weights(self, window: Window, shares: Tensor) -> None:
        if self.weights is None:
            shape = (self.stack.n, self.stack.height, self.stack.width)
            self.weights = np.empty(shape, np.uint8) if self.scratch is None else self.scratch.empty(shape, np.uint8)
        values = (shares.clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy()
        for place, plane in zip(self.order, values, strict=True):
            self.weights[(place, *window)] = plane
            release(self.weights)

    def _write_map(self, whole: dict[str, Tensor], name: str, window: Window, value: Tensor) -> None:
        if value.ndim == 0:
            whole[name] = value.float().cpu()
            return
        if name not in whole:
            whole[name] = torch.zeros(self.stack.height, self.stack.width)
        whole[name][window] = value.float().cpu()

    def masks(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """Class -> (H, W) uint8, 255 where it is; and a note for each class that is nowhere."""
        classes = overlay.assign_classes(self.likely)
        masks = {name: mask.numpy().astype(np.uint8) * 255 for name, mask in classes.items()}
        return masks, [f"no {name} is found" for name, mask in masks.items() if not mask.any()]

    def shares(self, masks: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
        """Class -> colour and share of the pixels, for the report; None where there are no masks."""
        colours = overlay.colours_of(self.segment)
        shares = {n: {"colour": colours[n], "share": round(float(m.mean()) / 255, 6)} for n, m in masks.items()}
        return shares or None
