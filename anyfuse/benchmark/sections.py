"""What `anyfuse bench --section` does: models that follow instructions, scored by what the instruction says; what
fusion is worth to a detector (downstream/run.py); and pansharpening.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import FusionError
from ..fuser import Fuser
from ..io.atomic import check_folder, write_whole
from ..models.ditfuse.ditfuse import DiTFuse
from .downstream.run import DEFAULT_MODELS, Choices, run_downstream
from .pansharpening import MODELS as PANSHARPENING_MODELS
from .pansharpening import run_pansharpening
from .run import labels
from .segmentation import read, run_words
from .tone_control import load, run_tones

SECTIONS = ("control", "segmentation", "downstream", "pansharpening")
DEFAULTS = {
    "control": "ditfuse",
    "segmentation": "ditfuse",
    "downstream": DEFAULT_MODELS,
    "pansharpening": ",".join(PANSHARPENING_MODELS),
}
"""Models of a section that a user who names none gets."""


def run_section(section: str, data: str, models: str, out: str, choices: Choices) -> None:
    """Measures `section` of every model, prints the Markdown and writes it to OUT/SECTION.md, with the numbers in
    OUT/SECTION-LABEL.json(l).

    control: of a folder with the test sets of infrared and visible, exposures, focus (tone_control.py). segmentation:
    of CamVid's folder, or one that holds `camvid` (segmentation.py). downstream: of pairs with boxes. pansharpening: of
    a folder with pan, ms and, for measures against it, reference (pansharpening.py). models: '' for those of DEFAULTS.
    choices.limit: pairs or images, spread over the data. Raises FusionError for other sections, models and folders.
    """
    if section not in SECTIONS:
        raise FusionError(f"--section {section}: give one of {', '.join(SECTIONS)}")
    names = [m.strip() for m in (models or DEFAULTS[section]).split(",")]
    if section == "downstream":
        run_downstream(data, names, out, choices)
        return
    if choices.detector or choices.classes or choices.boxes:
        raise FusionError("--detector, --classes and --boxes belong to --section downstream")
    check_folder(out)
    if section == "pansharpening":
        _run_pansharpening(data, names, Path(out), choices.device, choices.limit)
        return
    limit = choices.limit or 0
    fusers = {label: load(name, choices.device) for label, name in labels(names).items()}
    root, folder = Path(data), Path(out)
    streets = root / "camvid" if (root / "camvid").is_dir() else root
    if section == "segmentation":
        if not all((streets / part).is_dir() for part in ("images", "labels")):
            raise FusionError(f"{root}: has no folders images and labels, nor camvid with them")
        for label, fuser in fusers.items():
            if not isinstance(fuser.model, DiTFuse) or fuser.model.mask_head is None:
                raise FusionError(f"{label}: this model gives no masks")
    folder.mkdir(parents=True, exist_ok=True)
    pages: list[str] = []
    for label, fuser in fusers.items():
        place = folder / f"{section}-{label.replace('/', '-')}.json"
        if section == "control":
            _, lines = run_tones(fuser, root, place.with_suffix(".jsonl"), pairs=limit)
        else:
            assert isinstance(fuser.model, DiTFuse)
            scores, lines = run_words(fuser.model, read(streets, limit), fuser.device)
            write_whole(place, [json.dumps(scores, indent=1).encode()], overwrite=True)
        pages += [f"\n## {label}", *lines]
        print(*pages[-1 - len(lines) :], sep="\n", flush=True)
    write_whole(folder / f"{section}.md", ["\n".join([f"# {section}", *pages, ""]).encode()], overwrite=True)


def _run_pansharpening(data: str, names: list[str], out: Path, device: str, limit: int | None) -> None:
    fusers = {label: Fuser(name, device=device) for label, name in labels(names).items()}
    out.mkdir(parents=True, exist_ok=True)
    lines = run_pansharpening(fusers, Path(data), out, limit)
    print(*lines, sep="\n", flush=True)
    write_whole(out / "pansharpening.md", ["\n".join(["# pansharpening", *lines, ""]).encode()], overwrite=True)
