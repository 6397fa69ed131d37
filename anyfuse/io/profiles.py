"""Colours of several ICC profiles in one: that of the result."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..image.frame import Frame, Store, icc_channels, in_memory
from ..runtime import release
from .transfer import decode_srgb

_STEPS = 33  # of the table that carries 16-bit and float colours
_SAME = 1.5  # levels of 255 by which two profiles may differ and still count as one


def to_one_profile(frames: Sequence[Frame], reference: int, store: Store = in_memory) -> list[Frame]:
    """The frames in the profile that the result gets; a colour image without a profile counts as sRGB.

    A grey frame with a profile gets the curve of the result's, sRGB if that has none; one without stays as it is. A
    frame whose profile cannot be used stays as it is, and says so. What is converted goes where `store` puts it.
    """
    coloured = [f for f in frames if f.channels == 3]
    if not any(f.icc for f in frames) or not -len(frames) <= reference < len(frames):
        return list(frames)
    first = frames[reference]
    grey_target = first.icc
    if coloured and first.channels == 1:
        grey_target = next((f.icc for f in coloured if f.icc), None)
    frames = [_with_curve(f, grey_target, store) for f in frames]
    if not any(f.icc for f in coloured):
        return list(frames)
    target = first.icc if first.channels == 3 else next((f.icc for f in coloured if f.icc), None)
    if all((f.icc or None) == target for f in coloured):
        return list(frames)
    if target is not None and icc_channels(target) != 3:
        return list(frames)
    return [f if f.channels == 1 or f.icc == target else _converted(f, target).stored(store) for f in frames]


def _with_curve(frame: Frame, target: bytes | None, store: Store) -> Frame:
    """A grey frame that has a profile, with the curve of the target's; others as they are."""
    if frame.channels != 1 or frame.icc is None or frame.icc == target or icc_channels(frame.icc) != 1:
        return frame
    own, wanted = _tone(frame.icc), decode_srgb(_AXIS) if target is None else _tone(target)
    if own is None or wanted is None:
        note = f"{frame.name}: its ICC profile or that of the result cannot be used; its grey values stay as they are"
        return replace(frame, warnings=(*frame.warnings, note))
    table = np.interp(own, wanted, _AXIS)
    if np.abs(table - _AXIS).max() * 255 <= _SAME:
        return replace(frame, icc=target)
    pixels = np.empty_like(frame.pixels)
    step = max(1, (1 << 21) // max(1, frame.pixels[:1].size))
    for top in range(0, frame.height, step):
        block = np.interp(frame.pixels[top : top + step] / frame.white, _AXIS, table) * frame.white
        release(frame.pixels)
        pixels[top : top + step] = block if pixels.dtype.kind == "f" else np.floor(block + 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = "sRGB" if target is None else ImageCms.getProfileName(_profile(target)).strip() or "the result's profile"
    note = f"{frame.name}: grey values converted from the curve of its ICC profile to that of {name}"
    return replace(frame, pixels=pixels, icc=target, warnings=(*frame.warnings, note)).stored(store)


def _tone(icc: bytes) -> np.ndarray | None:
    """Linear light of the 65536 values of a grey profile, or of green in one of curves and matrix."""
    tags = _tags(icc)
    if b"kTRC" in tags:
        return _curve(tags[b"kTRC"])
    parts = _parts(icc)
    return None if parts is None else parts[1][1]


def _converted(frame: Frame, target: bytes | None) -> Frame:
    if frame.icc is not None and icc_channels(frame.icc) != 3:
        return frame
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source, wanted = _profile(frame.icc), _profile(target)
            transform: Any = ImageCms.buildTransform(
                source,
                wanted,
                "RGB",
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            table = _table(transform)
            names = [ImageCms.getProfileName(p).strip() or "an unnamed profile" for p in (source, wanted)]
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        note = f"{frame.name}: its ICC profile or that of the result cannot be used; its colours stay as they are"
        return replace(frame, warnings=(*frame.warnings, note))
    names = ["sRGB" if icc is None else name for icc, name in zip((frame.icc, target), names, strict=True)]
    if float(np.abs(table - _identity()).max()) <= _SAME:
        return replace(frame, icc=target)
    pixels = _exactly(frame, transform) if frame.pixels.dtype == np.uint8 else _by_table(frame, source, wanted, table)
    note = f"{frame.name}: colours converted from {names[0]} to {names[1]}, the profile of the result"
    return replace(frame, pixels=pixels, icc=target, warnings=(*frame.warnings, note))


def _profile(icc: bytes | None) -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB") if icc is None else io.BytesIO(icc))


def _identity() -> np.ndarray:
    """(33, 33, 33, 3) colours from 0 to 255."""
    axis = np.linspace(0.0, 255.0, _STEPS)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)


def _table(transform: Any) -> np.ndarray:
    """What becomes of the colours of `_identity`, through LittleCMS."""
    grid = np.rint(_identity()).astype(np.uint8).reshape(_STEPS * _STEPS, _STEPS, 3)
    image = ImageCms.applyTransform(Image.fromarray(grid), transform)
    difference = np.asarray(image).reshape(_STEPS, _STEPS, _STEPS, 3).astype(np.float64) - grid.reshape(
        _STEPS, _STEPS, _STEPS, 3
    )
    return _identity() + difference


def _exactly(frame: Frame, transform: Any) -> np.ndarray:
    out = np.empty_like(frame.pixels)
    step = max(1, (1 << 22) // max(1, frame.pixels[:1].size))
    for top in range(0, frame.height, step):
        block = Image.fromarray(np.ascontiguousarray(frame.pixels[top : top + step]))
        out[top : top + step] = np.asarray(ImageCms.applyTransform(block, transform))
        release(frame.pixels)
    return out


def _by_table(frame: Frame, source: Any, wanted: Any, table: np.ndarray) -> np.ndarray:
    """16-bit and float colours. Curves and matrix where both profiles have them, else the table, trilinear."""
    white = frame.white
    curves = matrix_of(source, wanted)
    out = np.empty_like(frame.pixels)
    step = max(1, (1 << 19) // max(1, frame.pixels[:1].size))
    for top in range(0, frame.height, step):
        block = frame.pixels[top : top + step].astype(np.float64) / white
        release(frame.pixels)
        block = curves(block) if curves is not None else trilinear(table / 255.0, block)
        block = np.clip(block, 0, 1) * white
        out[top : top + step] = block if frame.pixels.dtype.kind == "f" else np.floor(block + 0.5)
    return out


def trilinear(table: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Values of a table (S, S, S, 3) at colours (..., 3) in [0, 1]."""
    places = np.clip(colours, 0, 1) * (len(table) - 1)
    low = np.minimum(places.astype(np.int64), len(table) - 2)
    part = places - low
    total = np.zeros(colours.shape)
    for corner in range(8):
        bits = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        at = low + bits
        weight = np.where(bits, part, 1 - part).prod(-1, keepdims=True)
        total += weight * table[at[..., 0], at[..., 1], at[..., 2]]
    return total


def matrix_of(source: Any, wanted: Any) -> Any:
    """Colours (..., 3) in [0, 1] -> the same in the other profile; None where one has no curves and matrix."""
    first, second = _parts(source.tobytes()), _parts(wanted.tobytes())
    if first is None or second is None:
        return None
    (matrix, curves), (back, others) = first, second
    both = np.linalg.inv(back) @ matrix

    def convert(colours: np.ndarray) -> np.ndarray:
        linear = np.stack([np.interp(colours[..., k], _AXIS, curves[k]) for k in range(3)], -1)
        light = np.clip(linear @ both.T, 0, 1)
        return np.stack([np.interp(light[..., k], others[k], _AXIS) for k in range(3)], -1)

    return convert


_AXIS = np.linspace(0.0, 1.0, 65536)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """The tags of an ICC profile."""
    found = {}
    for k in range(min(int.from_bytes(icc[128:132], "big"), 100)):
        entry = icc[132 + 12 * k : 144 + 12 * k]
        at, size = int.from_bytes(entry[4:8], "big"), int.from_bytes(entry[8:12], "big")
        found[entry[:4]] = icc[at : at + size]
    return found


def _parts(icc: bytes) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """The matrix to XYZ and the three curves of an ICC profile, or None where it is made otherwise."""
    tags = _tags(icc)
    if b"A2B0" in tags or not all(c + k in tags for c in (b"r", b"g", b"b") for k in (b"XYZ", b"TRC")):
        return None
    columns = [np.frombuffer(tags[c + b"XYZ"][8:20], ">i4") / 65536.0 for c in (b"r", b"g", b"b")]
    curves = [_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")]
    if any(c is None for c in curves):
        return None
    matrix = np.stack(columns, 1)
    return None if abs(np.linalg.det(matrix)) < 1e-6 else (matrix, [c for c in curves if c is not None])


def _curve(tag: bytes) -> np.ndarray | None:
    """Linear light of the 65536 values of an ICC curve, rising."""
    x = _AXIS
    if tag[:4] == b"curv":
        count = int.from_bytes(tag[8:12], "big")
        if count == 0:
            return x
        values = np.frombuffer(tag[12 : 12 + 2 * count], ">u2").astype(np.float64)
        if len(values) != count:
            return None
        y = x ** (values[0] / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), values / 65535)
    elif tag[:4] == b"para":
        kind = int.from_bytes(tag[8:10], "big")
        needs = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(kind)
        p = np.frombuffer(tag[12 : 12 + 4 * (needs or 0)], ">i4") / 65536.0
        if needs is None or len(p) != needs:
            return None
        g, a, b, c, d, e, f = (float(p[k]) if k < len(p) else 0.0 for k in range(7))
        if kind == 0:
            y = x**g
        else:
            power = np.maximum(a * x + b, 0) ** g
            y = {
                1: np.where(x >= -b / a, power, 0),
                2: np.where(x >= -b / a, power + c, c),
                3: np.where(x >= d, power, c * x),
                4: np.where(x >= d, power + e, c * x + f),
            }[kind]
    else:
        return None
    return np.maximum.accumulate(np.clip(y, 0, 1))
