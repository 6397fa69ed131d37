"""Files and folders through a model: what `anyfuse fuse` does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ..align.stage import NO_ALIGNMENT, Align
from ..api import Fuser
from ..errors import FusionError
from ..io.atomic import one_line
from ..io.folders import pair_by_stem
from ..io.write import WRITES
from ..language.instruction import read_say
from ..result import FusionResult, Outputs, check_report, write_json
from .progress import progress_bar
from .volumes import fuse_volume, is_volume


@dataclass(frozen=True)
class Choices:
    """The options of one call, as the command line has them. reference counts from 0."""

    model: str = "anyfuse"  # name, folder or hub id
    device: str = "auto"  # auto, cpu or cuda
    dtype: str = "auto"  # of the network: auto, float32, bfloat16 or float16
    max_memory: str | None = None  # of the process, as '2G'
    reference: int = 0  # which input gives size, metadata and alpha
    resize: bool = False  # bring all images to the size of the reference
    white: str | float | None = None  # white level of 16-bit and float images: one, or one for each
    quality: int = 95  # of JPEG and WebP
    overwrite: bool = False  # replace files
    quiet: bool = False  # print nothing but errors
    jobs: int = 1  # sets at a time
    suffix: str | None = None  # of results in folders: png, tif, jpg or webp; None: the reference's
    keep_order: bool = False  # do not sort inputs by role
    say: str | None = None  # instruction
    masks: tuple[str, ...] = ()  # which pixels of each input count; empty: all
    align: Align = NO_ALIGNMENT  # what lays the images over the reference
    black: str | float | None = None  # black level of 16-bit and float images
    range: str | None = None  # auto, none or percentiles as 'p1,p99'
    pages: str | None = None  # of each file, as '3:40'

    def load(self) -> Fuser:
        """The model with its device, and the options of a run."""
        return Fuser(self.model, device=self.device, dtype=self.dtype, max_memory=self.max_memory)


@dataclass(frozen=True)
class FusionSet:
    """One set of images of a folder run. name: the stem that they share."""

    name: str
    inputs: tuple[Path, ...]  # files, one of each folder
    outputs: Outputs  # files to write


@dataclass
class Tally:
    """How a folder run went: reports of what was fused, failures by name, how many results were there already."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    skipped: int = 0  # results that were there


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
    """Fuses images into one image file; raises FusionError before the work where a file could not be written."""
    outputs = Outputs(output, weights_out, explain, mask_out, choices.overwrite, choices.quality)
    if report is not None:
        check_report(report, output, inputs, choices.overwrite)
    outputs.check(inputs, read_say(choices.say))
    fuser = choices.load()
    check_maps(fuser, choices, explain, mask_out)
    if is_volume(inputs, output):
        if weights_out or explain or mask_out:
            raise FusionError("a volume is fused without --weights-out, --explain and --mask-out; leave them out")
        done = fuse_volume(lambda images: run_set(fuser, images, choices), inputs, output, overwrite=choices.overwrite)
    else:
        done = fuse_set(fuser, inputs, outputs, choices)
    for warning in done["warnings"]:
        print(f"anyfuse: note: {warning}", file=sys.stderr)
    if report is not None:
        write_json(report, done, inputs)
    if not choices.quiet:
        print_summary(done, len(done["inputs"]), choices)


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
    """Fuses folders, paired by stem, into a folder. Returns how many sets failed; each failure is a line on stderr."""
    complete, partial = pair_folders(folders, output, single=bool(read_say(choices.say).segment))
    files = [path for paths in complete.values() for path in paths]
    if report is not None:
        check_report(report, output, files, True)  # a second run reports anew
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"{output}: cannot be made ({error.strerror}); choose another folder") from None
    fuser = choices.load()
    check_maps(fuser, choices, explain, mask_out)
    if mask_out is not None:
        check_mask_folder(mask_out, output, folders)
    tally = Tally(failures={stem: f"not in {', '.join(map(str, lacking))}" for stem, lacking in partial.items()})
    sets = plan_sets(complete, output, choices, weights_out, explain, mask_out)
    todo = [one for one in sets if choices.overwrite or not Path(one.outputs.image).exists()]
    tally.skipped = len(sets) - len(todo)
    start = time.perf_counter()
    with progress_bar(choices.quiet) as bar, divided_threads(choices.jobs):
        fuse_sets(fuser, todo, choices, tally, bar)
    seconds = time.perf_counter() - start
    count = {"fused": len(tally.reports), "skipped": tally.skipped}
    if report is not None:
        summary = {**count, "failed": tally.failures, "seconds": round(seconds, 3), "sets": tally.reports}
        write_json(report, summary, files)
    if not choices.quiet:
        print(
            f"{output}: {count['fused']} fused, {tally.skipped} already there, {len(tally.failures)} failed, "
            f"{seconds:.1f} s"
        )
    return len(tally.failures)


