"""Writes an image with its metadata, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL, convert_depth, icc_channels
from ..image.metadata import Metadata
from .atomic import Inputs, Protected, target_of, write_whole
from .encode import DEPTHS, MAX_SIDE, Dpi, encode
from .exif import upright_exif
from .transfer import decode_srgb
from .xmp import is_own

WRITES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff"}
WRITES |= {".webp": "webp", ".bmp": "bmp"}
MORE_WRITES = {".exr": "exr", ".hdr": "hdr", ".pfm": "pfm", ".ppm": "netpbm", ".pgm": "netpbm", ".pnm": "netpbm"}
MORE_WRITES |= {".dcm": "dicom", ".nii": "nifti"}
"""Formats of single fields, beside those that `--format` offers."""
_LINEAR = ("exr", "hdr")
_ALPHA = ("png", "tiff", "webp", "exr")
_ICC = ("png", "tiff", "jpeg", "webp")
_EXIF = ("png", "tiff", "jpeg", "webp")
_XMP = ("png", "tiff", "jpeg", "webp")
_DPI = ("png", "tiff", "jpeg", "bmp")
_USUAL_DPI = {72.0, 96.0}  # what programs write that know of no resolution


def write_image(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    exif: bytes | None = None,
    icc: bytes | None = None,
    dpi: Dpi = None,
    white: float | None = None,
    quality: int = 95,
    overwrite: bool = False,
    inputs: Protected = (),
    same: bool = False,
    metadata: Metadata | None = None,
    bands: bool = False,
) -> list[str]:
    """Writes an image; the suffix decides on the format.

    Args:
        path: file.
        pixels: (H, W) or (H, W, 1 or 3) in RGB, uint8, uint16 or float32.
        alpha: (H, W), not premultiplied.
        exif: as in `Frame.exif`; sizes and orientation are corrected.
        icc: colour profile.
        dpi: dots per inch, horizontal and vertical.
        white: value that counts as 1.0, for formats with less depth than the pixels; None: full scale.
        quality: of JPEG (4:4:4) and WebP, 1 to 100.
        overwrite: replaces an existing file.
        inputs: files that are never overwritten, even with `overwrite`.
        same: an existing file that holds the same bytes is no error: it stays.
        metadata: XMP and the other blocks, each written where the format has a place for it.
        bands: the channels are bands of a multispectral image: any number, and int16 too, in TIFF. Three bands may go
            to every format.

    Returns:
        What the format could not keep, one sentence each.

    Raises:
        FusionError: the file cannot be written; then no file is left behind or changed.
    """
    name = os.fspath(path)
    kind = writable(name)
    inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
    target_of(name, overwrite, inputs, same)  # before the work of encoding
    pixels = _check_bands(name, kind, pixels) if bands else _check_pixels(name, kind, pixels)
    height, width = pixels.shape[:2]
    notes: list[str] = []
    depths = DEPTHS.get(kind, ("uint8",))
    if bands and kind == "tiff":
        depths = (*depths, "int16")
    if pixels.dtype.name not in depths:
        if depths != ("float32",):
            notes.append(f"{name}: {pixels.dtype.name} rounded to {depths[-1]}, the most that {kind} holds")
        pixels = convert_depth(pixels, depths[-1], white)
    elif kind in ("netpbm", "pfm", "dicom", *_LINEAR) and white not in (None, FULL[pixels.dtype.name]):
        pixels = convert_depth(pixels, pixels.dtype, white)
    if alpha is not None and kind not in _ALPHA:
        notes.append(f"{name}: alpha dropped, {kind} has none")
        alpha = None
    if kind in _LINEAR:
        pixels = decode_srgb(pixels).astype(np.float32)
        notes.append(f"{name}: written as linear light")
    data = pixels
    if alpha is not None:
        data = np.concatenate([pixels, convert_depth(alpha, pixels.dtype)[:, :, None]], axis=2)
    if exif:
        exif, why = _fit_exif(exif, kind, width, height)
        notes += [f"{name}: EXIF dropped, {why}"] if why else []
    if icc and (kind not in _ICC or icc_channels(icc) != pixels.shape[2]):
        why = f"{kind} has none" if kind not in _ICC else f"it is not for {pixels.shape[2]}-channel images"
        notes.append(f"{name}: ICC profile dropped, {why}")
        icc = None
    if dpi and kind not in _DPI and not set(dpi) <= _USUAL_DPI:
        notes.append(f"{name}: resolution ({dpi[0]:g} dpi) dropped, {kind} has none")
    fitting, dropped = _fit_metadata(metadata or Metadata(), kind)
    notes += [f"{name}: {why}" for why in dropped]
    if kind in ("dicom", "nifti"):
        from .medical import encode_medical

        body, more = encode_medical(kind, name, data, metadata or Metadata())
        write_whole(name, body, overwrite=overwrite, inputs=inputs, same=same)
        return notes + [f"{name}: {note}" for note in more]
    write_whole(
        name, encode(kind, data, exif, icc, dpi, quality, fitting, bands), overwrite=overwrite, inputs=inputs, same=same
    )
    return notes


def _check_bands(name: str, kind: str, pixels: np.ndarray) -> np.ndarray:
    """The pixels; FusionError for bands that a file of this kind cannot hold."""
    if kind == "tiff" or (pixels.shape[2] == 3 and pixels.dtype.name in FULL):
        return pixels
    raise FusionError(f"{name}: {kind} cannot hold {pixels.shape[2]} bands of {pixels.dtype}; write .tif")


def _check_pixels(name: str, kind: str, pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3); FusionError for what a file of this kind cannot hold."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0 or pixels.dtype.name not in FULL:
        what = f"{pixels.dtype} of shape {pixels.shape}"
        raise FusionError(f"{name}: cannot write {what}; give (H, W, 1 or 3) uint8, uint16 or float32")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE.get(kind, 1 << 31):
        limit = MAX_SIDE[kind]
        raise FusionError(f"{name}: {width}x{height} is over {kind}'s {limit} pixels a side; write .tif or .png")
    return pixels


def _fit_exif(exif: bytes, kind: str, width: int, height: int) -> tuple[bytes | None, str]:
    """The block with corrected size and orientation, or None and the reason."""
    patched = upright_exif(exif, width, height)
    if patched is None:
        return None, "it is damaged"
    if kind not in _EXIF or (kind == "jpeg" and len(patched) > 65533 - 6):
        return None, f"{kind} has none" if kind not in _EXIF else f"{len(patched)} bytes do not fit into {kind}"
    return patched, ""


def _fit_metadata(metadata: Metadata, kind: str) -> tuple[Metadata, list[str]]:
    """What a file of this kind holds, and what is dropped and why."""
    dropped = []
    if metadata.xmp and (kind not in _XMP or (kind == "jpeg" and len(metadata.xmp) > 65502)):
        if kind in _XMP:
            dropped.append(f"XMP dropped, {len(metadata.xmp)} bytes do not fit into {kind}")
        elif not is_own(metadata.xmp):
            dropped.append(f"XMP dropped, {kind} has none")
        metadata = replace(metadata, xmp=None)
    if metadata.iptc and (kind not in ("jpeg", "tiff") or (kind == "jpeg" and len(metadata.iptc) > 65000)):
        dropped.append(f"IPTC dropped, it does not fit into {kind}")
        metadata = replace(metadata, iptc=None)
    if metadata.text and kind != "png":
        keys = ", ".join(key for key, _ in metadata.text[:5])
        dropped.append(f"PNG text ({keys}) dropped, {kind} has none")
    if metadata.geo and kind != "tiff":
        dropped.append(f"GeoTIFF tags dropped, {kind} has none; write .tif to keep the place on earth")
    if metadata.pixel_um and kind not in ("tiff", "png", "jpeg"):
        dropped.append(f"the size of a pixel dropped, {kind} has none")
    return metadata, dropped


def writable(path: str | os.PathLike[str]) -> str:
    """The format that the suffix of an output path asks for; FusionError with the list if there is none."""
    name, suffix = os.fspath(path), Path(path).suffix.lower()
    known = WRITES | MORE_WRITES
    if name.lower().endswith(".nii.gz"):
        return "nifti"
    if suffix not in known:
        what = suffix or "a file without suffix"
        raise FusionError(f"{name}: cannot write {what}; use one of {', '.join(known)}")
    return known[suffix]
