"""Training data in one file: 8-bit luma of every set, roles in order, held-out images marked; each a WebP or plain.

    first line    MAGIC
    8 bytes       length of the header, little-endian
    header        JSON: quality, side, and per set its task, folders, digest of the original files, and images as
                  (offset, length, height, width)
    images        one after the other; `length` = height x width means plain pixels; class maps are PNG

A packed set gives the same batches wherever it lies, and needs no reader of image files but Pillow.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import FusionError
from ..io.atomic import target_of, write_whole
from .batches import DataSet, TrainingData, set_name

MAGIC = b"anyfuse packed data 1\n"


def pack(
    root: str | Path,
    sets: Sequence[DataSet],
    out: str | Path,
    *,
    quality: int = 0,
    side: int = 0,
    overwrite: bool = False,
    log: Callable[[str], None] = print,
) -> Path:
    """Writes the sets below `root` into the file `out`.

    quality: of WebP, 0 keeps pixels as they are. side: longest side of an image, 0 any. overwrite: replaces a file.
    Raises FusionError where `out` cannot be written, before the work.
    """
    out, place = Path(out), 0
    target_of(str(out), overwrite, ())
    header: dict[str, Any] = {"quality": quality, "side": side, "sets": []}
    images: list[bytes] = []

    def put(stack: np.ndarray, streets: bool) -> list[tuple[int, int, int, int]]:
        nonlocal place
        frames = []
        for index, image in enumerate(stack if streets else _shrink(stack, side)):
            images.append(_lossless(image) if streets and index else _encode(image, quality))
            frames.append((place, len(images[-1]), *image.shape))
            place += len(images[-1])
        return frames

    for data_set in sets:
        data = TrainingData(root, [data_set], ordered=True)
        held = data.validation.get(set_name(data_set), [])
        row: dict[str, Any] = {"task": data_set.task, "folders": list(data_set.folders)}
        row |= {"digest": data.manifest, "files": data.files}
        streets = data_set.kind == "streets"
        row["train"] = [put(stack, streets) for stack in data.train[data_set.task][0]]
        row["validation"] = [put(stack, streets) for stack in held]
        header["sets"].append(row)
        name = ", ".join(data_set.folders)
        log(f"{name}: {len(row['train'])} to train on, {len(held)} held out, {place / 1e6:.1f} MB")
    text = json.dumps(header, separators=(",", ":")).encode()
    write_whole(out, [MAGIC + len(text).to_bytes(8, "little") + text, *images], overwrite=overwrite)
    return out


class PackedData(TrainingData):
    """The chosen sets of a packed file, in place of their folders."""

    def __init__(
        self,
        path: str | Path,
        sets: Sequence[DataSet],
        threads: int = 8,
        varied: bool = False,
        lens: bool = False,
    ) -> None:
        self.root, self.ordered, self.varied, self.lens = Path(path), True, varied, lens
        self.train, self.validation, self.set_shares, self.kinds, self.files = {}, {}, {}, {}, 0
        with self.root.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if bytes(mapped[: len(MAGIC)]) != MAGIC:
            raise FusionError(f"{path}: not a file of packed data; `anyfuse data pack` makes one")
        start = len(MAGIC) + 8
        size = int.from_bytes(mapped[len(MAGIC) : start], "little")
        header = json.loads(bytes(mapped[start : start + size]))
        there = {(s["task"], tuple(s["folders"])): s for s in header["sets"]}
        digest = hashlib.sha256(f"quality {header['quality']}, side {header['side']}\n".encode())
        body = mapped[start + size :]

        def stack(frames: list[list[int]]) -> np.ndarray:
            return np.stack([_decode(body[at : at + length], h, w) for at, length, h, w in frames])

        with ThreadPoolExecutor(threads) as pool:
            for data_set in sets:
                packed = there.get((data_set.task, data_set.folders))
                if packed is None:
                    raise FusionError(f"{path}: has no set {', '.join(data_set.folders)} of task '{data_set.task}'")
                self.add(data_set, list(pool.map(stack, packed["train"])))
                if packed["validation"]:
                    self.validation.setdefault(set_name(data_set), []).extend(pool.map(stack, packed["validation"]))
                self.files += packed["files"]
                digest.update(packed["digest"].encode())
        self.manifest = digest.hexdigest()


def _shrink(stack: np.ndarray, side: int) -> np.ndarray:
    """(N, H, W) uint8, its longer side made `side` at most."""
    height, width = stack.shape[1:]
    if not side or max(height, width) <= side:
        return stack
    size = [max(1, round(v * side / max(height, width))) for v in (height, width)]
    small = F.interpolate(torch.from_numpy(stack)[:, None].float(), size, mode="bicubic", antialias=True)[:, 0]
    return small.round().clamp(0, 255).to(torch.uint8).numpy()


def _encode(image: np.ndarray, quality: int) -> bytes:
    """WebP of that quality, or plain pixels where that is off or no smaller."""
    plain = image.tobytes()
    if not quality:
        return plain
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=6)
    small = buffer.getvalue()
    return small if len(small) < len(plain) else plain


def _lossless(image: np.ndarray) -> bytes:
    """PNG of class numbers."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _decode(data: memoryview, height: int, width: int) -> np.ndarray:
    if len(data) == height * width:
        return np.frombuffer(data, np.uint8).reshape(height, width)
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


__all__ = ["PackedData", "pack"]
