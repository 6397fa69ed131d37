"""Presets of `anyfuse fuse` for people: names, alignment and output that fit. The model is never told which it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..align.settings import Align
from ..errors import FusionError
from ..io.folders import list_files
from ..io.groups import Pairing
from ..io.names import stem_of
from ..io.names import suffix_of as own_suffix
from ..io.pseudocolour import named_tracers
from ..io.read import is_series
from .choices import Choices, suffix_of
from .extras import NONE, Extras
from .inputs import fuse_inputs

VOLUMES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Preset:
    """What one preset stands for."""

    ending: str  # of the output's name
    align: str  # mode of alignment
    deghost: str  # auto or off
    reference: int  # which input gives size, metadata and the output's name
    pair: bool  # two inputs, each an image or a folder; else one folder, or the images of one set


PRESETS = {
    "stack": Preset("stacked", "auto", "auto", 0, False),  # not local, which may move what lies right already
    "hdr": Preset("hdr", "auto", "auto", 0, False),
    "thermal": Preset("thermal", "auto", "auto", 1, True),  # the photograph is larger, and has the metadata
    "medical": Preset("fused", "none", "off", 0, True),  # slices lie as the scanners say; organs do not walk
}


def fuse_preset(
    name: str,
    inputs: Sequence[str],
    output: str | None,
    *,
    align: str | None = None,
    deghost: str | None = None,
    group: str | None = None,
    report: str | None = None,
    pseudocolour: str | None = None,
    plan: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    extras: Extras = NONE,
) -> int:
    """Fuses with the options of a preset.

    Args:
        name: of PRESETS.
        inputs: as the preset wants them.
        output: image or folder to write; None: beside the input, named after it.
        align: mode of alignment in place of the preset's.
        deghost: auto, on or off, in place of the preset's.
        group: a folder holds many sets, as `Pairing.group` says.
        report: JSON file.
        pseudocolour: palettes of grey images; None: two scans of which one is named PET or SPECT take it as that.
        plan: prints what would be fused, and does nothing.
        overwrite: replaces files.
        quiet: prints nothing but errors.
        extras: depth, contact sheet, preview; for one set.

    Returns:
        How many sets failed.

    Raises:
        FusionError: as `fuse_inputs`.
    """
    preset = PRESETS[name]
    if preset.pair and len(inputs) != 2:
        raise FusionError(f"anyfuse {name} takes two images or two folders, and got {len(inputs)}; see --help")
    output = default_output(preset, inputs, group is not None) if output is None else output
    choices = Choices(
        reference=preset.reference,
        align=Align(preset.align if align is None else align),
        deghost=preset.deghost if deghost is None else deghost,
        pseudocolour=tracers(inputs) if pseudocolour is None and name == "medical" else pseudocolour,
        overwrite=overwrite,
        quiet=quiet,
    )
    return fuse_inputs(inputs, output, choices, Pairing(group), plan=plan, report=report, extras=extras)


def tracers(inputs: Sequence[str]) -> str:
    """`--pseudocolour` of two scans by their names."""
    return ",".join("tracer" if named else "auto" for named in named_tracers(inputs))


def default_output(preset: Preset, inputs: Sequence[str], grouped: bool) -> str:
    """The image or folder beside the input that gives the result its name.

    Raises FusionError where there is no such input.
    """
    first = inputs[min(preset.reference, len(inputs) - 1)]
    if not os.path.exists(first):
        raise FusionError(f"{first}: no such file or folder; check the path")
    place = Path(os.path.abspath(first))
    if place.is_dir() and not is_series(place):
        files = [] if preset.pair or grouped else list_files(first)
        suffix = suffix_of(files[0], None) if files else ""
        return str(place.with_name(f"{place.name}-{preset.ending}{suffix}"))
    kind = ".nii.gz" if place.is_dir() else own_suffix(place).lower()
    suffix = kind if kind in VOLUMES else suffix_of(place, None)
    stem = place.name if place.is_dir() else stem_of(place)
    return str(place.with_name(f"{stem}-{preset.ending}{suffix}"))
