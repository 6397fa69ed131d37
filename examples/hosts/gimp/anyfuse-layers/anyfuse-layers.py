#!/usr/bin/env python3
"""GIMP 3: fuses the visible layers of an image into a new layer, by the command `anyfuse`.

Copy the folder anyfuse-layers into GIMP's folder plug-ins and make the file executable. `anyfuse` must be on the PATH,
or ANYFUSE names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    import gi

    gi.require_version("Gimp", "3.0")
    from gi.repository import Gimp, Gio, GLib
except (ImportError, ValueError):  # outside of GIMP, for tests
    Gimp = None

PROCEDURE = "plug-in-anyfuse-layers"


def fuse(files: Sequence[Path], result: Path) -> None:
    """Runs `anyfuse fuse`; raises RuntimeError with its one line where it fails. The size of the frame is kept."""
    program = os.environ.get("ANYFUSE") or shutil.which("anyfuse")
    if program is None:
        raise RuntimeError("the command anyfuse was not found; pip install anyfuse, or set ANYFUSE to its path")
    command = [program, "fuse", *map(str, files), "-o", str(result), "--keep-frame", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not result.exists():
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"anyfuse ended with {done.returncode}")


def export(image: object, layer: object, path: Path) -> None:
    """Writes one layer at its place on the canvas as PNG."""
    single = image.duplicate()
    wanted = layer.get_name()
    for one in single.get_layers():
        one.set_visible(one.get_name() == wanted)
    single.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
    Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, single, Gio.File.new_for_path(str(path)), None)
    single.delete()


def run(procedure: object, mode: object, image: object, drawables: object, config: object, data: object) -> object:
    """What the menu entry does."""
    layers = [layer for layer in image.get_layers() if layer.get_visible()]
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{k}.png" for k in range(len(layers))]
            for layer, path in zip(layers, files, strict=True):
                export(image, layer, path)
            result = Path(folder) / "fused.png"
            fuse(files, result)
            fused = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(result)))
        fused.set_name("fused")
        image.insert_layer(fused, None, 0)
    except RuntimeError as error:
        failed = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), str(error), 0)
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, failed)
    Gimp.displays_flush()
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)


if Gimp is not None:

    class Anyfuse(Gimp.PlugIn):
        """Filters > Combine > Fuse visible layers."""

        def do_query_procedures(self) -> list[str]:
            """Names of what it does."""
            return [PROCEDURE]

        def do_create_procedure(self, name: str) -> object:
            """The menu entry."""
            made = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
            made.set_image_types("RGB*, GRAY*")
            made.set_menu_label("_Fuse visible layers (anyfuse)")
            made.add_menu_path("<Image>/Filters/Combine")
            made.set_documentation("Fuses visible layers", "Exposures, focus planes, infrared and visible", name)
            made.set_attribution("anyfuse", "anyfuse", "2026")
            return made

    Gimp.main(Anyfuse.__gtype__, sys.argv)
