"""Does a model change light and contrast as instructed: `anyfuse bench --section control`.

On pairs of the test folders, each fused without a request and with each tone:

    sign    share of pairs whose mean luma (LIGHT) or RMS contrast (CONTRAST) changed in the requested direction
    order   share of pairs with LIGHT++ > LIGHT+ > none > LIGHT- > LIGHT-- in mean luma, and CONTRAST+ > none >
            CONTRAST- in RMS contrast
    change  mean of the change, in 1/255
    kept    SSIM of the result with the one without an instruction, both brought to mean 0.5 and deviation 0.2; also the
            share of pairs above 0.85

Seven results a pair. The numbers of every pair are kept, a line of JSON each; a second run resumes where it stopped,
and pairs measured with other options are measured anew.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..control import TONES, Control
from ..errors import FusionError
from ..fuser import Fuser
from ..image.colour import to_luma
from ..io.folders import pair_by_stem
from ..io.read import read_image
from ..losses import ssim_map
from ..models.ditfuse.ditfuse import DiTFuse
from ..models.ditfuse.omnigen import OmniGen
from ..weights import WEIGHTS_NAME

FOLDERS = {
    "ivif-roadscene": ("ivf", ("ir", "vis")),
    "mef-mefb": ("mef", ("under", "over")),
    "mff-mfifb": ("mff", ("a", "b")),
}
LIGHTS = ("LIGHT++", "LIGHT+", "", "LIGHT-", "LIGHT--")
CONTRASTS = ("CONTRAST+", "", "CONTRAST-")
KEPT = 0.85


def read(path: Path, size: int = 0) -> np.ndarray:
    """An image (h, w, C) uint8, its longer side brought down to `size` (0: as it is)."""
    x = read_image(path).read()
    if size and max(x.shape[-2:]) > size:
        h, w = (max(1, round(side * size / max(x.shape[-2:]))) for side in x.shape[-2:])
        x = F.interpolate(x[None], (h, w), mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    return (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def choose(data: Path, pairs: int) -> list[tuple[str, str, tuple[Path, ...]]]:
    """(folder, stem, paths) of N pairs of all folders together, evenly, and spread over each; 0: all.

    FusionError where there are none.
    """
    chosen = {}
    for name, (_, parts) in FOLDERS.items():
        if (data / name).is_dir():
            groups = pair_by_stem([data / name / part for part in parts])[0]
            chosen[name] = [(name, stem, paths) for stem, paths in groups.items()]
    if not chosen:
        raise FusionError(f"{data}: holds none of {', '.join(FOLDERS)}")
    each = -(-pairs // len(chosen)) if pairs else 0
    return [row for rows in chosen.values() for row in (rows[:: max(1, len(rows) // each)][:each] if each else rows)]


def load(name: str, device: str, steps: int = 0, branches: int = 0) -> Fuser:
    """A DiTFuse with other steps and branches than its own (0); FusionError for another model."""
    fuser = Fuser(name, device=device)
    if not isinstance(fuser.model, DiTFuse | OmniGen):
        raise FusionError(
            f"{name} is no model that changes light and contrast or marks classes; give a DiTFuse, as ditfuse"
        )
    fuser.model.steps = steps or fuser.model.steps
    fuser.model.branches = branches or fuser.model.branches
    return fuser


def fuse(fuser: Fuser, images: Sequence[np.ndarray], task: str | None, tone: str) -> Tensor:
    """Luma (1, H, W) in [0, 1] of the result, as a user gets it: 8 bits."""
    control = Control(task, tone=(tone,) if tone else ())
    pixels = fuser.run(list(images), say=control, align="none", deghost="off").pixels
    return to_luma(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)


def levelled(x: Tensor) -> Tensor:
    """With mean 0.5 and deviation 0.2."""
    return (x - x.mean()) / x.std().clamp_min(1e-4) * 0.2 + 0.5


def measure(fused: dict[str, Tensor]) -> dict[str, Any]:
    """Of the results of one pair, tone -> luma; '' is without an instruction."""
    mean = {tone: float(x.mean()) for tone, x in fused.items()}
    spread = {tone: float(x.std()) for tone, x in fused.items()}
    row: dict[str, Any] = {"sign": {}, "change": {}, "kept": {}}
    for tone in TONES:
        change = (mean if tone.startswith("LIGHT") else spread)[tone]
        change -= (mean if tone.startswith("LIGHT") else spread)[""]
        row["change"][tone] = 255 * change
        row["sign"][tone] = (change > 0) == ("+" in tone) and change != 0
        row["kept"][tone] = float(ssim_map(levelled(fused[tone])[0], levelled(fused[""])[0]).mean())
    row["light order"] = all(mean[a] > mean[b] for a, b in itertools.pairwise(LIGHTS))
    row["contrast order"] = all(spread[a] > spread[b] for a, b in itertools.pairwise(CONTRASTS))
    return row


def summary(title: str, rows: list[dict[str, Any]]) -> list[str]:
    """The Markdown of some pairs."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    lines = [
        f"\n{title}, {len(rows)} pairs\n",
        f"| tone | sign | change | kept | above {KEPT} |",
        "| --- |" + " --- |" * 4,
    ]
    for tone in TONES:
        sign, change, kept = (mean([row[name][tone] for row in rows]) for name in ("sign", "change", "kept"))
        above = mean([row["kept"][tone] > KEPT for row in rows])
        lines.append(f"| {tone} | {sign:.3f} | {change:+.1f} | {kept:.3f} | {above:.3f} |")
    every = [(row["sign"][tone], row["kept"][tone]) for row in rows for tone in TONES]
    lines.append(
        f"| all | {mean([s for s, _ in every]):.3f} | | {mean([k for _, k in every]):.3f} | "
        f"{mean([k > KEPT for _, k in every]):.3f} |"
    )
    orders = [mean([row[f"{kind} order"] for row in rows]) for kind in ("light", "contrast")]
    return [*lines, f"\norder of light {orders[0]:.3f}, of contrast {orders[1]:.3f}"]


