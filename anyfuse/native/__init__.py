"""Compiled kernels of what stands around the default model's network, used where they are there and never needed.

`pip install` compiles the C files here where it finds a C compiler, and `python -m anyfuse.native` does so in a clone.
`kernels()` gives the loaded library or None; `why_not()` says why. ANYFUSE_NATIVE=0 in the environment turns them off.
Every function here does what a function of image/ or models/ does with torch, within rounding, for float32 tensors in
the memory of the CPU, without gradients (`takes`).
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Tensor, torch
from .build import HEADERS, SOURCES, library_name, sources_hash

KINDS = {"uint8": 0, "uint16": 1, "float32": 2}
"""Depths of pixels, as the kernels number them."""


class Kernels:
    """A loaded library: `kernels.run(name, *arguments)` calls the variant for this processor."""

    def __init__(self, path: Path) -> None:
        """Raises OSError or AttributeError where it is no such library."""
        self.library = ctypes.CDLL(str(path))
        self.library.anyfuse_sources.restype = ctypes.c_char_p
        self.sources = self.library.anyfuse_sources().decode()
        self.threaded = bool(self.library.anyfuse_threaded())
        self.level = int(self.library.anyfuse_level())
        self.functions: dict[str, Callable[..., int]] = {}

    def run(self, name: str, *arguments: Any) -> int:
        """Calls a kernel: tensors and arrays go as their addresses, numbers as they are, None as a null pointer."""
        function = self.functions.get(name)
        if function is None:
            function = self.functions[name] = getattr(self.library, f"{name}_{self.level}")
        return function(*map(_argument, arguments), ctypes.c_int(torch.get_num_threads()))


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.c_void_p(None) if value is None else ctypes.c_int64(value)


@functools.cache
def load(path: Path | None = None) -> tuple[Kernels | None, str]:
    """The library in a file, by default the one that was built with the package; or None and why not."""
    path = path or SOURCES[0].parent / library_name()
    if not path.exists():
        return None, "not built: no C compiler at installation; python -m anyfuse.native makes them"
    try:
        found = Kernels(path)
    except (OSError, AttributeError) as error:
        return None, f"cannot be loaded: {error}"
    if all(source.exists() for source in SOURCES + HEADERS) and found.sources != sources_hash():
        return None, "built from other sources; python -m anyfuse.native makes them anew"
    return found, ""


def kernels() -> Kernels | None:
    """The kernels in use, or None."""
    return None if os.environ.get("ANYFUSE_NATIVE") == "0" else load()[0]


def why_not() -> str:
    """Why no kernels are in use; '' where they are."""
    return "turned off by ANYFUSE_NATIVE=0" if os.environ.get("ANYFUSE_NATIVE") == "0" else load()[1]


def takes(*tensors: Tensor) -> Kernels | None:
    """The kernels, where they can work on all of these tensors: float32, dense, on the CPU, without gradients."""
    if torch.is_grad_enabled() or torch.jit.is_tracing():
        return None
    for x in tensors:
        if type(x) is not Tensor or x.dtype != torch.float32 or x.device.type != "cpu" or not x.is_contiguous():
            return None
    return kernels()


def check_even(*sides: int) -> None:
    """Raises ValueError for a side that two does not divide: kernels would read beyond the memory."""
    if any(side % 2 for side in sides):
        raise ValueError(f"features of {sides[0]}x{sides[1]} cannot be halved; pad the sources to the model's stride")


def reduce(found: Kernels, x: Tensor) -> Tensor:
    """`image.pyramid.reduce`: (B, C, H, W) with even H, W -> (B, C, H/2, W/2)"""
    b, c, h, w = x.shape
    check_even(h, w)
    out = x.new_empty(b, c, h // 2, w // 2)
    found.run("reduce", x, b * c, h, w, out)
    return out


def expand(found: Kernels, x: Tensor) -> Tensor:
    """`image.pyramid.expand`: (B, C, H, W) -> (B, C, 2H, 2W)"""
    b, c, h, w = x.shape
    out = x.new_empty(b, c, 2 * h, 2 * w)
    found.run("expand", x, b * c, h, w, out)
    return out


def has_specks(found: Kernels, plane: Tensor, limit: float) -> bool:
    """Whether a pixel of planes (..., H, W) stands out by more than `limit` from all eight around it, and by more than
    these differ; H and W at least 3."""
    h, w = plane.shape[-2:]
    return bool(found.run("has_specks", plane, plane.numel() // (h * w), h * w, h, w, limit))


def luma_chroma(found: Kernels, pixels: np.ndarray, white: float, out: Tensor, rgb: bool = False) -> None:
    """Pixels (h, w, 3), rows dense, `white` as 1.0 -> out (3, h, w): Y, Cb and Cr as `image.colour.to_luma_chroma`, or
    R, G and B."""
    h, w, _ = pixels.shape
    pitch = pixels.strides[0] // pixels.itemsize
    found.run("luma_chroma", pixels, KINDS[pixels.dtype.name], h, w, pitch, float(white), int(rgb), out)


def stem_input(found: Kernels, luma: Tensor, low: Tensor, detail: float) -> Tensor:
    """What `models.anyfuse.FoldedStem` sees: luma (B, C, H, W) and its next Gaussian level (B, C, H/2, W/2), plane 0 of
    each -> (B, 8, H/2, W/2), channels last."""
    b, c, h, w = luma.shape
    check_even(h, w)
    out = luma.new_empty(b, h // 2, w // 2, 8)
    found.run("stem_input", luma, c * h * w, low, c * (h // 2) * (w // 2), b, h, w, detail, out)
    return out.permute(0, 3, 1, 2)


def blend_level(found: Kernels, fine: Tensor, low: Tensor, weights: Tensor, coarse: Tensor) -> Tensor:
    """fine (N, C, h, w) and low (N, C, h/2, w/2), weights (N, h, w) or (N, h/2, w/2), what is fused so far
    (C, h/2, w/2) -> fused (C, h, w): `models.anyfuse.Anyfuse._blend` of one band and a step of `collapse`."""
    n, c, h, w = fine.shape
    check_even(h, w)
    out = fine.new_empty(c, h, w)
    found.run("blend_level", fine, low, weights, coarse, n, c, h, w, int(weights.shape[-1] != w), out)
    return out


def bound(found: Kernels, fused: Tensor, sources: Tensor, near: bool, share: Tensor | None) -> None:
    """Bounds fused (h, w), in place, by plane 0 of sources (N, C, h, w): `models.anyfuse.Anyfuse._bound`."""
    n, c, h, w = sources.shape
    found.run("bound", fused, sources, n, c * h * w, h, w, int(near), share)


def takes_features(*features: Tensor) -> Kernels | None:
    """As `takes`, for features (N, C, h, w) with the channels last."""
    return takes(*(x.permute(0, 2, 3, 1) for x in features))


def _lanes(weight: Tensor) -> tuple[Tensor, int]:
    """A 1x1 convolution's (C', C, 1, 1) as (C, lanes): transposed, and filled with zeros to a multiple of 16."""
    matrix = weight.detach().flatten(1).t()
    lanes = -(-matrix.shape[1] // 16) * 16
    return torch.nn.functional.pad(matrix, (0, lanes - matrix.shape[1])).contiguous(), lanes


MOST_LANES = 48


def mix(found: Kernels, x: Tensor, weight: Tensor, own: Tensor, stride: int, residual: bool) -> None:
    """`models.anyfuse.SetConv` after its convolution: x (N, C, h, w), weight (C', 2C, 1, 1) of mean and maximum, C' up
    to `MOST_LANES`; own (N, C', h/stride, w/stride) becomes relu(own + shared), with `residual` plus x."""
    n, c, h, w = x.shape
    if stride == 2:
        check_even(h, w)
    matrix, lanes = _lanes(weight)
    found.run("mix", x, matrix, own, n, h, w, c, own.shape[1], lanes, stride, int(residual))


def head(found: Kernels, x: Tensor, weight: Tensor, normalised: bool) -> Tensor:
    """`models.anyfuse.Head.maps`: x (N, C, h, w), weight (M, C, 1, 1), M up to `MOST_LANES` -> (N, M, h, w)"""
    n, c, h, w = x.shape
    matrix, lanes = _lanes(weight)
    out = x.new_empty(n, len(weight), h, w)
    found.run("head", x, matrix, n, h, w, c, len(weight), lanes, int(normalised), out)
    return out


def up_add(found: Kernels, low: Tensor, skip: Tensor) -> Tensor:
    """low (N, C, h, w), bilinear at twice the size, plus skip (N, C, 2h, 2w)"""
    n, c, h, w = low.shape
    if skip.shape != (n, c, 2 * h, 2 * w):
        raise ValueError(f"features of {h}x{w} doubled do not fit {skip.shape[2]}x{skip.shape[3]}; pad the sources")
    out = torch.empty_like(skip)
    found.run("up_add", low, skip, n, h, w, c, out)
    return out


def fine_weights(
    found: Kernels, maps: Tensor, coarse: Tensor, limit: float, margin: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What the finest head says, maps (N, 18, h, w), and the logits above, coarse (N, h/2, w/2) -> the weights of
    `models.anyfuse.Anyfuse._fine`: (N, 2h, 2w) of bands 0 and 1, (N, h, w) of band 2."""
    n, _, h, w = maps.shape
    check_even(h, w)
    logits, two = maps.new_empty(n, h, w), maps.new_empty(n, h, w)
    one, zero = maps.new_empty(n, 2 * h, 2 * w), maps.new_empty(n, 2 * h, 2 * w)
    found.run("fine_weights", maps, coarse, n, h, w, float(limit), float(margin), logits, two, one, zero)
    return zero, one, two


def join_round(found: Kernels, fused: Tensor, white: float, pixels: np.ndarray) -> bool:
    """fused (1 or 3, h, w), Y, Cb and Cr, rows dense -> pixels (h, w, 1 or 3): `image.colour.join` and
    `Stack.quantise`. False where a value is no number."""
    c, h, w = fused.shape
    stride, pitch, _ = fused.stride()
    out_pitch, kind = pixels.strides[0] // pixels.itemsize, KINDS[pixels.dtype.name]
    return not found.run("join_round", fused, c, h, w, pitch, stride, float(white), kind, pixels, out_pitch)


def png_filter(found: Kernels, rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """`io.encode._png_filter`: rows (h, n) and the one above (1, n), uint8, bytes a pixel -> (h, 1 + n)"""
    rows, above = np.ascontiguousarray(rows), np.ascontiguousarray(above)
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    found.run("png_filter", rows, above, len(rows), rows.shape[1], step, out)
    return out


SAMPLINGS = {"bilinear": "sample_linear", "bicubic": "sample_cubic"}
"""Modes of `grid_sample` and their kernels."""


def grid_sample(found: Kernels, planes: Tensor, points: Tensor, mode: str, border: bool) -> Tensor:
    """`torch.nn.functional.grid_sample`: planes (B, C, H, W), each set dense, at points (B, h, w, 2) -> (B, C, h, w).

    border: beyond the planes their border counts, else zeros.
    """
    b, c, h, w = planes.shape
    out = planes.new_empty(b, c, *points.shape[1:3])
    for one, places, values in zip(planes, points, out, strict=True):
        found.run(SAMPLINGS[mode], one, c, h, w, places, places.numel() // 2, int(border), values)
    return out


def low_pass(found: Kernels, x: Tensor, logits: Tensor, window: Tensor) -> Tensor:
    """`models.tita.oaf.OAF._low`: x (B, H, W, C), logits (B, H, W, 9), window (9,) -> (B, H, W, C)"""
    out = torch.empty_like(x)
    found.run("low_pass", x, logits, window, *x.shape, out)
    return out
