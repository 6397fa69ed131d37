"""What `anyfuse fuse` was given: one set of images, a folder that is a stack, or folders of many sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import FusionError
from ..io.groups import Pairing
from ..io.names import suffix_of
from ..io.pages import split_name
from ..io.read import is_series
from .choices import Choices
from .extras import NONE, Extras
from .files import fuse_files
from .folders import folder_stack, fuse_folders


def fuse_inputs(
    inputs: Sequence[str],
    output: str,
    choices: Choices,
    pairing: Pairing,
    *,
    plan: bool = False,
    ghost_mask: str | None = None,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
    extras: Extras = NONE,
) -> int:
    """Fuses images into one image, or folders into a folder.

    Args:
        inputs: images of one scene, or folders; none where `pairing` has a table.
        output: image file, or folder.
        choices: the options.
        pairing: how files of folders are put together.
        plan: prints what would be fused with what, and does nothing.
        ghost_mask: PNG file of where something moved; for one set.
        weights_out: folder of the weight maps.
        report: JSON file.
        explain: folder of the explanations.
        mask_out: file of the masks, or folder for folders.
        extras: depth, contact sheet, preview; for one set.

    Returns:
        How many sets failed.

    Raises:
        FusionError: inputs that are absent or of both kinds, options that do not belong to them, or a set that fails.
    """
    if not inputs and pairing.table is None:
        raise FusionError("give two or more images, a folder, or --list TABLE.csv; see --help")
    files = [split_name(path)[0] for path in inputs]
    are_folders = check_kinds(inputs, files)
    maps = {"weights_out": weights_out, "report": report, "explain": explain, "mask_out": mask_out}
    notes: list[str] = []
    if are_folders and len(inputs) == 1 and not pairing.chosen and is_image_name(output):
        places = {"--weights-out": weights_out, "--explain": explain, "--aligned-out": choices.align.aligned_out}
        inputs, notes = folder_stack(inputs[0], places)
        are_folders, files = False, list(inputs)
    many = choices.pages is not None or len(inputs) == 1 or files != list(inputs)  # the reference may be a page of one
    check_references(choices, 0 if pairing.chosen or many else len(inputs))
    if pairing.table is not None or are_folders:
        if ghost_mask is not None:
            raise FusionError("--ghost-mask is for one set of images; leave it out")
        if extras.any:
            raise FusionError("--depth-out, --contact-sheet and --preview are for one set of images; leave them out")
        return fuse_folders(inputs, output, choices, pairing=pairing, plan=plan, **maps)
    if pairing.chosen:
        raise FusionError("--group and --pairs are for folders, and images are given; leave them out")
    fuse_files(inputs, output, choices, plan=plan, ghost_mask=ghost_mask, extras=extras, notes=notes, **maps)
    return 0


def check_kinds(inputs: Sequence[str], files: Sequence[str]) -> bool:
    """Whether the inputs, whose files are given too, are folders.

    Raises FusionError where one is absent, or where some are folders and some are not.
    """
    for path in files:
        if not os.path.exists(path):
            raise FusionError(f"{path}: no such file or folder; check the path")
    folders = [Path(path).is_dir() and not is_series(path) for path in files]
    if any(folders) and not all(folders):
        folder, file = inputs[folders.index(True)], inputs[folders.index(False)]
        raise FusionError(f"{folder} is a folder and {file} is not; give images only or folders only")
    return all(folders)


def check_references(choices: Choices, count: int) -> None:
    """Raises FusionError where a reference is none of `count` inputs; 0: their number is not known yet."""
    reference, shown = choices.reference + 1, choices.deghost_reference
    if reference < 1:
        raise FusionError(f"--reference {reference}: inputs are counted from 1")
    if count and reference > count:
        raise FusionError(f"--reference {reference} is not one of the {count} inputs; count from 1")
    if choices.infrared is not None and count and choices.infrared + 1 > count:
        raise FusionError(f"--infrared {choices.infrared + 1} is not one of the {count} inputs; count from 1")
    if shown is not None and count and shown + 1 > count:
        raise FusionError(f"--deghost-reference {shown + 1} is not one of the {count} inputs")


def is_image_name(output: str) -> bool:
    """Whether a name is of an image to write, and no folder's."""
    from ..io.write import MORE_WRITES, WRITES

    suffix = suffix_of(output).lower()
    return (suffix in {*WRITES, *MORE_WRITES, ".nii.gz"} or suffix.startswith(".ome.")) and not Path(output).is_dir()
