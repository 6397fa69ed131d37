"""Blind estimation of the degradations of image files: one by one, or of one scene together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..degradation.estimator import Estimate, estimate_stack
from ..errors import FusionError
from ..image.stack import Stack
from ..io.frames import read_frames


def estimate_files(
    paths: Sequence[str | Path],
    task: str | None = None,
    *,
    scene: bool = False,
    source: Literal["auto", "infrared", "visible"] = "auto",
    white: float | None = None,
) -> list[tuple[list[str], Estimate]]:
    """Estimates the degradations of image files.

    Args:
        paths: the files.
        task: what they are for: ivf, mef, mff or mif; None: estimated for a scene, and not needed for single files.
        scene: the files show one scene, and are estimated together.
        source: kind of single files; auto: grey files are infrared.
        white: white level of 16-bit and float images.

    Returns:
        Names of files and their estimate: one pair for a scene, else one for each file.

    Raises:
        FusionError: a scene of one file, a file that cannot be read, or an unknown task.
    """
    names = [str(path) for path in paths]
    if scene and len(names) < 2:
        raise FusionError("--scene needs two files or more of one scene")
    frames = read_frames(list(names), white)
    estimates = []
    for group, some in [(names, frames)] if scene else [([n], [f]) for n, f in zip(names, frames, strict=True)]:
        infrared = not scene and (source == "infrared" or (source == "auto" and some[0].is_grey))
        estimates.append((group, estimate_stack(Stack(tuple(some)), task, infrared=infrared)))
    return estimates


def estimate_rows(names: Sequence[str], estimate: Estimate) -> list[dict[str, Any]]:
    """Plain values for JSON, a dict for each file: file, role, task, certainty of the task, and faults by name."""
    rows = []
    for name, role, faults in zip(names, estimate.roles, estimate.images, strict=True):
        listed = {
            fault: {
                "probability": round(f.probability, 4),
                "strength": round(f.strength, 3),
                "threshold": round(f.threshold, 3),
                "assumed": f.assumed,
            }
            for fault, f in faults.items()
        }
        certainty = round(estimate.certainty, 4)
        rows.append({"file": name, "role": role, "task": estimate.task, "certainty": certainty, "faults": listed})
    return rows
