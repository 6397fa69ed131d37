"""Transforms and hand-picked points in files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..arrays import Tensor, torch
from ..errors import FusionError
from .local import Local, local_of
from .transform import KINDS, Kind, Size, apply, fit

HEADER = ("image", "x", "y", "reference_x", "reference_y")
NEEDED: dict[Kind, int] = {"shift": 1, "similarity": 2, "affine": 3, "homography": 4}  # points of each kind


def read_transforms(path: str | Path, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The matrices of a file, one for each frame: pixels of the reference -> pixels of the frame.

    Args:
        path: JSON file: of `--save-transforms`, the report of one set, or a list of {"matrix": 3 rows of 3 numbers}.
        sizes: width and height of each frame; those of the file, if it has them, must be the same.
    """
    try:
        rows = _rows(path)
        matrices = [torch.tensor(row["matrix"], dtype=torch.float64) for row in rows]
        made_for = [tuple(int(side) for side in row["size"]) if "size" in row else None for row in rows]
    except FusionError:
        raise
    except (ValueError, KeyError, TypeError):
        raise FusionError(f"{path}: has no transforms; give a file of --save-transforms, or a report") from None
    if len(matrices) != len(sizes) or any(m.shape != (3, 3) or not bool(m.isfinite().all()) for m in matrices):
        raise FusionError(f"{path}: has {len(matrices)} transforms for {len(sizes)} images")
    for number, (made, size) in enumerate(zip(made_for, sizes, strict=True), 1):
        if made is not None and made != size:
            was, now = ("x".join(map(str, pair)) for pair in (made, size))
            raise FusionError(f"{path}: its transform {number} is for an image of {was}, and this one has {now}")
    if any(abs(float(torch.linalg.det(m))) < 1e-6 for m in matrices):
        raise FusionError(f"{path}: a transform has no inverse")
    return matrices


def read_locals(path: str | Path, reference: Size) -> list[Local | None]:
    """The local displacements of a file of `read_transforms`, one for each frame; None where a frame has none.

    Args:
        path: JSON file; a transform may have "local", as `Local.as_dict` gives it.
        reference: height and width of the reference, for which they must have been made.
    """
    try:
        found = [local_of(row["local"]) if row.get("local") is not None else None for row in _rows(path)]
    except FusionError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FusionError(f"{path}: its local displacements cannot be read; save the transforms again") from None
    for one in found:
        if one is not None and one.size != reference:
            was, now = (f"{width}x{height}" for height, width in (one.size, reference))
            raise FusionError(f"{path}: its local displacements are for a reference of {was}, and this one has {now}")
    return found


def _rows(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a file, one for each frame."""
    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror})") from None
    return list(data if isinstance(data, list) else data["transforms"] if "transforms" in data else data["aligned"])


def read_points(
    path: str | Path, names: Sequence[str], reference: int, most: Kind = "homography"
) -> list[tuple[Tensor, str, float] | None]:
    """Transforms from pairs of points picked by hand.

    Args:
        path: CSV with the header image,x,y,reference_x,reference_y: a point in pixels of an image, from 0 at the centre
            of the first, and where the reference shows it. image: its number, from 1, or its file name.
        names: of the images.
        reference: index of the reference.
        most: the richest kind. The number of points decides: 1 for a shift, 2, 3, and 4 for a homography.

    Returns:
        For each image its matrix, the kind and the root mean square error in pixels; None where it has no points.
    """
    pairs: dict[int, list[list[float]]] = {}
    rows: csv.DictReader[str] | None = None
    try:
        with open(path, newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or not set(HEADER) <= set(rows.fieldnames):
                raise FusionError(f"{path}: the first line must be {','.join(HEADER)}")
            for line in rows:
                index = _index(str(line["image"]), names, path)
                values = [float(line[k]) for k in HEADER[1:]]
                if not all(map(math.isfinite, values)):
                    raise ValueError("not finite")
                pairs.setdefault(index, []).append(values)
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror})") from None
    except FusionError:
        raise
    except (ValueError, TypeError):
        place = f"line {rows.line_num}" if rows is not None else "a line"
        raise FusionError(f"{path}: {place} has something else than four numbers after the image") from None
    return [_of_points(pairs[k], most) if k in pairs and k != reference else None for k in range(len(names))]


def _index(name: str, names: Sequence[str], path: str | Path) -> int:
    """The image that a line of a table of points means."""
    name = name.strip()
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    fitting = [k for k, full in enumerate(names) if name in (full, Path(full).name, Path(full).stem)]
    if len(fitting) != 1:
        raise FusionError(f"{path}: image {name} is not one of the {len(names)} images; give its number, from 1")
    return fitting[0]


def _of_points(rows: list[list[float]], most: Kind) -> tuple[Tensor, str, float]:
    values = torch.tensor(rows, dtype=torch.float64)
    moving, fixed = values[:, :2], values[:, 2:]
    kinds = [kind for kind in KINDS[: KINDS.index(most) + 1] if NEEDED[kind] <= len(rows)]
    for kind in reversed(kinds):  # points on one line determine less
        matrix = fit(kind, fixed, moving, torch.ones(len(rows)))
        if bool(matrix.isfinite().all()) and abs(float(torch.linalg.det(matrix))) > 1e-3:
            error = (apply(matrix, fixed) - moving).square().sum(1).mean().sqrt()
            return matrix, kind, float(error)
    raise FusionError("the points of an image have no transform; pick points that are not on one line")