def pair_folders(
    folders: Sequence[str], output: str, single: bool
) -> tuple[dict[str, tuple[Path, ...]], dict[str, list[Path]]]:
    """Sets by stem, and the stems that some folder lacks, which are said on stderr.

    single: one folder is enough. Raises FusionError for folders that make no sets.
    """
    if len(folders) < 2 and not single:
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
    return complete, partial


def plan_sets(
    complete: dict[str, tuple[Path, ...]],
    output: str,
    choices: Choices,
    weights_out: str | None,
    explain: str | None,
    mask_out: str | None,
) -> list[FusionSet]:
    """Every set with the names of its files. Maps are overwritten: those of a set without an image were cut off."""

    def below(folder: str | None, name: str) -> str | None:
        return None if folder is None else str(Path(folder) / name)

    sets = []
    for stem, paths in complete.items():
        image = Path(output) / f"{stem}{suffix_of(paths[choices.reference], choices.suffix)}"
        maps = below(weights_out, stem), below(explain, stem), below(mask_out, f"{stem}.png")
        sets.append(FusionSet(stem, paths, Outputs(str(image), *maps, overwrite=True, quality=choices.quality)))
    return sets


def fuse_sets(fuser: Fuser, sets: Iterable[FusionSet], choices: Choices, tally: Tally, bar: Progress) -> None:
    """Fuses the sets, `choices.jobs` at a time; a set that fails is noted and never stops the others."""
    todo = list(sets)
    task = bar.add_task("fusing", total=len(todo))

    def say(line: str) -> None:
        bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def work(one: FusionSet) -> dict[str, Any]:
        return fuse_set(fuser, [str(p) for p in one.inputs], one.outputs, choices)

    for one, future in in_parallel(work, todo, choices.jobs):
        try:
            tally.reports.append(future.result())
            for warning in tally.reports[-1]["warnings"]:
                say(f"anyfuse: note: {warning}")
        except FusionError as error:
            tally.failures[one.name] = str(error)
            say(one_line(f"anyfuse: {one.name}: {error}"))
        bar.advance(task)


def in_parallel(
    work: Callable[[FusionSet], dict[str, Any]], sets: Iterable[FusionSet], jobs: int
) -> Iterator[tuple[FusionSet, Future[dict[str, Any]]]]:
    """Runs `work` on the sets in threads; yields each when it ends. At most `jobs` run at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting: dict[Future[dict[str, Any]], FusionSet] = {}
        rest = iter(sets)
        while True:
            for one in rest:
                waiting[pool.submit(work, one)] = one
                if len(waiting) >= jobs:
                    break
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future


@contextmanager
def divided_threads(jobs: int) -> Iterator[None]:
    """Shares torch's threads among jobs while they run."""
    threads = torch.get_num_threads()
    if jobs > 1:
        torch.set_num_threads(max(1, threads // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fuse_set(fuser: Fuser, inputs: Sequence[str], outputs: Outputs, choices: Choices) -> dict[str, Any]:
    """Reads, fuses and writes one set of images; returns its report."""
    start = time.perf_counter()
    result = run_set(fuser, inputs, choices, weights=outputs.weights is not None, explain=outputs.explain is not None)
    report = outputs.write(result)
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
        with_weights=weights,
        keep_order=choices.keep_order,
        explain=explain,
        say=choices.say,
        masks=choices.masks or None,
        align=choices.align,
    )


def check_maps(fuser: Fuser, choices: Choices, explain: str | None, mask_out: str | None) -> None:
    """Raises FusionError where the model has no such maps."""
    if explain is not None:
        fuser.check_explains(choices.say or "")
    if mask_out is not None:
        fuser.check_masks(choices.say)


def check_mask_folder(folder: str, output: str, inputs: Sequence[str]) -> None:
    """Raises FusionError where masks cannot go to `folder`."""
    if os.path.lexists(folder) and not Path(folder).is_dir():
        raise FusionError(f"{folder}: is a file; name a folder for the masks")
    if os.path.realpath(folder) in map(os.path.realpath, (output, *inputs)):
        raise FusionError(f"{folder}: holds images or results too; name another folder for the masks")


def suffix_of(reference: Path, wanted: str | None) -> str:
    """Suffix of a result: the requested one, or that of the reference's file."""
    suffix = reference.suffix.lower() if wanted is None else f".{wanted.lower().lstrip('.')}"
    if suffix not in WRITES:
        raise FusionError(f"--format {wanted}: give one of {', '.join(s.lstrip('.') for s in WRITES)}")
    return suffix


def print_summary(report: dict[str, Any], count: int, choices: Choices) -> None:
    """What was understood, assumed and written, on stdout."""
    if choices.say:
        print(f"understood: {report['understood']}")
    for one in report.get("assumed", {}).get("faults", ()):
        sure = f"{one['probability']:.2f} sure, strength {one['strength']:.2f}"
        print(f"assumed: {one['fault']} in {one['image']} ({sure})")
    images = "1 image" if count == 1 else f"{count} images"
    size = f"{report['width']}x{report['height']}, {report['depth']}"
    print(f"{report['output']}: {images}, {size}, {report['seconds']:.2f} s with {report['model']}")
