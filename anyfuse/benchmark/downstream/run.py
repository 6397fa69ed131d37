"""Does fusion help a machine: `anyfuse bench --section downstream`.

Every pair is shown to detectors as the visible image alone, as the infrared one alone, and as each model fuses it.
Found boxes are compared with those that people drew (boxes.py), at 19 thresholds. The detectors are the shipped
segmenters, which differ in their seed, or one ONNX graph (detectors.py).

What OUT gets: fused/METHOD-VERSION/SET/STEM.png; found-METHOD.jsonl, a line a picture and detector, which a second run
resumes; downstream.json and downstream.md; pictures/SET-STEM.png with what the first detector found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ...control import OBJECTS
from ...data.boxes import Box, Scene, read_scenes
from ...errors import FusionError
from ...fuser import Fuser
from ...io.atomic import check_folder, write_whole
from ...io.folders import list_images, stem_of
from ...io.write import write_image
from ...models.segmenter import SEEDS, segmenter_folder
from ..run import identity, labels
from ..tone_control import known, read
from .boxes import RULES, count_matches
from .detectors import Detector, OnnxDetector, OwnDetector
from .pictures import draw_found
from .report import KINDS, SINGLE, markdown, plain, tables_of
from .scores import MIDDLE

DEFAULT_MODELS = "average,laplacian,anyfuse,tita-small,unifusion-small"
BOXES = "street_boxes.json"
FOUND_VERSION = 1
"""To be raised where the boxes of a picture change."""

Counts = dict[str, dict[str, np.ndarray]]
"""Rule -> method -> whole numbers (detectors, scenes, thresholds, OBJECTS, 3)."""


@dataclass(frozen=True)
class Choices:
    """What a user may choose beside data and models."""

    detector: str = ""  # an ONNX graph; '': the shipped segmenters
    classes: str = ""  # of the graph, as detectors.read_classes takes them
    boxes: str = ""  # file of boxes; '': the shipped one
    device: str = "auto"  # of the models
    limit: int | None = None  # pairs of each set


@dataclass(frozen=True)
class Pair:
    """A scene and its files."""

    scene: Scene
    infrared: Path
    visible: Path


def run_downstream(data: str | Path, models: Sequence[str], out: str | Path, choices: Choices) -> Counts:
    """Measures, prints the Markdown and writes OUT.

    Args:
        data: folder with the sets that the boxes name, each with folders ir and vis; or with test and train that hold
            them.
        models: names, folders or LABEL=MODEL. The two images alone are always shown.
        out: folder to write.
        choices: detector, boxes, device, limit.

    Returns:
        What was counted.

    Raises:
        FusionError: missing images, boxes of another size, a detector that cannot be used; at the end, where a model
            could not be.
    """
    check_folder(out)
    named = labels(models)
    for name in SINGLE:
        if name in named:
            raise FusionError(f"model '{name}': every table has a row {name} of its own; give another label")
    detectors = detectors_of(choices)
    path = Path(choices.boxes) if choices.boxes else Path(str(files("anyfuse") / "assets" / BOXES))
    pairs = choose(read_scenes(path), Path(data), choices.limit or 0)
    check_sizes(pairs)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[tuple[str, str], list[list[Box]]]] = {}
    shown: dict[str, dict[str, Path]] = {}
    failed: dict[str, str] = {}
    for method in (*SINGLE, *named):
        try:
            shown[method] = show(method, named.get(method), pairs, folder, choices.device)
        except FusionError as error:  # one model never stops the others
            failed[method] = str(error)
            print(f"{method}: {error}", flush=True)
            continue
        found[method] = find(shown[method], detectors, folder / f"found-{method}.jsonl")
        print(f"{method}: {len(pairs)} pairs, {len(detectors)} detectors", flush=True)
    counts = count(found, pairs, [d.name for d in detectors])
    sets = [set_of(p.scene) for p in pairs]
    tables = tables_of(counts, sets)
    page = markdown(tables, inventory(pairs), [d.name for d in detectors])
    page += "".join(f"\nNot shown: {name}. {reason}\n" for name, reason in failed.items())
    print(page, flush=True)
    write_whole(folder / "downstream.md", [page.encode()], overwrite=True)
    write_whole(folder / "downstream.json", [json.dumps(plain(tables), indent=1).encode()], overwrite=True)
    for pair in pairs:
        files_of = {method: shown[method][pair.scene.name] for method in shown}
        boxes = {method: found[method][detectors[0].name, pair.scene.name][MIDDLE] for method in found}
        draw_found(folder / "pictures" / f"{pair.scene.name.replace('/', '-')}.png", files_of, boxes, pair.scene)
    if failed:
        raise FusionError(f"{', '.join(failed)}: not in the table, which is in {folder / 'downstream.md'}; see above")
    return counts


def set_of(scene: Scene) -> str:
    """The first part of its name."""
    return scene.name.split("/")[0]


def inventory(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """Set -> kind of the report -> boxes, and 'scenes'."""
    found: dict[str, dict[str, int]] = {}
    for pair in pairs:
        own = found.setdefault(set_of(pair.scene), {"scenes": 0, **dict.fromkeys(KINDS, 0)})
        own["scenes"] += 1
        for kind, objects in KINDS.items():
            own[kind] += sum(b.kind in [OBJECTS[k] for k in objects] for b in pair.scene.boxes)
    return found


def detectors_of(choices: Choices) -> list[Detector]:
    """The user's graph, or the shipped segmenters."""
    if choices.detector:
        return [OnnxDetector(Path(choices.detector), choices.classes)]
    if choices.classes:
        raise FusionError("--classes belongs to --detector; give both")
    return [OwnDetector(segmenter_folder(seed), f"seed {seed}") for seed in SEEDS]


