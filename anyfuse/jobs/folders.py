"""Files and folders through a model: what `anyfuse fuse` does."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ..align.stage import AUTOMATIC, NO_ALIGNMENT, Align
from ..control import Control
from ..errors import FusionError, MemoryLimitError
from ..fuser import Fuser
from ..io.atomic import Inputs, check_folder, clean_temporaries, one_line, unforeseen
from ..io.folders import left_out, list_files
from ..io.groups import Found, Pairing, find_sets
from ..io.names import stem_of
from ..io.names import suffix_of as own_suffix
from ..io.write import WRITES
from ..language.instruction import read_say
from ..models.base import FusionModel
from ..models.choice import model_for
from ..result import NO_WEIGHTS, FusionResult, Outputs, check_report, mask_paths, weight_paths, write_json
from ..runtime import check_regular
from .align import aligned_paths, check_files, write_files
from .progress import progress_bar
from .volumes import fuse_volume, is_volume


@dataclass(frozen=True)
class Choices:
    """The options of one call, as the command line has them. reference counts from 0."""

    model: str | None = None  # name, folder or hub id; None: the one that does what `say` asks for
    device: str = "auto"  # auto, cpu or cuda
    dtype: str = "auto"  # of the network: auto, float32, bfloat16 or float16
    max_memory: str | None = None  # of the process, as '2G'
    reference: int = 0  # which input gives size, metadata and alpha
    resize: bool = False  # bring all images to the size of the reference
    white: str | float | None = None  # white level of 16-bit and float images: one, or one for each
    quality: int | None = None  # of JPEG and WebP; None: 95
    overwrite: bool = False  # replace files
    quiet: bool = False  # print nothing but errors
    jobs: int = 1  # sets at a time
    suffix: str | None = None  # of results in folders: png, tif, jpg or webp; None: the reference's
    keep_order: bool = False  # do not sort inputs by role
    say: str | None = None  # instruction
    masks: tuple[str, ...] = ()  # which pixels of each input count; empty: all
    align: Align = AUTOMATIC  # what lays the images over the reference
    black: str | float | None = None  # black level of 16-bit and float images
    range: str | None = None  # auto, none or percentiles as 'p1,p99'
    pages: str | None = None  # of each file, as '3:40'
    deghost: str = "auto"  # what moved comes from one image: auto, on or off
    deghost_reference: int | None = None  # which image shows what moved, from 0
    infrared: int | None = None  # which image is the infrared one, from 0

    def load(self) -> Fuser:
        """The model with its device, and the options of a run."""
        model = model_for(read_say(self.say)) if self.model is None else self.model
        return Fuser(model, device=self.device, dtype=self.dtype, max_memory=self.max_memory)


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
    plan: bool = False,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
    ghost_mask: str | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Fuses images into one image file; raises FusionError before the work where a file could not be written.

    notes: what the choice of the images had to decide, for the report and the terminal.
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
    check_distinct(outputs, choices.align, report, inputs, read_say(choices.say))
    fuser = choices.load()
    check_maps(fuser, choices, explain, mask_out, weights_out)
    if is_volume(inputs, output):
        aligned = choices.align.save_transforms or choices.align.aligned_out
        if weights_out or explain or mask_out or ghost_mask or aligned:
            maps = "--weights-out, --explain, --mask-out, --ghost-mask, --save-transforms and --aligned-out"
            raise FusionError(f"a volume is fused without {maps}; leave them out")
        slices = replace(choices, align=NO_ALIGNMENT, deghost="off")
        done = fuse_volume(lambda images: run_set(fuser, images, slices), inputs, output, overwrite=choices.overwrite)
        done["warnings"] += volume_notes(choices)
    else:
        done = fuse_set(fuser, inputs, outputs, choices)
    done["warnings"] += [*notes, *file_notes([output], choices)]
    for warning in done["warnings"]:
        print(f"anyfuse: note: {warning}", file=sys.stderr)
    if report is not None:
        write_json(report, done, inputs, overwrite=choices.overwrite)
    if not choices.quiet:
        print_summary(done, len(done["inputs"]), choices)


def fuse_folders(
    folders: Sequence[str],
    output: str,
    choices: Choices,
    *,
    pairing: Pairing | None = None,
    plan: bool = False,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> int:
    """Fuses sets of images into a folder. Returns how many sets failed; each failure is a line on stderr.

    Args:
        folders: two or more that are paired by names, or one with sets in it; none where `pairing` has a table.
        output: folder of the results.
        choices: the options.
        pairing: how files are put together.
        plan: prints what would be fused with what, and does nothing.
        weights_out: folder of the weight maps.
        report: JSON file.
        explain: folder of the explanations.
        mask_out: folder of the masks.
    """
    check_folders(folders, output)
    if choices.align.save_transforms is not None or choices.align.aligned_out is not None:
        raise FusionError("--save-transforms and --aligned-out are for one set of images; see `anyfuse align`")
    apart = [place for place in (output, weights_out, explain, mask_out) if place is not None]
    found = folder_sets(folders, pairing or Pairing(), single=bool(read_say(choices.say).segment), apart=apart)
    files = Inputs(path for paths in found.sets.values() for path in paths)
    spare = Inputs([*(path for folder in folders for path in Path(folder).iterdir()), *sum(found.sets.values(), ())])
    notes = [*found.notes, *suffix_notes(found.sets.values(), choices)]
    first = [paths[choices.reference] for paths in found.sets.values() if choices.reference < len(paths)]
    notes += file_notes([suffix_of(path, choices.suffix) for path in first], choices, folders=True)
    for note in notes:
        print(one_line(f"anyfuse: note: {note}"), file=sys.stderr)
    for name, reason in found.lacking.items():
        print(one_line(f"anyfuse: {name}: skipped, {reason}"), file=sys.stderr)
    if not found.sets:
        places = ", ".join(folders)
        raise FusionError(f"no file stem is in all of {places}; stems must agree, as a/01.png and b/01.jpg; see --plan")
    tally = Tally(failures=dict(found.lacking))
    sets = plan_sets(found.sets, output, choices, weights_out, explain, mask_out, spare, tally)
    todo = [one for one in sets if choices.overwrite or not os.path.exists(one.outputs.image)]
    if plan:
        print_plan(sets, todo)
        return len(tally.failures)
    for folder in apart:
        check_folder(folder)
    earlier = [] if report is None else earlier_sets(report, output, files, choices.overwrite)
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"{output}: cannot be made ({error.strerror}); choose another folder") from None
    clean_temporaries(output)
    fuser = choices.load()
    fuser.jobs = choices.jobs
    check_maps(fuser, choices, explain, mask_out, weights_out)
    if mask_out is not None:
        check_mask_folder(mask_out, output, folders)
    tally.skipped = len(sets) - len(todo)
    start = time.perf_counter()
    with progress_bar(choices.quiet) as bar, divided_threads(choices.jobs):
        fuse_sets(fuser, todo, choices, tally, bar)
    seconds = time.perf_counter() - start
    count = {"fused": len(tally.reports), "skipped": tally.skipped}
    if report is not None:
        new = {one.get("output") for one in tally.reports}
        kept = [one for one in earlier if one.get("output") not in new and os.path.exists(str(one.get("output")))]
        summary = {**count, "failed": tally.failures, "seconds": round(seconds, 3), "sets": kept + tally.reports}
        summary |= {"warnings": notes} if notes else {}
        write_json(report, summary, spare)
    if not choices.quiet:
        print(
            f"{output}: {count['fused']} fused, {tally.skipped} already there, {len(tally.failures)} failed, "
            f"{seconds:.1f} s"
        )
    return len(tally.failures)


def check_folders(folders: Sequence[str], output: str) -> None:
    """Raises FusionError where results cannot go to `output`, or a folder is given twice."""
    check_folder(output)
    for folder in folders:
        if Path(output).exists() and Path(output).samefile(folder):
            raise FusionError(f"{output}: is an input folder too; name another one for the results")
        if sum(Path(folder).samefile(f) for f in folders) > 1:
            raise FusionError(f"{folder}: is given twice; give each folder once")


def folder_sets(folders: Sequence[str], pairing: Pairing, single: bool, apart: Sequence[str] = ()) -> Found:
    """The sets in folders or in a table.

    single: of one folder without a pairing, each image is a set of its own. apart: folders of results.
    """
    if len(folders) == 1 and not pairing.chosen:
        if not single:
            raise FusionError(
                f"{folders[0]} is one folder: give -o IMAGE to fuse all of it into one image, --group for sets within "
                "it, or two or more folders; file k of each shows the same scene when the stems agree"
            )
        return Found({stem_of(path): (path,) for path in list_files(folders[0])})
    return find_sets(folders, pairing, apart)


def folder_stack(folder: str, places: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
    """The images of a folder that is a stack, and notes on what is left out.

    places: option -> folder of maps, or None.

    Raises FusionError where there is no image, or where maps would go among them.
    """
    for option, place in places.items():
        if place is not None and os.path.realpath(place) == os.path.realpath(folder):
            raise FusionError(f"{option} {place}: is the folder of the images; name another one")
    return [str(path) for path in list_files(folder)], [f"{line}; left out" for line in left_out(folder)]


def earlier_sets(report: str, output: str, inputs: Inputs, overwrite: bool) -> list[dict[str, Any]]:
    """The sets in the report of an earlier run over the same folders, which a second run completes.

    Raises FusionError where the file is anything else, unless it may be overwritten.
    """
    check_report(report, output, inputs, True)
    if overwrite or not os.path.lexists(report):
        return []
    try:
        check_regular(report)
        content = json.loads(Path(report).read_text())
        if {"fused", "skipped", "failed", "seconds", "sets"} <= content.keys():
            return [one for one in content["sets"] if isinstance(one, dict)]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        pass
    raise FusionError(f"{report}: exists already, and is no report of folders; give another one or add --overwrite")


def print_plan(sets: Sequence[FusionSet], todo: Sequence[FusionSet]) -> None:
    """A line for each set on stdout: the result, and what it is made of."""
    new = {one.name for one in todo}
    for one in sets:
        there = "" if one.name in new else " (already there)"
        print(f"{one.outputs.image}: {' + '.join(map(str, one.inputs))}{there}")


def plan_sets(
    complete: dict[str, tuple[Path, ...]],
    output: str,
    choices: Choices,
    weights_out: str | None,
    explain: str | None,
    mask_out: str | None,
    spare: Inputs,
    tally: Tally,
) -> list[FusionSet]:
    """Every set with the names of its files; those without a reference, or with a taken name, go to `tally`.

    Maps that are there with the same content are no error: the run that wrote them was cut off before the image.
    """

    def below(folder: str | None, name: str) -> str | None:
        return None if folder is None else str(Path(folder) / name)

    sets: list[FusionSet] = []
    taken: dict[str, str] = {}
    for name, paths in complete.items():
        if choices.reference >= len(paths):
            tally.failures[name] = f"--reference {choices.reference + 1} is not one of its {len(paths)} images"
            print(one_line(f"anyfuse: {name}: skipped, {tally.failures[name]}"), file=sys.stderr)
            continue
        image = str(Path(output) / f"{name}{suffix_of(paths[choices.reference], choices.suffix)}")
        if taken.setdefault(image, name) != name:
            tally.failures[name] = f"{image} is the result of {taken[image]} too"
            continue
        maps = below(weights_out, name), below(explain, name), below(mask_out, f"{name}.png")
        outputs = Outputs(
            image, *maps, overwrite=choices.overwrite, quality=choices.quality or 95, spare=spare, resume=True
        )
        sets.append(FusionSet(name, paths, outputs))
    return sets


def fuse_sets(fuser: Fuser, sets: Iterable[FusionSet], choices: Choices, tally: Tally, bar: Progress) -> None:
    """Fuses the sets, `choices.jobs` at a time; a set that fails is noted and never stops the others.

    A set that finds too little memory beside others is done again alone.
    """
    todo, again = list(sets), list[FusionSet]()
    task = bar.add_task("fusing", total=len(todo))

    def say(line: str) -> None:
        bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def work(one: FusionSet) -> dict[str, Any]:
        return fuse_set(fuser, [str(p) for p in one.inputs], one.outputs, choices)

    def results() -> Iterator[tuple[FusionSet, Future[dict[str, Any]]]]:
        yield from in_parallel(work, todo, choices.jobs)
        fuser.jobs = 1
        yield from in_parallel(work, again, 1)

    for one, future in results():
        try:
            tally.reports.append(future.result())
            for warning in tally.reports[-1]["warnings"]:
                say(f"anyfuse: note: {warning}")
        except MemoryLimitError as error:
            if fuser.jobs > 1:
                again.append(one)
                continue
            tally.failures[one.name] = str(error)
            say(one_line(f"anyfuse: {one.name}: {error}"))
        except FusionError as error:
            tally.failures[one.name] = str(error)
            say(one_line(f"anyfuse: {one.name}: {error}"))
        except Exception as error:  # one set never stops the others, whatever is wrong with it
            tally.failures[one.name] = unforeseen(error)
            say(f"anyfuse: {one.name}: {unforeseen(error)}")
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
    if report.get("aligned"):
        frames = result.stack.frames if result.aligned is None else result.aligned
        write_files(frames, report["aligned"], choices.align, inputs, choices.overwrite)
    elif choices.align.save_transforms is not None or choices.align.aligned_out is not None:
        report["warnings"].append("one image alone is not aligned: no --save-transforms, no --aligned-out")
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
        deghost=choices.deghost,
        deghost_reference=choices.deghost_reference,
        infrared=choices.infrared,
    )


def check_distinct(outputs: Outputs, align: Align, report: str | None, inputs: Sequence[str], control: Control) -> None:
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


def check_mask_folder(folder: str, output: str, inputs: Sequence[str]) -> None:
    """Raises FusionError where masks cannot go to `folder`."""
    if os.path.realpath(folder) in map(os.path.realpath, (output, *inputs)):
        raise FusionError(f"{folder}: holds images or results too; name another folder for the masks")


def file_notes(outputs: Sequence[str], choices: Choices, folders: bool = False) -> list[str]:
    """A line for each option about files that was given and does nothing for these results."""
    notes = []
    if choices.quality is not None and outputs and not any(o.lower().endswith(LOSSY) for o in outputs):
        notes.append(f"--quality does nothing: it is for {', '.join(LOSSY)}")
    if not folders and choices.suffix is not None:
        notes.append(f"--format {choices.suffix} does nothing: the name of the output decides; it is for folders")
    if not folders and choices.jobs > 1:
        notes.append(f"--jobs {choices.jobs} does nothing: there is one set of images; it is for folders")
    return notes


def volume_notes(choices: Choices) -> list[str]:
    """A line for each option that was given and does nothing for volumes."""
    given = {
        f"--align {choices.align.mode}": choices.align.mode not in ("auto", "none"),
        "--use-transforms": choices.align.transforms is not None,
        "--points": choices.align.points is not None,
        "--keep-frame": choices.align.keep_frame,
        "--deghost on": choices.deghost == "on",
    }
    why = "volumes are fused slice by slice, as they lie"
    return [f"{option} does nothing: {why}" for option, is_given in given.items() if is_given]


LOSSY = (".jpg", ".jpeg", ".webp")
"""Formats that have a quality."""

FLOATS = (".exr", ".hdr", ".pfm")
"""Formats of floats, whose results keep them in TIFF."""


def suffix_of(reference: Path, wanted: str | None) -> str:
    """Suffix of a result: the requested one, or that of the reference's file; of a format that folders of results do
    not have, PNG for 8 and 16 bits, and TIFF for floats.
    """
    suffix = own_suffix(reference).lower() if wanted is None else f".{wanted.lower().lstrip('.')}"
    suffix = suffix.removeprefix(".ome") or suffix  # the result has no planes to describe
    if wanted is None and suffix not in WRITES:
        return ".tif" if suffix in FLOATS else ".png"
    if suffix not in WRITES:
        raise FusionError(f"--format {wanted}: give one of {', '.join(s.lstrip('.') for s in WRITES)}")
    return suffix


def suffix_notes(sets: Iterable[Sequence[Path]], choices: Choices) -> list[str]:
    """A note for each suffix of references whose results are written in another format."""
    if choices.suffix is not None:
        return []
    first = [paths[choices.reference] for paths in sets if choices.reference < len(paths)]
    kinds = {own_suffix(path).lower(): suffix_of(path, None) for path in first}
    other = {kind: new for kind, new in kinds.items() if kind.removeprefix(".ome") != new}
    return [
        f"results of {suffix or 'files without suffix'} are written as {new}; --format changes that"
        for suffix, new in other.items()
    ]


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
