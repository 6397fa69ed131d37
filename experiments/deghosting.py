"""Deghosting measured: python experiments/deghosting.py --data DATA [--model anyfuse] [--out FOLDER] [--only still]

pasted   a textured disc moves through still brackets. It is exposed as the bracket is: its values go through the maps
         from the reference to each frame. Truth: the fusion with the disc at the reference's place in all frames. PSNR
         over all places of the disc, without and with deghosting.
still    exposure and focus pairs in which little moves: the share that is replaced, and what that does to metrics.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anyfuse import Fuser
from anyfuse.align import deghost as part
from anyfuse.align.brightness import match_brightness
from anyfuse.align.intensity_map import fit_maps, map_frame
from anyfuse.image.colour import to_luma
from anyfuse.image.frame import make_frame
from anyfuse.io.frames import from_arrays, read_frames
from anyfuse.io.write import write_image
from anyfuse.metrics import score_batch

COLOURS = ((0.50, 0.35, 0.25), (0.20, 0.25, 0.40), (0.75, 0.72, 0.70))
METRICS = ("mi", "vif", "qabf", "ssim", "cc", "scd")


def pasted(
    images: list[np.ndarray], colour: tuple[float, float, float]
) -> tuple[list[np.ndarray], list[list[np.ndarray]], np.ndarray]:
    """Frames with the disc at rising places, for each of these frames with it at that place, and all places (H, W)."""
    frames = [make_frame(image, name=str(k)) for k, image in enumerate(images)]
    lit = [frame.brightness for frame in frames]
    small = [part._reduced(frame) for frame in frames]
    base = part.best_exposed(small, lit)
    height, width = images[0].shape[:2]
    radius = max(10, height // 14)
    rows, columns = np.mgrid[:height, :width]
    texture = 1 + 0.3 * np.sin(columns / 3.0) * np.cos(rows / 4.0)
    disc = torch.tensor(colour)[:, None, None] * torch.from_numpy(texture).float().clamp(0, 1.3)
    every = torch.ones(small[0].shape[1:], dtype=torch.bool)
    moved, true, union = [], [[] for _ in images], np.zeros((height, width), bool)
    for k, image in enumerate(images):
        shown = disc.clamp(0, 1)
        if k != base:
            shown = map_frame(shown, fit_maps(small[base], small[k], every))
        for place, out in ((k, moved), *enumerate(true)):
            centre = width * 0.3 + place * radius * 2.5
            cover = np.clip(radius - np.hypot(columns - centre, (rows - height * 0.6) / 1.6) + 0.5, 0, 1)[:, :, None]
            union |= cover[:, :, 0] > 0.5
            mixed = image * (1 - cover) + 255 * shown.permute(1, 2, 0).numpy() * cover
            out.append(np.floor(mixed + 0.5).clip(0, 255).astype(np.uint8))
    return moved, true, union


def shown_of(moved: list[np.ndarray], ghosts: list[dict[str, Any]]) -> int:
    """Which frame shows the moved things, by the report: the one that others come from and that stays as it is."""
    frames = from_arrays(moved)
    names = {ghost["source"] for ghost in ghosts} - {ghost["name"] for ghost in ghosts}
    found = [k for k, frame in enumerate(frames) if frame.name in names]
    if len(found) == 1:
        return found[0]
    return part.best_exposed([part._reduced(frame) for frame in frames], [frame.brightness for frame in frames])


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a[where].astype(float) - b[where]).mean(), 1e-9)))


def run_pasted(fuser: Fuser, data: Path, out: Path | None) -> None:
    folders = [f for s in ("mef-hdrps", "mef-merianos") for f in sorted((data / "train" / s).iterdir())]
    table = []
    for index, folder in enumerate(folders):
        images = sorted((np.asarray(Image.open(f).convert("RGB")) for f in folder.iterdir()), key=np.mean)
        images = [images[k] for k in np.linspace(0, len(images) - 1, min(5, len(images))).round().astype(int)]
        moved, true, where = pasted(images, COLOURS[index % 3])
        before, done = (fuser.run(moved, align="none", deghost=mode) for mode in ("off", "auto"))
        truth = fuser(true[shown_of(moved, done.report.get("deghosted") or [])], align="none", deghost="off")
        before, after = before.pixels, done.pixels
        table.append((psnr(before, truth, where), psnr(after, truth, where)))
        print(f"pasted {folder.name}: {table[-1][0]:.1f} -> {table[-1][1]:.1f} dB", flush=True)
        if out is not None:
            write_image(out / f"{folder.name}.png", np.concatenate([before, after, truth], 1), overwrite=True)
    values = np.array(table)
    print(f"pasted: mean {values.mean(0).round(1)}, median {np.median(values, 0).round(1)}, {len(values)} brackets")


def run_still(fuser: Fuser, data: Path) -> None:
    for name, a, b in (("mef-mefb", "under", "over"), ("mff-mfifb", "a", "b")):
        root, shares, changes = data / "test" / name, [], []
        for file in sorted((root / a).iterdir()):
            other = next((f for f in (root / b).iterdir() if f.stem == file.stem), None)
            if other is None:
                continue
            frames = match_brightness(read_frames([str(file), str(other)]))[0]  # as the pipeline does it before
            images = [frame.pixels for frame in frames]
            done = part.deghost(frames)
            shares.append(sum(g.replaced for g in done.ghosts if g.trusted))
            if shares[-1]:
                sources = torch.stack([to_luma(f.read())[0] for f in frames])[None] * 255
                off, auto = (score(fuser, images, mode, sources) for mode in ("off", "auto"))
                changes.append([auto[m] - off[m] for m in METRICS])
        mean = np.array(changes).sum(0) / len(shares) if changes else np.zeros(len(METRICS))
        print(f"still {name}: {len(shares)} pairs, {len(changes)} changed, replaced {np.mean(shares):.4f} in the mean")
        print("  change of the mean metrics:", dict(zip(METRICS, mean.round(5).tolist(), strict=True)))


def score(fuser: Fuser, images: list[np.ndarray], mode: str, sources: Tensor) -> dict[str, float]:
    fused = (
        torch.from_numpy(np.atleast_3d(fuser(images, align="none", deghost=mode)).astype(np.float32)).permute(2, 0, 1)
        / 255
    )
    values = score_batch(to_luma(fused) * 255, sources, METRICS)
    return {name: float(value) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="anyfuse")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=("pasted", "still"), help="one of both tables")
    options = parser.parse_args()
    fuser = Fuser(options.model)
    if options.only != "still":
        run_pasted(fuser, options.data, options.out)
    if options.only != "pasted":
        run_still(fuser, options.data)


if __name__ == "__main__":
    main()
