"""Files and folders through a model: what `anyfuse fuse` does."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..api import Fuser
from ..errors import FusionError
from ..io.atomic import one_line, target_of, write_whole
from ..io.folders import pair_by_stem
from ..io.write import WRITES
from ..language.instruction import parse_instruction
from ..result import Result, check_output, mask_paths, weight_paths
from .progress import _progress


@dataclass(frozen=True)
class Choices:
    """The options of one call, as the command line has them; reference counts from 0."""

    model: str = "anyfuse"
    device: str = "auto"
    dtype: str = "auto"
    max_memory: str | None = None
    reference: int = 0
    resize: bool = False
    white: float | None = None
    quality: int = 95
    overwrite: bool = False
    quiet: bool = False
    jobs: int = 1
    suffix: str | None = None
    keep_order: bool = False
    say: str | None = None


def fuse_files(
    inputs: Sequence[str],
    output: str,
    choices: Choices,
    *,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> None:
    """Images into one image file; raises FusionError before the work where the output could not be written."""
    check_output(output, choices.overwrite, inputs)
    if report is not None:
        check_report(report, output, inputs)
    if weights_out is not None:
        for path in weight_paths(weights_out, inputs):
            if os.path.realpath(path) == os.path.realpath(output):
                raise FusionError(f"{output}: is also the name of a weight map; give another --weights-out")
            target_of(str(path), choices.overwrite, inputs)
    fuser = Fuser(choices.model, device=choices.device, dtype=choices.dtype, max_memory=choices.max_memory)
    if explain is not None:
        fuser.check_explains()
        target_of(str(Path(explain) / "explain.json"), choices.overwrite, inputs)
    if mask_out is not None:
        for path in mask_paths(mask_out, fuser.check_masks(choices.say)):
            if os.path.realpath(path) == os.path.realpath(output):
                raise FusionError(f"{output}: is also the name of a mask; give another --mask-out")
            target_of(str(path), choices.overwrite, inputs)
    result = _run(fuser, inputs, output, choices, weights_out, explain, mask_out)
    for warning in result.report["warnings"]:
        print(f"anyfuse: note: {warning}", file=sys.stderr)
    if report is not None:
        write_json(report, result.report, inputs)
    if not choices.quiet:
        r = result.report
        if choices.say:
            print(f"understood: {r['understood']}")
        for one in r.get("assumed", {}).get("faults", ()):
            print(
                f"assumed: {one['fault']} in {one['image']} ({one['probability']:.2f} sure, strength {one['strength']:.2f})"
            )
        count = "1 image" if len(inputs) == 1 else f"{len(inputs)} images"
        print(f"{output}: {count}, {r['width']}x{r['height']}, {r['depth']}, {r['seconds']:.2f} s with {r['model']}")


def fuse_folders(
    folders: Sequence[str],
    output: str,
    choices: Choices,
    *,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> int:
    """Folders, paired by stem, into a folder. Returns how many sets failed; each failure is a line on stderr."""
    showing = bool(parse_instruction(choices.say or "").segment)
    if len(folders) < 2 and not showing:
        raise FusionError("give two or more folders; file k of each shows the same scene when the stems agree")
    if os.path.lexists(output) and not Path(output).is_dir():
        raise FusionError(f"{output}: is a file; name a folder for the results")
    for folder in folders:
        if Path(output).exists() and Path(output).samefile(folder):
            raise FusionError(f"{output}: is an input folder too; name another one for the results")
        if sum(Path(folder).samefile(f) for f in folders) > 1:
            raise FusionError(f"{folder}: is given twice; give each folder once")
    complete, partial = pair_by_stem(folders)
    for stem, lacking in partial.items():
        print(f"anyfuse: {stem}: skipped, not in {', '.join(map(str, lacking))}", file=sys.stderr)
    if not complete:
        raise FusionError(f"no file stem is in all of {', '.join(folders)}; stems must agree, as a/01.png and b/01.jpg")
    files = [path for paths in complete.values() for path in paths]
    if report is not None:
        check_report(report, output, files)
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"{output}: cannot be made ({error.strerror}); choose another folder") from None
    fuser = Fuser(choices.model, device=choices.device, dtype=choices.dtype, max_memory=choices.max_memory)
    if explain is not None:
        fuser.check_explains()
    if mask_out is not None:
        fuser.check_masks(choices.say)
        if os.path.lexists(mask_out) and not Path(mask_out).is_dir():
            raise FusionError(f"{mask_out}: is a file; name a folder for the masks")
        if os.path.realpath(mask_out) in map(os.path.realpath, (output, *folders)):
            raise FusionError(f"{mask_out}: holds images or results too; name another folder for the masks")
    todo: list[tuple[str, tuple[Path, ...], Path]] = []
    skipped = 0
    for stem, paths in complete.items():
        target = Path(output) / f"{stem}{_suffix(paths[choices.reference], choices.suffix)}"
        if target.exists() and not choices.overwrite:
            skipped += 1
        else:
            todo.append((stem, paths, target))
    failures: dict[str, str] = {stem: f"not in {', '.join(map(str, lacking))}" for stem, lacking in partial.items()}
    reports: list[dict[str, Any]] = []
    start = time.perf_counter()
    threads = torch.get_num_threads()
    if choices.jobs > 1:
        torch.set_num_threads(max(1, threads // choices.jobs))

    def one(job: tuple[str, tuple[Path, ...], Path]) -> dict[str, Any]:
        stem, paths, target = job
        shares = None if weights_out is None else str(Path(weights_out) / stem)
        # maps are written before the image, so those of a set without an image are left from a run that was cut off
        told = None if explain is None else str(Path(explain) / stem)
        masks = None if mask_out is None else str(Path(mask_out) / f"{stem}.png")
        again = replace(choices, overwrite=True)
        return _run(fuser, [str(p) for p in paths], str(target), again, shares, told, masks).report

    with _progress(choices.quiet) as bar, ThreadPoolExecutor(choices.jobs) as pool:
        task = bar.add_task("fusing", total=len(todo))
        waiting: dict[Future[dict[str, Any]], str] = {}
        rest = iter(todo)
        try:
            while True:
                for job in rest:
                    waiting[pool.submit(one, job)] = job[0]
                    if len(waiting) >= choices.jobs:
                        break
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    stem = waiting.pop(future)
                    try:
                        reports.append(future.result())
                        for warning in reports[-1]["warnings"]:
                            bar.console.print(
                                f"anyfuse: note: {warning}", markup=False, highlight=False, soft_wrap=True
                            )
                    except FusionError as error:
                        failures[stem] = str(error)
                        bar.console.print(
                            one_line(f"anyfuse: {stem}: {error}"), markup=False, highlight=False, soft_wrap=True
                        )
                    bar.advance(task)
        finally:
            torch.set_num_threads(threads)
    seconds = time.perf_counter() - start
    if report is not None:
        summary = {
            "fused": len(reports),
            "skipped": skipped,
            "failed": failures,
            "seconds": round(seconds, 3),
            "sets": reports,
        }
        write_json(report, summary, files)
    if not choices.quiet:
        print(f"{output}: {len(reports)} fused, {skipped} already there, {len(failures)} failed, {seconds:.1f} s")
    return len(failures)


def _run(
    fuser: Fuser,
    inputs: Sequence[str],
    output: str,
    choices: Choices,
    weights_out: str | None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> Result:
    """One set of images, read, fused and written."""
    start = time.perf_counter()
    result = fuser.run(
        inputs,
        reference=choices.reference,
        resize=choices.resize,
        white=choices.white,
        with_weights=weights_out is not None,
        keep_order=choices.keep_order,
        explain=explain is not None,
        say=choices.say,
    )
    if explain is not None:
        paths = result.save_explanation(explain, overwrite=choices.overwrite)
        result.report["explanation"] = [str(p) for p in paths]
    if weights_out is not None:
        result.report["weights"] = [str(p) for p in result.save_weights(weights_out, overwrite=choices.overwrite)]
    if mask_out is not None:
        result.report["masks"] = [str(p) for p in result.save_masks(mask_out, overwrite=choices.overwrite)]
    result.save(output, overwrite=choices.overwrite, quality=choices.quality)
    result.report["seconds_with_files"] = round(time.perf_counter() - start, 4)
    return result


def _suffix(reference: Path, wanted: str | None) -> str:
    """Suffix of a result: the one asked for, or that of the reference's file."""
    suffix = reference.suffix.lower() if wanted is None else f".{wanted.lower().lstrip('.')}"
    if suffix not in WRITES:
        raise FusionError(f"--format {wanted}: give one of {', '.join(s.lstrip('.') for s in WRITES)}")
    return suffix


def check_report(report: str, output: str, inputs: Iterable[str | Path]) -> None:
    """Raises FusionError, before any work is done, where `report` is no place for a report."""
    if not report.lower().endswith(".json"):
        raise FusionError(f"--report {report}: give a name that ends in .json")
    target = target_of(report, True, inputs)
    if os.path.realpath(output) == str(target):
        raise FusionError(f"--report {report}: is the output itself; give another name")


def write_json(path: str, value: Any, inputs: Iterable[str | Path]) -> None:
    """The file whole or not at all, never over an input."""
    write_whole(path, [(json.dumps(value, indent=1) + "\n").encode()], overwrite=True, inputs=inputs)
