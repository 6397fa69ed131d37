"""Files and folders through degradations, with a manifest that makes the same files again: what `anyfuse
degrade` does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ..errors import FusionError
from ..image.colour import to_luma
from ..image.stack import Frame, Stack
from ..io.atomic import Inputs, check_folder, clean_temporaries, one_line, target_of, unforeseen, write_whole
from ..io.folders import list_images
from ..io.read import read_image
from ..io.write import WRITES, writable, write_image
from ..runtime import check_regular
from ..version import __version__
from .depth import estimated_depth
from .masked_pairs import M3, m3_pair
from .plan import KNOWN, DegradationPlan, Step, apply, derive, draw, find, generator, kinds_of

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What decides the pixels and goes into the manifest.

    Raises FusionError unless one of ops, task and m3 is given, and for what does not go together.
    """

    seed: int = 0  # with a file's name it seeds what the file gets
    ops: DegradationPlan | None = None  # these operations, in this order
    task: str | None = None  # one to three operations drawn from the menu of this task
    m3: M3 | None = None  # two views whose tiles are degraded in turn
    source: str = "auto"  # infrared, visible, or auto: grey images are infrared
    depth: str | None = None  # file or folder of depth maps, 0 near to 1 far; None: made up or estimated
    depth_model: str | None = None  # name or folder of a model for `depth.estimated_depth`
    white: float | None = None  # value that counts as 1.0 in 16-bit and float files; None: by the file
    quality: int = 95  # of JPEG and WebP, 1 to 100

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("ops", "task", "m3") if getattr(self, name) is not None]
        if len(given) != 1:
            both = " and ".join(given) or "none of them"
            raise FusionError(f"give one of --ops, --task and --m3, not {both}")
        if self.task is not None:
            kinds_of(self.task, 1)  # refuses an unknown task
        if self.source != "auto" and self.task != "ivf":
            raise FusionError("--source is for --task ivf; leave it out")
        if self.depth is not None and self.depth_model is not None:
            raise FusionError("give --depth or --depth-model, not both")


@dataclass(frozen=True)
class Manifest:
    """What a run was made with, and what it did."""

    settings: Settings
    # name of an input file -> its seed, source, plan, output names, sha256, and what was done
    files: dict[str, dict[str, Any]]

    def text(self) -> str:
        """The manifest as JSON."""
        head = {"format": FORMAT, "anyfuse": __version__, **asdict(self.settings)}
        return json.dumps(head | {"files": dict(sorted(self.files.items()))}, indent=1) + "\n"


