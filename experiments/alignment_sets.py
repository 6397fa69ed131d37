"""Sets of pairs, motions and measures for `alignment.py`."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from anyfuse.align.full import scene_of
from anyfuse.align.transform import apply
from anyfuse.image.colour import to_luma
from anyfuse.image.frame import Frame
from anyfuse.image.random import uniform
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.read import read_image

KNOWN = {
    "exposures": ("train/mef/under", "train/mef/over"),
    "visible + infrared, RoadScene": ("train/ivif/vis", "train/ivif/ir"),
    "visible + infrared, LLVIP": ("train/ivif-llvip/vis", "train/ivif-llvip/ir"),
    "visible + near infrared": ("train/nir-epfl/vis", "train/nir-epfl/ir"),
    "exposures, MEFB": ("test/mef-mefb/under", "test/mef-mefb/over"),
    "focus": ("test/mff-mfifb/a", "test/mff-mfifb/b"),
}
UNTOUCHED = {
    "exposures": KNOWN["exposures"],
    "exposures, MEFB": KNOWN["exposures, MEFB"],
    "focus": KNOWN["focus"],
    "CT + MRI": ("test/mif-harvard/ct-mri/ct", "test/mif-harvard/ct-mri/mri"),
    "PET + MRI": ("test/mif-harvard/pet-mri/pet", "test/mif-harvard/pet-mri/mri"),
    "SPECT + MRI": ("test/mif-harvard/spect-mri/spect", "test/mif-harvard/spect-mri/mri"),
    "visible + infrared, RoadScene": ("test/ivif-roadscene/vis", "test/ivif-roadscene/ir"),
}
STACKS = {"handheld": "exposure/handheld", "pcb": "focus/pcb", "flies": "focus/flies", "noah28": "focus/noah28"}


def luma(path: Path, side: int = 0) -> Tensor:
    """(H, W) in [0, 1], its longer side made `side` at most."""
    image = to_luma(read_image(path).read())[0]
    factor = min(1.0, side / max(image.shape)) if side else 1.0
    if factor == 1.0:
        return image
    size = [round(v * factor) for v in image.shape]
    return torch.nn.functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]


def motion(height: int, width: int, gen: torch.Generator) -> Tensor:
    """Up to 25 pixels, 3 degrees, 8 % and a little perspective."""
    turn, scale = math.radians(uniform(-3, 3, gen)), uniform(0.92, 1.08, gen)
    matrix = torch.eye(3, dtype=torch.float64)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    matrix[:2, 2] += torch.tensor([uniform(-25, 25, gen), uniform(-25, 25, gen)])
    tilt = torch.eye(3, dtype=torch.float64)
    tilt[2, 0], tilt[2, 1] = uniform(-0.06, 0.06, gen) / width, uniform(-0.06, 0.06, gen) / height
    return matrix @ tilt


def distance(one: Tensor, other: Tensor, height: int, width: int) -> float:
    """Mean over a 9x9 grid."""
    ys, xs = torch.meshgrid(torch.linspace(0, height - 1, 9), torch.linspace(0, width - 1, 9), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    return float((apply(one, points) - apply(other, points)).norm(dim=1).mean())


def pairs_of(data: Path, folders: tuple[str, str], count: int) -> list[tuple[str, Path, Path]]:
    """Name and files of some pairs of a set."""
    pairs = list(pair_by_stem([str(data / one) for one in folders])[0].items())
    return [(name, Path(one), Path(two)) for name, (one, two) in pairs[:: max(1, len(pairs) // count)][:count]]


def at640(frame: Frame) -> Tensor:
    """Luma with a longer side of 640 pixels at most."""
    return scene_of(frame, 640).luma