def known(path: Path | None, settings: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(folder, stem) -> what a file of lines holds of pairs measured with these settings; a line that was cut off is
    passed over.
    """
    entries = {}
    for line in path.read_text().splitlines() if path and path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row["settings"] == settings:
            entries[row["folder"], row["name"]] = row
    return entries


def run_tones(
    fuser: Fuser, data: Path, out: Path | None, *, pairs: int = 0, size: int = 0, without_task: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measures `pairs` (0: all) of the folders in `data`, of `size` pixels (0: as they are); returns a row a pair and
    the Markdown.

    out: file for the rows, which a second run resumes. without_task: the prompt has the tone alone, and no task.
    """
    model = fuser.model
    assert isinstance(model, DiTFuse | OmniGen)
    weights = Path(fuser.name) / WEIGHTS_NAME
    settings = {
        "model": fuser.name,
        "written": int(weights.stat().st_mtime) if weights.exists() else 0,
        "size": size,
        "steps": model.steps,
        "branches": model.branches,
        "untold": without_task,
    }
    done, rows = known(out, settings), []
    for folder, stem, paths in choose(data, pairs):
        row = done.get((folder, stem))
        if row is None:
            task, images = None if without_task else FOLDERS[folder][0], [read(path, size) for path in paths]
            fused = {tone: fuse(fuser, images, task, tone) for tone in ("", *TONES)}
            row = {"settings": settings, "folder": folder, "name": stem, **measure(fused)}
            if out:
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
    parts = [(name, [r for r in rows if r["folder"] == name]) for name in dict.fromkeys(r["folder"] for r in rows)]
    return rows, [line for title, some in (*parts, ("all", rows)) for line in summary(title, some)]
