"""Volumes slice by slice: NIfTI files and DICOM series of one grid into one volume."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import FusionError
from ..io.atomic import target_of, write_whole
from ..io.medical import encode_volume
from ..io.pages import split_name
from ..io.read import count_pages
from ..io.write import writable
from ..result import FusionResult


def is_volume(inputs: Sequence[str], output: str) -> bool:
    """Whether two or more whole volumes are to become one: the output is NIfTI or DICOM, and the inputs have slices."""
    if writable(output) not in ("nifti", "dicom") or len(inputs) < 2 or any(split_name(path)[1] for path in inputs):
        return False
    return all(count_pages(path) > 1 for path in inputs)


def fuse_volume(
    run: Callable[[list[str]], FusionResult], inputs: Sequence[str], output: str, *, overwrite: bool
) -> dict[str, Any]:
    """Fuses slice k of every volume and writes them as one volume; returns the report.

    Args:
        run: fuses images.
        inputs: volumes of one grid.
        output: file to write.
        overwrite: replaces an existing file.

    Raises:
        FusionError: the volumes have different grids, or the file cannot be written.
    """
    start = time.perf_counter()
    target_of(output, overwrite, inputs)
    counts = [count_pages(path) for path in inputs]
    if len(set(counts)) > 1:
        each = ", ".join(f"{path} has {n}" for path, n in zip(inputs, counts, strict=True))
        raise FusionError(f"the volumes have different numbers of slices ({each}); resample them to one grid first")
    slices, notes, seconds = [], dict[str, None](), 0.0
    for k in range(counts[0]):
        result = run([f"{path}[{k}]" for path in inputs])
        slices.append(result.pixels)
        notes |= dict.fromkeys(w.replace(f"[{k}]", "") for w in result.summary.warnings)
        seconds += result.summary.seconds
    frames = result.stack.frames
    affines = [f.metadata.header.affine for f in frames if hasattr(f.metadata.header, "affine")]
    if any(not np.allclose(a, affines[0], atol=1e-3) for a in affines[1:]):
        notes["the volumes lie differently in space (their affines differ); register and resample them first"] = None
    body, more = encode_volume(writable(output), output, slices, frames[result.stack.reference].metadata)
    write_whole(output, body, overwrite=overwrite, inputs=inputs)
    report = result.report | {"output": output, "slices": counts[0], "seconds": round(seconds, 4)}
    report["warnings"] = [*notes, *(f"{output}: {note}" for note in more)]
    for entry in report["inputs"]:
        entry["name"] = split_name(entry["name"])[0]
    return report | {"seconds_with_files": round(time.perf_counter() - start, 4)}
