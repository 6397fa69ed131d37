"""What else one set gives beside its image: depth of a focus stack, a contact sheet, a picture in the terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FusionError
from ..fuser import Fuser
from ..io.atomic import Inputs, one_line, target_of, write_whole
from ..models.base import FusionModel
from ..result import NO_WEIGHTS, FusionResult
from . import preview as terminal
from .depth import check_depth, depth_of_result, write_depth
from .sheet import check_sheet, contact_sheet, to_eight_bits

SURE = 0.2
"""From here on a pixel counts as one whose depth is known, in the report."""


@dataclass(frozen=True)
class Extras:
    """The options. depth_step: pixels between two frames, of surfaces; None: a depth that looks right."""

    depth: tuple[str, ...] = ()  # files of the depth
    depth_step: float | None = None
    sheet: str | None = None  # file of the contact sheet
    preview: bool = False  # show the result in the terminal

    @property
    def any(self) -> bool:
        """Whether something is to be done."""
        return bool(self.depth or self.sheet or self.preview)

    @property
    def files(self) -> dict[str, list[str]]:
        """What is written, by option."""
        sheet = {"--contact-sheet": [self.sheet]} if self.sheet is not None else {}
        return ({"--depth-out": list(self.depth)} if self.depth else {}) | sheet

    def check(self, inputs: Sequence[str], overwrite: bool) -> None:
        """Raises FusionError, before any work is done, where a file cannot be written."""
        check_depth(self.depth)
        if self.depth_step is not None and not self.depth_step > 0:
            raise FusionError(f"--depth-step {self.depth_step:g}: give more than 0 pixels")
        if self.depth_step is not None and not any(path.lower().endswith(".ply") for path in self.depth):
            raise FusionError("--depth-step is for surfaces: give --depth-out NAME.ply too, or leave it out")
        if self.sheet is not None:
            check_sheet(self.sheet)
        if len(set(map(os.path.realpath, self.depth))) < len(self.depth):
            raise FusionError(f"--depth-out {', '.join(self.depth)}: one file is given twice; leave one out")
        for paths in self.files.values():
            for path in paths:
                target_of(path, overwrite, inputs)

    def needs_weights(self, fuser: Fuser) -> bool:
        """Whether the run has to keep weights; FusionError where depth needs them and the model has none."""
        has = type(fuser.model).weights is not FusionModel.weights
        if self.depth and not has:
            raise FusionError(NO_WEIGHTS.format(fuser.name).replace("--weights-out", "--depth-out"))
        return has and bool(self.depth or self.sheet)

    def write(self, result: FusionResult, overwrite: bool) -> dict[str, Any]:
        """Writes the files and shows the picture; returns entries for the report."""
        done: dict[str, Any] = {}
        spare = Inputs(result.files)
        if self.depth:
            depth = depth_of_result(result)
            for path in self.depth:
                write_depth(path, depth, result.pixels, self.depth_step, overwrite=overwrite, inputs=spare)
            done["depth_map"] = {
                "files": list(self.depth),
                "frames": depth.count,
                "sure": round(float((depth.sure > SURE).mean()), 4),
            }
        if self.sheet is not None:
            buffer = io.BytesIO()
            kinds = {".png": "PNG", ".webp": "WEBP"}
            sheet = contact_sheet(result)
            try:
                sheet.save(buffer, kinds.get(Path(self.sheet).suffix.lower(), "JPEG"), quality=92)
            except (OSError, ValueError) as error:
                size = f"a sheet of {sheet.width}x{sheet.height}"
                raise FusionError(f"{self.sheet}: {size} cannot be saved ({one_line(error)}); try .png") from None
            write_whole(self.sheet, [buffer.getvalue()], overwrite=overwrite, inputs=spare)
            done["contact_sheet"] = self.sheet
        if self.preview:
            show(result)
        return done


def show(result: FusionResult) -> None:
    """The result in the terminal, or a line on stderr that says why not."""
    how = terminal.protocol() if sys.stdout.isatty() else ""
    if not how:
        print("anyfuse: note: --preview: this terminal does not say that it shows pictures", file=sys.stderr)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(terminal.encode(Image.fromarray(to_eight_bits(result.pixels)), how))
    sys.stdout.buffer.flush()


NONE = Extras()
