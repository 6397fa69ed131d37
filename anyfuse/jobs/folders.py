"""Folders of many sets through a model: what `anyfuse fuse` does with folders."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arrays import torch
from ..errors import FusionError, MemoryLimitError
from ..fuser import Fuser
from ..io.atomic import Inputs, check_folder, clean_temporaries, one_line, unforeseen
from ..io.folders import left_out, list_files
from ..io.groups import Found, Pairing, find_sets
from ..io.names import stem_of
from ..language.instruction import read_say
from ..result import Outputs, check_report, write_json
from ..runtime import check_regular
from .choices import Choices, file_notes, suffix_notes, suffix_of
from .files import check_maps, fuse_set

if TYPE_CHECKING:
    from rich.progress import Progress


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
    fuser.check_instruction(choices.say)
    if mask_out is not None:
        check_mask_folder(mask_out, output, folders)
    tally.skipped = len(sets) - len(todo)
    from .progress import progress_bar

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

    Args:
        complete: name of a set -> its files.
        output: folder of the results.
        choices: the options.
        weights_out, explain, mask_out: folders of maps; None: none.
        spare: files that are never overwritten.
        tally: gets the failures.
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


def check_mask_folder(folder: str, output: str, inputs: Sequence[str]) -> None:
    """Raises FusionError where masks cannot go to `folder`."""
    if os.path.realpath(folder) in map(os.path.realpath, (output, *inputs)):
        raise FusionError(f"{folder}: holds images or results too; name another folder for the masks")