def read_manifest(path: str | Path) -> Manifest:
    """The manifest in a file; FusionError where there is none or it lacks something."""
    try:
        check_regular(path)
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        version, files = content["format"], content["files"]
        values = {name: content[name] for name in (each.name for each in fields(Settings))}
        if values["ops"] is not None:
            values["ops"] = _plan(values["ops"])
        if values["m3"] is not None:
            values["m3"] = M3(**{**values["m3"], "tiles": tuple(values["m3"]["tiles"])})
        for entry in files.values():
            entry["seed"], entry["source"] = int(entry["seed"]), int(entry["source"])
            entry["outputs"] = [str(name) for name in entry["outputs"]]
            entry["plan"] = [list(step) for step in _plan(entry["plan"])]
    except OSError as error:
        raise FusionError(
            f"{path}: cannot be read ({error.strerror}); name the manifest.json of an earlier run"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = one_line(str(error) if isinstance(error, FusionError) else f"{type(error).__name__}: {error}")
        raise FusionError(f"{path}: is no manifest of anyfuse degrade ({reason})") from None
    if version != FORMAT:
        raise FusionError(f"{path}: manifest of format {version}, this version of anyfuse reads {FORMAT}")
    return Manifest(Settings(**values), files)


def _plan(steps: Sequence[Sequence[Any]]) -> DegradationPlan:
    return tuple(Step(find(name), float(strength)) for name, strength in steps)


def degrade_file(
    path: str,
    output: str,
    settings: Settings,
    *,
    replay: Manifest | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Degrades one image file, and writes the manifest beside the result, with the suffix .json.

    Args:
        path: of the image.
        output: of the result; with m3, its stem with _a and _b.
        settings: what is done.
        replay: a manifest whose seed, source and plan of this file are used instead of new ones.
        overwrite: replaces files that exist.
        quiet: prints nothing.

    Raises:
        FusionError: an image that cannot be read, or a result that cannot be written.
    """
    writable(output)
    check_depth(settings.depth)
    targets = [output]
    if settings.m3 is not None:
        targets = [str(Path(output).with_name(f"{Path(output).stem}_{v}{Path(output).suffix}")) for v in "ab"]
    beside = str(Path(output).with_suffix(".json"))
    for target in (*targets, beside):
        target_of(target, overwrite, [path])
    spare = Inputs([path])

    def record(entry: dict[str, Any]) -> None:
        text = Manifest(settings, {Path(path).name: entry}).text()
        write_whole(beside, [text.encode()], overwrite=overwrite, inputs=spare, same=True)

    names = [Path(t).name for t in targets]
    entry, notes = degrade_image(Path(path), targets, settings, replay, overwrite, spare, record, names)
    _print_notes(notes)
    if not quiet:
        print(f"{', '.join(targets)}: {_words(entry)}; {beside}")


def degrade_folder(
    folder: str,
    output: str,
    settings: Settings,
    *,
    replay: Manifest | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Degrades every image of a folder, and writes manifest.json beside the results.

    A second run does what is missing. Each failure is a line on stderr.

    Args:
        folder: of the images.
        output: folder of the results; with m3, of its folders a and b.
        settings: what is done.
        replay: a manifest whose seeds, sources and plans are used instead of new ones.
        suffix: of the results; None: of the images.
        overwrite: replaces files that exist.
        quiet: shows no progress.

    Returns:
        How many files failed.

    Raises:
        FusionError: a folder that cannot be used, or one with the results of other settings.
    """
    inputs, target, done, spare = prepared(folder, output, settings, suffix, overwrite)
    count = {"degraded": 0, "already there": 0, "failed": 0}
    claimed: dict[str, str] = {}

    def record(name: str, entry: dict[str, Any]) -> None:
        """Before the images are written: what is there is always in the manifest, also after a kill."""
        done.files[name] = entry
        write_whole(target, [done.text().encode()], overwrite=True, inputs=spare)

    write_whole(target, [done.text().encode()], overwrite=True, inputs=spare)
    with _progress(quiet) as bar:
        task = bar.add_task("degrading", total=len(inputs))
        for path in inputs:
            try:
                names = claim(path, result_names(path, settings, replay, suffix), claimed)
                targets = [str(Path(output) / name) for name in names]
                if not overwrite and _are_there(targets, done.files.get(path.name, {}).get("outputs") == names, target):
                    count["already there"] += 1
                else:
                    keep = functools.partial(record, path.name)
                    _print_notes(degrade_image(path, targets, settings, replay, overwrite, spare, keep, names)[1])
                    count["degraded"] += 1
            except Exception as error:  # one file never stops the others, whatever is wrong with it
                count["failed"] += 1
                reason = str(error) if isinstance(error, FusionError) else unforeseen(error)
                text = one_line(f"anyfuse: {path.name}: {reason}")
                bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)
    if not quiet:
        print(f"{output}: {', '.join(f'{number} {what}' for what, number in count.items())}; {target}")
    return count["failed"]


def prepared(
    folder: str, output: str, settings: Settings, suffix: str | None, overwrite: bool
) -> tuple[list[Path], Path, Manifest, Inputs]:
    """The images of a folder, the file of the manifest, what it holds, and files that are never replaced. `output` is
    made, and cleaned of what a killed run left.

    Raises FusionError as `degrade_folder`.
    """
    check_folders(folder, output, suffix)
    check_depth(settings.depth)
    images = list_images(folder)
    target = Path(output) / MANIFEST
    done = started(target, settings, overwrite)
    spare = Inputs(images)
    target_of(str(target), True, spare)
    Path(output).mkdir(parents=True, exist_ok=True)
    clean_temporaries(output)
    return images, target, done, spare


def started(target: Path, settings: Settings, overwrite: bool) -> Manifest:
    """The manifest of an earlier run with these settings, or an empty one.

    Raises FusionError where the earlier run had other settings.
    """
    if overwrite or not os.path.lexists(target):
        return Manifest(settings, {})
    done = read_manifest(target)
    if done.settings != settings:
        raise FusionError(f"{target}: is of a run with other settings; give another output or add --overwrite")
    return done


def _are_there(targets: list[str], known: bool, manifest: Path) -> bool:
    """Whether all results of a file exist.

    known: the manifest lists them. Raises FusionError where one exists that it does not list.
    """
    there = [os.path.lexists(one) for one in targets]
    if any(there) and not known:
        raise FusionError(
            f"{targets[there.index(True)]}: exists already, and {manifest} says nothing of it; give another output or "
            "add --overwrite"
        )
    return all(there)


def check_depth(depth: str | None) -> None:
    if depth is not None and not Path(depth).exists():
        raise FusionError(f"{depth}: no such depth map or folder; check the path")


def check_folders(folder: str, output: str, suffix: str | None) -> None:
    check_folder(output)
    if Path(output).exists() and Path(output).samefile(folder):
        raise FusionError(f"{output}: is the input folder too; name another one for the results")
    if suffix is not None and f".{suffix.lower().lstrip('.')}" not in WRITES:
        raise FusionError(f"--format {suffix}: give one of {', '.join(s.lstrip('.') for s in WRITES)}")


def claim(path: Path, names: list[str], claimed: dict[str, str]) -> list[str]:
    """The names, noted as the results of `path`; FusionError where another input has one of them already."""
    for name in names:
        if claimed.setdefault(name, path.name) != path.name:
            raise FusionError(f"{name} would be the result of {claimed[name]} too; leave --format out")
    return names


def result_names(path: Path, settings: Settings, replay: Manifest | None, suffix: str | None) -> list[str]:
    """Results of a file, relative to the output folder."""
    if suffix is None:
        kept = path.suffix if replay is None else Path(entry_of(replay, path.name)["outputs"][0]).suffix
    else:
        kept = f".{suffix.lower().lstrip('.')}"
    name = path.stem + kept
    return [f"{view}/{name}" for view in "ab"] if settings.m3 else [name]


def entry_of(manifest: Manifest, name: str) -> dict[str, Any]:
    if name not in manifest.files:
        raise FusionError(f"the manifest has no file {name}; it has {len(manifest.files)} others")
    return manifest.files[name]


def degrade_image(
    path: Path,
    targets: Sequence[str],
    settings: Settings,
    replay: Manifest | None,
    overwrite: bool,
    spare: Inputs,
    record: Callable[[dict[str, Any]], None],
    names: list[str],
) -> tuple[dict[str, Any], list[str]]:
    """Reads, degrades and writes one image; returns its entry for the manifest, and notes. `record` gets the entry
    before.
    """
    frame = read_image(path, settings.white)
    notes: list[str] = []
    entry: dict[str, Any] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if replay is not None:
        old = entry_of(replay, path.name)
        if old.get("sha256") not in (None, entry["sha256"]):
            notes.append(f"{path} is not the file that the manifest was made with")
        entry |= {key: old[key] for key in ("seed", "source", "plan")}
    else:
        entry["seed"] = derive(settings.seed, path.name)
        infrared = settings.source == "infrared" or (settings.source == "auto" and frame.is_grey)
        entry["source"] = 0 if infrared and settings.task == "ivf" else 1
        plan = settings.ops or ()
        if settings.task is not None:
            kind = "visible" if entry["source"] else "infrared"
            plan = draw(settings.task, 1, generator(entry["seed"], "plan"), [kind])[0]  # type: ignore[list-item]
        entry["plan"] = [list(step) for step in plan]
    with _one_thread():
        results, entry["done"] = _pixels(path, frame, settings, entry)
    notes += frame.warnings
    stack = Stack((frame,))
    entry["outputs"] = names
    record(entry)
    for target, pixels in zip(targets, map(stack.quantise, results), strict=True):
        notes += _write(target, frame, pixels, settings, overwrite, spare)
    return entry, list(dict.fromkeys(notes))


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"anyfuse: note: {note}", file=sys.stderr)


