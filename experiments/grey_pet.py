"""How much of a grey PET slice is in its fusion with an MRI slice: fused = a MRI + b PET + c where both show tissue.

    python experiments/grey_pet.py DATA

DATA has the folders mri and pet with pairs of one name (Harvard, as in `test/mif-harvard/pet-mri`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from anyfuse import Fuser
from anyfuse.io.read import read_image

MODELS = ("anyfuse", "anyfuse-first", "average", "maximum", "laplacian", "guided", "mertens")
TISSUE = 5 / 255  # luma above which a pixel shows something


def grey(path: Path) -> np.ndarray:
    """(H, W) uint8 luma."""
    planes = read_image(path).read().numpy()
    luma = planes[0] if len(planes) == 1 else np.tensordot((0.299, 0.587, 0.114), planes, 1)
    return np.rint(luma * 255).astype(np.uint8)


def shares(fuser: Fuser, mri: np.ndarray, pet: np.ndarray) -> np.ndarray:
    """(2,) a and b by least squares."""
    fused = fuser([pet, mri]).ravel() / 255
    m, p = mri.ravel() / 255, pet.ravel() / 255
    use = (m > TISSUE) & (p > TISSUE)
    return np.linalg.lstsq(np.stack([m, p, np.ones_like(m)], 1)[use], fused[use], rcond=None)[0][:2]


def main(root: Path) -> None:
    names = sorted(path.name for path in (root / "mri").iterdir())
    pairs = [(grey(root / "mri" / name), grey(root / "pet" / name)) for name in names]
    print(f"| model | share of the MRI | share of the PET |\n| --- | ---: | ---: |  ({len(pairs)} pairs)")
    for model in MODELS:
        fuser = Fuser(model)
        a, b = np.mean([shares(fuser, *pair) for pair in pairs], axis=0)
        print(f"| {model} | {a:.2f} | {b:.2f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
