"""Pansharpening by the classical methods and by fusion models: the tables of docs/pansharpening.md.

    python experiments/pansharpening.py DATA -o OUT [--models gsa,anyfuse] [--scenes 20] [--sets nir,photos,real]

DATA holds nir-epfl/{ir,vis}, natural-bsd100 and pansharpen, here or in train/ and test/. Of the near-infrared scenes
the last ones that have colour count (most of the set are grey photographs); as they are stored the two images of a
scene are up to 120 pixels apart, so they are aligned. The real pair shows each multispectral pixel as 5x5 pixels; they
are made one again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from anyfuse import Fuser
from anyfuse.align.stage import Align, align_frames
from anyfuse.benchmark.pansharpening import MODELS, run_pansharpening
from anyfuse.io.bands import read_all_bands
from anyfuse.io.folders import list_images
from anyfuse.io.frames import read_frames
from anyfuse.io.write import write_image
from anyfuse.pansharpening.wald import reduce_files, reduced, save

RATIO = 4
REAL_RATIO, REAL_ROW, REAL_COLUMN = (
    5,
    4,
    1,
)  # of the real pair: size of a repeated pixel, and where the first one begins


def place(data: Path, name: str) -> Path:
    """The folder of a data set."""
    found = [folder / name for folder in (data, data / "train", data / "test") if (folder / name).is_dir()]
    if not found:
        raise SystemExit(f"{data}: holds no {name}")
    return found[0]


def near_infrared(data: Path, out: Path, count: int) -> Path:
    """The last scenes with colour, four bands, near infrared laid over the photograph where that is sure."""
    root = place(data, "nir-epfl")
    photos = [path for path in list_images(root / "vis") if not read_all_bands(path, 1).is_grey]
    made = 0
    for photo in reversed(photos):
        frames, steps = align_frames(read_frames([photo, root / "ir" / f"{photo.stem}.png"]), Align("homography"))
        if made == count or steps[1].kind == "none":
            continue
        example = reduced(np.concatenate([frame.pixels for frame in frames], axis=2), RATIO)
        save(example, out, photo.stem, overwrite=True)
        made += 1
    return out


def photographs(data: Path, out: Path, count: int) -> Path:
    """Photographs that no model was trained on, three bands."""
    images = list_images(place(data, "natural-bsd100"))
    for image in images[:: len(images) // count][:count]:
        reduce_files([str(image)], str(out), ratio=RATIO, overwrite=True)
    return out


def real(data: Path, out: Path) -> Path:
    """The real pair at its own resolutions, without a reference."""
    root = place(data, "pansharpen")
    pan, ms = (read_all_bands(root / name, 1).pixels for name in ("Test_Pan.JPG", "Test_MS.JPG"))
    rows, columns = ((n - first) // REAL_RATIO for n, first in zip(ms.shape, (REAL_ROW, REAL_COLUMN), strict=False))
    size = slice(REAL_ROW, REAL_ROW + rows * REAL_RATIO), slice(REAL_COLUMN, REAL_COLUMN + columns * REAL_RATIO)
    blocks = ms[size].reshape(rows, REAL_RATIO, columns, REAL_RATIO, 3)
    values = {"pan": pan[size][:, :, :1], "ms": np.rint(blocks.mean((1, 3))).astype(np.uint8)}
    for folder, pixels in values.items():
        write_image(out / folder / "real.tif", pixels, overwrite=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--sets", default="nir,photos,real")
    given = parser.parse_args()
    fusers = {name: Fuser(name) for name in given.models.split(",")}
    for name in given.sets.split(","):
        folder = given.out / name
        if name == "real":
            real(given.data, folder)
        else:
            (near_infrared if name == "nir" else photographs)(given.data, folder, given.scenes)
        print(*run_pansharpening(fusers, folder, folder), sep="\n", flush=True)


if __name__ == "__main__":
    main()
