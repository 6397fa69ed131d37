"""Pictures for a browser: 8-bit arrays in files, from which any part is sent at any size. Needs no torch."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .limits import Refused

BLOCK = 1 << 22  # values converted at a time
ALL_PIXELS = 256_000_000  # of the views of all inputs of a job together; beyond that they are reduced
LONGEST = 4096  # pixels of the longer side of a picture that is sent
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def save_view(path: Path, pixels: np.ndarray, white: float, alpha: np.ndarray | None = None, step: int = 1) -> None:
    """Writes an image as 8-bit array with its alpha as last channel.

    Args:
        path: file, *.npy.
        pixels: (H, W) or (H, W, 1 or 3) of any depth.
        white: the value that is shown as white.
        alpha: (H, W), full scale as its dtype has it, or None.
        step: takes every n-th pixel of both axes.
    """
    pixels = (pixels[:, :, None] if pixels.ndim == 2 else pixels)[::step, ::step]
    alpha = None if alpha is None else alpha[::step, ::step]
    height, width, channels = pixels.shape
    shape = (height, width, channels + (alpha is not None))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    full = 1.0 if alpha is None or alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    rows = max(1, BLOCK // max(1, width * channels))
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        out[part, :, :channels] = to_bytes(pixels[part], white)
        if alpha is not None:
            out[part, :, channels] = to_bytes(alpha[part], full)
    out.flush()


def to_bytes(values: np.ndarray, white: float) -> np.ndarray:
    """Values with `white` as 1.0 -> 0..255, rounded half up."""
    if values.dtype == np.uint8 and white == 255:
        return values
    return np.floor(np.clip(values.astype(np.float32) * (255.0 / white), 0, 255) + 0.5).astype(np.uint8)


def step_for(count: int, height: int, width: int) -> int:
    """By how much `count` views of one size are reduced so that they stay within `ALL_PIXELS`."""
    step = 1
    while count * height * width > ALL_PIXELS * step * step:
        step += 1
    return step


@dataclass(frozen=True)
class Part:
    """Which part of a picture is wanted, in its pixels, and how large; None: all of it, as it is."""

    x: int = 0
    y: int = 0
    width: int | None = None
    height: int | None = None
    longest: int | None = None  # of the longer side of what is sent


def picture(path: Path, part: Part, step: int = 1) -> bytes:
    """A part of a view as PNG, in the colour profile beside it.

    Args:
        path: of the view, *.npy.
        part: in pixels of the image before it was reduced by `step`.
        step: as in `save_view`.

    Raises:
        Refused: a part outside the picture, or a view that was removed.
    """
    try:
        view = np.load(path, mmap_mode="r")
        profile = path.with_suffix(".icc")
        icc = profile.read_bytes() if profile.exists() else None
    except FileNotFoundError:
        raise Refused("this picture is no longer here; fuse again", 404) from None
    height, width = view.shape[0] * step, view.shape[1] * step
    right = width if part.width is None else part.x + part.width
    bottom = height if part.height is None else part.y + part.height
    rows = slice(max(0, part.y) // step, -(-min(bottom, height) // step))
    columns = slice(max(0, part.x) // step, -(-min(right, width) // step))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise Refused(f"x {part.x}, y {part.y}: lies outside the picture of {width}x{height}")
    longest = min(part.longest or LONGEST, LONGEST)
    return _encode(_shrunk(view[rows, columns], longest), icc)


def _shrunk(block: np.ndarray, longest: int) -> Image.Image:
    """The block with its longer side at most `longest`: by whole numbers first, which needs little memory."""
    side = max(block.shape[:2])
    jump = max(1, side // (4 * longest))
    block = np.ascontiguousarray(block[::jump, ::jump])
    mode = MODES[block.shape[2]]
    image = Image.fromarray(block[:, :, 0] if mode == "L" else block, mode)
    if max(image.size) > longest:
        scale = longest / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    return image


def _encode(image: Image.Image, icc: bytes | None) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, icc_profile=icc)
    return file.getvalue()


def histogram(view: np.ndarray, channels: int) -> list[list[int]]:
    """How many pixels have each of the 256 values, a list for each channel; of large views every n-th row."""
    rows = view[:: max(1, view.size // (1 << 25))]
    return [np.bincount(rows[:, :, c].ravel(), minlength=256).tolist() for c in range(channels)]


def reduced(view: np.ndarray, channels: int, most: int, when: Callable[[int], None] | None = None) -> np.ndarray:
    """(h, w, channels) uint8: means of squares of k x k pixels, so that at most `most` are left; `when` hears k."""
    height, width = view.shape[:2]
    k = 1
    while (height // k) * (width // k) > most:
        k += 1
    if when is not None:
        when(k)
    if k == 1:
        return np.ascontiguousarray(view[:, :, :channels])
    rows = []
    for top in range(0, height - k + 1, k):
        strip = view[top : top + k, : width // k * k, :channels].astype(np.float32)
        rows.append(strip.reshape(k, width // k, k, channels).mean(axis=(0, 2)))
    return np.rint(np.stack(rows)).astype(np.uint8)
