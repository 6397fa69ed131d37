"""One set of images through a model: what `anyfuse fuse` does with files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..align.settings import NO_ALIGNMENT, Align
from ..control import Control
from ..errors import FusionError
from ..fuser import Fuser
from ..language.instruction import read_say
from ..models.base import FusionModel
from ..result import NO_WEIGHTS, FusionResult, Outputs, check_report, mask_paths, weight_paths, write_json
from .align import aligned_paths, check_files, write_files
from .choices import Choices, file_notes, volume_notes
from .extras import NONE, Extras
from .slow_bar import SlowBar
from .volumes import fuse_volume, is_volume


def fuse_files(
    inputs: Sequence[str],
    output: str,
    choices: Choices,
    *,
    plan: bool = False,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
    ghost_mask: str | None = None,
    extras: Extras = NONE,
    notes: Sequence[str] = (),
) -> None:
    """Fuses images into one image file; raises FusionError before the work where a file could not be written.

    Args:
        inputs: image files of one scene.
        output: image file.
        choices: the options.
        plan: prints what would be fused, and does nothing.
        weights_out: folder of the weight maps.
        report: JSON file.
        explain: folder of the explanation.
        mask_out: file of the mask, or of several.
        ghost_mask: PNG file of where something moved.
        extras: depth, contact sheet, preview.
        notes: what the choice of the images had to decide, for the report and the terminal.

    Raises:
        FusionError: an option or a file that is wrong, or a set that fails.
    """
    if plan:
        print(f"{output}: {' + '.join(inputs)}{' (already there)' if os.path.exists(output) else ''}")
        return
    if ghost_mask is not None and choices.deghost == "off":
        raise FusionError("--ghost-mask needs --deghost auto or on; leave one of them out")
    outputs = Outputs(output, weights_out, explain, mask_out, ghost_mask, choices.overwrite, choices.quality or 95)
    if report is not None:
        check_report(report, output, inputs, choices.overwrite)
    outputs.check(inputs, read_say(choices.say))
    check_files(choices.align, inputs, choices.overwrite)
    extras.check(inputs, choices.overwrite)
    check_distinct(outputs, choices.align, report, inputs, read_say(choices.say), extras)
    fuser = choices.load()
    check_maps(fuser, choices, explain, mask_out, weights_out)
    if is_volume(inputs, output):
        if extras.any:
            raise FusionError("a volume is fused without --depth-out, --contact-sheet and --preview; leave them out")
        aligned = choices.align.save_transforms or choices.align.aligned_out
        if weights_out or explain or mask_out or ghost_mask or aligned:
            maps = "--weights-out, --explain, --mask-out, --ghost-mask, --save-transforms and --aligned-out"
            raise FusionError(f"a volume is fused without {maps}; leave them out")
        slices = replace(choices, align=NO_ALIGNMENT, deghost="off")
        done = fuse_volume(lambda images: run_set(fuser, images, slices), inputs, output, overwrite=choices.overwrite)
        done["warnings"] += volume_notes(choices)
    else:
        with SlowBar(choices.quiet) as bar:
            fuser.progress = bar
            done = fuse_set(fuser, inputs, outputs, choices, extras, report)
    done["warnings"] += [*notes, *file_notes([output], choices)]
    for warning in done["warnings"]:
        print(f"anyfuse: note: {warning}", file=sys.stderr)
    if report is not None:
        write_json(report, done, inputs, overwrite=choices.overwrite or extras.any)  # with extras it is there already
    if not choices.quiet:
        print_summary(done, len(done["inputs"]), choices)


def fuse_set(
    fuser: Fuser,
    inputs: Sequence[str],
    outputs: Outputs,
    choices: Choices,
    extras: Extras = NONE,
    early: str | None = None,
) -> dict[str, Any]:
    """Reads, fuses and writes one set of images; returns its report. early: a file that gets the report before the
    extras are made, so that it is there if one of them fails.
    """
    start = time.perf_counter()
    weights = extras.needs_weights(fuser) or outputs.weights is not None
    result = run_set(fuser, inputs, choices, weights=weights, explain=outputs.explain is not None)
    report = outputs.write(result)
    if report.get("aligned"):
        frames = result.stack.frames if result.aligned is None else result.aligned
        write_files(frames, report["aligned"], choices.align, inputs, choices.overwrite)
    elif choices.align.save_transforms is not None or choices.align.aligned_out is not None:
        report["warnings"].append("one image alone is not aligned: no --save-transforms, no --aligned-out")
    if early is not None and extras.any:
        write_json(early, report, inputs, overwrite=choices.overwrite)
    report |= extras.write(result, choices.overwrite)
    return report | {"seconds_with_files": round(time.perf_counter() - start, 4)}


def run_set(
    fuser: Fuser, inputs: Sequence[str], choices: Choices, *, weights: bool = False, explain: bool = False
) -> FusionResult:
    """Reads and fuses one set of images."""
    return fuser.run(
        inputs,
        reference=choices.reference,
        resize=choices.resize,
        white=choices.white,
        black=choices.black,
        range=choices.range,
        pages=choices.pages,
        pseudocolour=choices.pseudocolour,
        with_weights=weights,
        keep_order=choices.keep_order,
        explain=explain,
        say=choices.say,
        masks=choices.masks or None,
        align=choices.align,
        deghost=choices.deghost,
        deghost_reference=choices.deghost_reference,
        infrared=choices.infrared,
    )


def check_distinct(
    outputs: Outputs,
    align: Align,
    report: str | None,
    inputs: Sequence[str],
    control: Control,
    extras: Extras = NONE,
) -> None:
    """Raises FusionError, before any work is done, where two options would write one file."""
    files = {"-o": [outputs.image]}
    files |= {option: [path] for option, path in (("--report", report), ("--ghost-mask", outputs.ghost_mask)) if path}
    files |= {"--save-transforms": [align.save_transforms]} if align.save_transforms else {}
    files |= {"--explain": [str(Path(outputs.explain) / "explain.json")]} if outputs.explain else {}
    files |= {"--mask-out": list(map(str, mask_paths(outputs.masks, list(control.segment))))} if outputs.masks else {}
    if outputs.weights:
        files["--weights-out"] = list(map(str, weight_paths(outputs.weights, inputs)))
    if align.aligned_out:
        files["--aligned-out"] = list(map(str, aligned_paths(align.aligned_out, [(name, False) for name in inputs])))
    files |= extras.files
    taken: dict[str, str] = {}
    for option, paths in files.items():
        for path in paths:
            other = taken.setdefault(os.path.realpath(path), option)
            if other != option:
                raise FusionError(f"{option} and {other} would both write {path}; give another name or folder to one")


def check_maps(
    fuser: Fuser, choices: Choices, explain: str | None, mask_out: str | None, weights_out: str | None = None
) -> None:
    """Raises FusionError where the model has no such maps."""
    if weights_out is not None and type(fuser.model).weights is FusionModel.weights:
        raise FusionError(NO_WEIGHTS.format(fuser.name))
    if explain is not None:
        fuser.check_explains(choices.say or "")
    if mask_out is not None:
        fuser.check_masks(choices.say)


def print_summary(report: dict[str, Any], count: int, choices: Choices) -> None:
    """What was understood, assumed and written, on stdout."""
    if choices.say:
        print(f"understood: {report['understood']}")
    for one in report.get("assumed", {}).get("faults", ()):
        sure = f"{one['probability']:.2f} sure, strength {one['strength']:.2f}"
        print(f"assumed: {one['fault']} in {one['image']} ({sure})")
    images = "1 image" if count == 1 else f"{count} images"
    size = f"{report['width']}x{report['height']}, {report['depth']}"
    seconds = report.get("seconds_with_files", report["seconds"])
    print(f"{report['output']}: {images}, {size}, {seconds:.2f} s with {report['model']}")
