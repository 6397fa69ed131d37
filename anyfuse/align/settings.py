"""What may be chosen of alignment and deghosting. Nothing here computes, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from ..errors import FusionError
from .transform import KINDS, Kind

MODES = ("none", "auto", "tags", *get_args(Kind), "local")
DEGHOST_MODES = ("off", "auto", "on")


@dataclass(frozen=True)
class Align:
    """How images are laid over the reference.

    Raises FusionError for an unknown mode.
    """

    mode: str = "auto"  # none, shift, similarity, affine, homography: the richest to try; auto: any; tags: of cameras;
    # local: a homography and a smooth local displacement on top of it
    transforms: str | None = None  # JSON file whose matrices are used in place of an estimate
    keep_frame: bool = False  # keeps the size of the reference; else all are cut to what all frames show
    points: str | None = None  # CSV file with points picked by hand, in place of an estimate
    save_transforms: str | None = None  # JSON file that the commands write the transforms to
    aligned_out: str | None = None  # folder that the commands write the aligned images to

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise FusionError(f"align '{self.mode}' is not known; give one of {', '.join(MODES)}")
        if self.transforms is not None and self.points is not None:
            raise FusionError("--use-transforms and --points both say how images lie; give one of them")
        if (self.save_transforms is not None or self.aligned_out is not None) and not self.is_on:
            raise FusionError("--save-transforms and --aligned-out need images that are aligned; add --align auto")

    @property
    def most(self) -> Kind:
        """The richest transform to try; homography where the mode names none."""
        return self.mode if self.mode in KINDS else "homography"

    @property
    def is_on(self) -> bool:
        """Whether anything is to be aligned."""
        return self.mode != "none" or self.transforms is not None or self.points is not None


NO_ALIGNMENT, AUTOMATIC = Align("none"), Align()


def as_align(value: str | Align) -> Align:
    """A mode as settings."""
    return value if isinstance(value, Align) else Align(value)


def check_mode(mode: str) -> None:
    """Raises FusionError for an unknown mode."""
    if mode not in DEGHOST_MODES:
        raise FusionError(f"--deghost {mode}: give {', '.join(DEGHOST_MODES)}")