def choose(scenes: Sequence[Scene], root: Path, limit: int) -> list[Pair]:
    """The files of the scenes, at most `limit` of each set, spread over it; 0: all. Sets that are not there are passed
    over; FusionError where none is.
    """
    places = {name: _place(root, name) for name in dict.fromkeys(map(set_of, scenes))}
    pairs: list[Pair] = []
    for name, place in places.items():
        if place is None:
            continue
        own = [s for s in scenes if set_of(s) == name]
        own = own[:: max(1, len(own) // limit)][:limit] if limit else own
        stems = {role: {stem_of(p): p for p in list_images(place / role)} for role in ("ir", "vis")}
        for scene in own:
            stem = scene.name.split("/")[1]
            missing = [role for role in stems if stem not in stems[role]]
            if missing:
                raise FusionError(f"{place / missing[0]}: has no {stem}, which the boxes are of")
            pairs.append(Pair(scene, stems["ir"][stem], stems["vis"][stem]))
    if not pairs:
        raise FusionError(f"{root}: holds none of {', '.join(places)}, each with folders ir and vis")
    return pairs


def _place(root: Path, name: str) -> Path | None:
    """Where a set is."""
    for place in (root / name, root / "test" / name, root / "train" / name):
        if (place / "ir").is_dir() and (place / "vis").is_dir():
            return place
    return None


def show(method: str, model: str | None, pairs: Sequence[Pair], out: Path, device: str) -> dict[str, Path]:
    """Scene -> picture of a method; fused ones are written into OUT/fused, where they are not there yet."""
    if model is None:
        return {p.scene.name: p.visible if method == "visible" else p.infrared for p in pairs}
    fuser = Fuser(model, device=device)
    folder = out / "fused" / f"{method}-{identity(fuser).split()[-1]}"
    shown = {p.scene.name: folder / f"{p.scene.name}.png" for p in pairs}
    for pair in pairs:
        target = shown[pair.scene.name]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            images = [read(pair.infrared), read(pair.visible)]
            write_image(target, fuser.run(images, infrared=0, align="none", deghost="off").pixels)
    return shown


def check_sizes(pairs: Iterable[Pair]) -> None:
    """Raises FusionError where the boxes are of pictures of another size."""
    for pair in pairs:
        for path in (pair.infrared, pair.visible):
            height, width = read(path).shape[:2]
            if (width, height) != (pair.scene.width, pair.scene.height):
                raise FusionError(
                    f"{path} is {width}x{height}, its boxes are of {pair.scene.width}x{pair.scene.height}"
                )


def find(shown: dict[str, Path], detectors: Sequence[Detector], path: Path) -> dict[tuple[str, str], list[list[Box]]]:
    """(detector, scene) -> boxes at each threshold; those that `path` holds of the same picture are read."""
    found = {}
    for detector in detectors:
        settings = {"detector": detector.origin, "version": FOUND_VERSION}
        before = known(path, settings)
        for scene, picture in shown.items():
            digest = sha256(picture.read_bytes()).hexdigest()[:16]
            row: dict[str, Any] | None = before.get((digest, scene))
            if row is None:
                boxes = [[[b.kind, *corners(b)] for b in level] for level in detector.find(read(picture))]
                row = {"settings": settings, "folder": digest, "name": scene, "boxes": boxes}
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            found[detector.name, scene] = [[Box(kind, *at) for kind, *at in level] for level in row["boxes"]]
    return found


def corners(box: Box) -> list[float]:
    """x0, y0, x1, y1, to a tenth of a pixel."""
    return [round(v, 1) for v in (box.x0, box.y0, box.x1, box.y1)]


def count(
    found: dict[str, dict[tuple[str, str], list[list[Box]]]], pairs: Sequence[Pair], detectors: Sequence[str]
) -> Counts:
    """What was right, by rule and method."""
    return {
        rule: {
            method: np.array(
                [
                    [[count_matches(level, p.scene, rule) for level in own[d, p.scene.name]] for p in pairs]
                    for d in detectors
                ]
            )
            for method, own in found.items()
        }
        for rule in RULES
    }