def _pixels(
    path: Path, frame: Frame, settings: Settings, entry: dict[str, Any]
) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """The degraded image, or both views of M3, and what was done."""
    image = frame.read()
    if settings.m3 is not None:
        views, _, done = m3_pair(image, generator(entry["seed"], "m3"), settings.m3)
        return list(views), [done]
    plan = _plan(entry["plan"])
    depth = _depth(path, frame, settings) if any(KNOWN[step.op].depth for step in plan) else None
    result, records = apply(image, plan, entry["seed"], depth=depth, source=entry["source"])
    return [result], records


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same to the bit whatever the machine's number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _write(
    target: str, frame: Frame, pixels: np.ndarray, settings: Settings, overwrite: bool, spare: Inputs
) -> list[str]:
    return write_image(
        target,
        pixels,
        alpha=frame.alpha,
        exif=frame.exif,
        icc=frame.icc,
        dpi=frame.dpi,
        white=frame.white,
        quality=settings.quality,
        overwrite=overwrite,
        inputs=spare,
        same=True,
    )


def _depth(path: Path, frame: Frame, settings: Settings) -> Tensor | None:
    """(H, W) in [0, 1] of an image, from a file, a folder (by stem) or a model; None where none was named."""
    if settings.depth is None:
        return None if settings.depth_model is None else estimated_depth(frame.read(), settings.depth_model)
    source = Path(settings.depth)
    if source.is_dir():
        source = next((p for p in list_images(source) if p.stem == path.stem), source / f"{path.stem}.png")
    map_ = read_image(source)
    if (map_.height, map_.width) != (frame.height, frame.width):
        size = f"{map_.width}x{map_.height}"
        raise FusionError(f"{source}: depth is {size}, {path} is {frame.width}x{frame.height}; give one size")
    return to_luma(map_.read())[0]


def _words(entry: dict[str, Any]) -> str:
    return "; ".join(" ".join(f"{v}" if k == "op" else f"{k}={v}" for k, v in done.items()) for done in entry["done"])


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )


def listing() -> Iterator[str]:
    """The table of operations, a line each."""
    wide = max(map(len, KNOWN))
    for name, chosen in KNOWN.items():
        yield f"{name:{wide}}  {chosen.suits:8}  {chosen.words}"


def replayed(manifest: Manifest, depth: str | None, depth_model: str | None) -> Settings:
    """The settings of a manifest, with depth from elsewhere if given."""
    if depth is None and depth_model is None:
        return manifest.settings
    return replace(manifest.settings, depth=depth, depth_model=depth_model)
