from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .control import CLASSES
from .errors import FusionError
from .image.stack import Stack
from .io.atomic import target_of, write_whole
from .io.write import writable, write_image

NO_CLASS = f"--mask-out needs a class to be shown, as --say 'highlight the cars'; known are {', '.join(CLASSES)}"


@dataclass
class Result:
    """What `Fuser.run` gives: the stack that was read, the fused pixels and the report."""

    stack: Stack
    fused: Fused
    report: dict[str, Any]

    def save(self, path: str | Path, *, overwrite: bool = False, quality: int = 95) -> list[str]:
        """Writes the image with the reference's metadata and alpha; returns warnings (also put into the report)."""
        stack, frame = self.stack, self.stack.frames[self.stack.reference]
        warnings = write_image(
            path, self.fused.pixels, alpha=stack.alpha, exif=frame.exif, icc=stack.icc, dpi=frame.dpi,
            white=stack.white, quality=quality, overwrite=overwrite, inputs=[f.name for f in stack.frames],
        )  # fmt: skip
        self.report["warnings"] += warnings
        self.report["output"] = str(path)
        return warnings

    def save_weights(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """One grey PNG per input in `folder`, named after it: white where that input makes up the whole result."""
        if self.fused.weights is None:
            raise FusionError(
                f"model {self.report['model']} has no weights per image; use --model anyfuse for --weights-out"
            )
        names = [f.name for f in self.stack.frames]
        paths = weight_paths(folder, names)
        for path, weights in zip(paths, self.fused.weights, strict=True):
            write_image(path, weights, overwrite=overwrite, inputs=names)
        return paths

    def save_masks(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """The classes that were to be shown, as 8-bit grey PNGs of the result's size, 255 where they are: `path`, or for several classes
        NAME-CLASS.png beside it."""
        if not self.fused.masks:
            raise FusionError(NO_CLASS)
        names = [f.name for f in self.stack.frames]
        paths = mask_paths(path, list(self.fused.masks))
        for target, mask in zip(paths, self.fused.masks.values(), strict=True):
            write_image(target, mask, overwrite=overwrite, inputs=names)
        return paths

    def save_explanation(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """explain.json with every number, and a grey PNG per map, stretched from its smallest to its largest value (both in the JSON)."""
        if not self.fused.explained:
            raise FusionError(
                "this result has no explanation: run(..., explain=True), with a model that explains, as tita-small"
            )
        names = [f.name for f in self.stack.frames]
        content: dict[str, Any] = {"model": self.report["model"], "order": self.report.get("order", names)}
        content |= {"numbers": {}, "maps": {}}
        paths = []
        for name, value in self.fused.explained.items():
            if value.ndim == 0:
                content["numbers"][name] = float(value)
                continue
            low, high = float(value.min()), float(value.max())
            path = Path(folder) / f"{name.replace(' ', '-')}.png"
            levels = (value - low) / max(high - low, 1e-12) * 255
            write_image(path, levels.round().to(torch.uint8).numpy(), overwrite=overwrite, inputs=names)
            content["maps"][name] = {"file": path.name, "min": low, "mean": float(value.mean()), "max": high}
            paths.append(path)
        target = Path(folder) / "explain.json"
        write_whole(target, [(json.dumps(content, indent=1) + "\n").encode()], overwrite=overwrite, inputs=names)
        return [target, *paths]


def weight_paths(folder: str | Path, names: Sequence[str]) -> list[Path]:
    """Where the weight maps of the inputs `names` go: FOLDER/01-STEM.png ..."""
    stems = (re.sub(r"[^\w.-]+", "_", Path(name).stem) for name in names)
    return [Path(folder) / f"{index:02d}-{stem}.png" for index, stem in enumerate(stems, 1)]


def mask_paths(path: str | Path, classes: Sequence[str]) -> list[Path]:
    """Where masks go: one class to `path`, several to NAME-CLASS.png each. Raises FusionError for a name that is not of a PNG."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FusionError(f"--mask-out {path}: give a name that ends in .png, or for folders a folder")
    return [path] if len(classes) == 1 else [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in classes]


def check_output(path: str | Path, overwrite: bool, inputs: Sequence[Any] = ()) -> None:
    """Raises FusionError, before any work is done, where an image could not be written to `path`."""
    if not str(path):
        raise FusionError("the name of the output is empty; name the image file to write")
    if not os.path.isdir(path):
        writable(path)
    target_of(os.fspath(path), overwrite, [i for i in inputs if isinstance(i, str | os.PathLike)])


@dataclass
class Fused:
    """pixels (H, W, C) in the stack's depth; weights (N, H, W) uint8 where asked for; report: plain values, for JSON.

    explained: scalars and maps (H, W) by name, where asked for and the model has them. masks: class -> (H, W) uint8, 255 where it is, of the
    classes to be shown.
    """

    pixels: np.ndarray
    weights: np.ndarray | None = None
    explained: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
