"""Images in memory as frames and back: arrays, Pillow images, tensors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import Tensor, torch
from ..errors import FusionError
from ..image.frame import FULL, Frame, Store, convert_depth, icc_channels, in_memory
from .geo import check_places
from .levels import Levels, parse_levels, to_frames
from .pages import split_name
from .raster import Raster, Size
from .read import read_rasters


def as_list(images: Sequence[Any]) -> list[Any]:
    """The images one by one; a single image or path instead of a list of them is a FusionError."""
    single = isinstance(images, str | Path | Image.Image | Frame)
    if single or (isinstance(images, np.ndarray | torch.Tensor) and images.ndim < 4):
        raise FusionError("give a list of two or more images, not one")
    if isinstance(images, bytes | dict) or not isinstance(images, Iterable):
        raise FusionError(f"give a list of two or more images, not a {type(images).__name__}")
    return list(images)


def read_frames(
    images: Sequence[Any],
    white: Any = None,
    black: Any = None,
    range: Any = None,
    pages: str | None = None,
    store: Store = in_memory,
    pseudocolour: Any = None,
) -> list[Frame]:
    """Frames of paths and of images in memory, as one set; the same picture given twice is a FusionError.

    Args:
        images: paths, also of several pages as 'stack.tif[3:40]'; images as in `from_arrays`. A path alone stands for
            all pages of its file.
        white: value that counts as 1.0 in 16-bit and float images: one, or one for each image.
        black: value that counts as 0.0, in the same way.
        range: 'auto', 'none' or 'p1,p99', see `levels`.
        pages: choice of pages for every path without one.
        store: where the pixels of files go, one image after the other.
        pseudocolour: colours of grey images, as in `pseudocolour.parse_pseudocolour`.
    """
    given = parse_levels(len(images), white, black, range, pseudocolour=pseudocolour)
    rasters: list[Raster | Frame] = []
    levels: list[Levels] = []
    seen: dict[tuple[Any, ...], str] = {}
    for index, image in enumerate(images):
        level = given[index]
        if isinstance(image, str | os.PathLike):
            found: list[Any] = list(read_rasters(image, pages, len(images) == 1, store))
            for raster in found:
                _check_new(raster, seen)
        else:
            found = [as_raster(image, f"image {index + 1}")]
            level = level if level.range != "auto" else replace(level, range="none")
        rasters += found
        levels += [level] * len(found)
    ready = [r for r in rasters if isinstance(r, Raster)]
    if pages is not None:
        _note_pages(images, ready)
    own = [x for x, r in zip(levels, rasters, strict=True) if isinstance(r, Raster)]
    frames = iter(to_frames(ready, own, store))
    return check_places([next(frames) if isinstance(r, Raster) else r for r in rasters])


def _note_pages(images: Sequence[Any], rasters: Sequence[Raster]) -> None:
    """Notes a choice of pages for all files that does nothing: they have one page each, or name their own."""
    files = {split_name(i)[0] for i in images if isinstance(i, str | os.PathLike) and split_name(i)[1] is None}
    if rasters and not any(r.file in files and r.name != r.file for r in rasters):
        why = "every file has one page" if files else "every file names its own pages"
        rasters[0].warnings = (*rasters[0].warnings, f"--pages does nothing: {why}")


def _check_new(raster: Raster, seen: dict[tuple[Any, ...], str]) -> None:
    """Raises FusionError where this page of this file was read before."""
    file = str(raster.file)
    status = os.stat(file)
    page = raster.name[len(file) :] if raster.name.startswith(file) else raster.name
    key = (status.st_dev, status.st_ino, page)
    if key in seen:
        raise FusionError(f"{raster.name}: is the same file as {seen[key]}; give each image once")
    seen[key] = raster.name


def from_arrays(images: Sequence[Any], white: float | None = None, first: int = 1) -> list[Frame]:
    """Frames from images in memory, each of its own kind.

    numpy: (H, W), (H, W, 1), (H, W, 3), (H, W, 4: RGB and alpha); uint8, uint16, bool or float in [0, 1].
    torch: (H, W), (C, H, W), (1, C, H, W) with C = 1, 3 or 4; float in [0, 1] or uint8.
    PIL: any mode; turned upright as its EXIF says.  Frame: taken as it is.
    first: the number that messages give to images[0].
    """
    out = []
    for index, image in enumerate(images, start=first):
        raster = as_raster(image, f"image {index}")
        levels = [Levels(white, range="none")]
        out.append(to_frames([raster], levels)[0] if isinstance(raster, Raster) else raster)
    return out


def as_raster(image: Any, name: str) -> Raster | Frame:
    """The values of an image in memory; a Frame as it is."""
    if isinstance(image, Frame):
        return image
    if isinstance(image, Image.Image):
        from .pillow import raster_from_pil

        return raster_from_pil(image, name=name)
    if isinstance(image, Tensor):
        array = _dense_on_cpu(image, name)
        shape = tuple(array.shape)
        if array.ndim == 4 and shape[0] == 1:
            array = array[0]
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            array = array.permute(1, 2, 0)
        elif array.ndim != 2:
            layouts = "(H, W), (C, H, W) or (1, C, H, W) with C = 1, 3 or 4"
            raise FusionError(f"{name}: a tensor of shape {shape} is not one image; give {layouts}")
        image = array.numpy()
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise FusionError(f"{name}: cannot take a {kind}; give a path, a PIL image, a numpy array or a tensor")
    if np.ma.is_masked(image):
        raise FusionError(f"{name}: {np.ma.count_masked(image)} of {image.size} values are masked; fill them first")
    image = np.asarray(image)  # a matrix keeps two axes whatever one does
    if image.ndim < 2:
        raise FusionError(f"{name}: shape {image.shape} is no image; give (H, W) or (H, W, 1, 3 or 4)")
    if image.ndim == 3 and image.shape[2] == 4:
        return Raster(image[:, :, :3], image[:, :, 3], name)
    return Raster(image, name=name)


def as_raster_size(image: Any) -> Size | None:
    """Height, width and bytes per pixel of an image in memory, as `as_raster` would see it."""
    if isinstance(image, Frame):
        return image.height, image.width, image.channels * image.pixels.itemsize
    if isinstance(image, Image.Image):
        return image.height, image.width, max(1, len(image.getbands()))
    if isinstance(image, Tensor):
        height, width = image.shape[-2:]
        each = 1 if image.dtype == torch.uint8 else 4
        return int(height), int(width), each * (int(image.shape[-3]) if image.ndim > 2 else 1)
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        each = min(4, image.dtype.itemsize)
        return image.shape[0], image.shape[1], each * (image.shape[2] if image.ndim == 3 else 1)
    return None


def _dense_on_cpu(image: Tensor, name: str) -> Tensor:
    """The tensor dense, on the CPU, in a dtype that numpy has."""
    try:
        array = image.detach()
        if array.is_nested:
            raise FusionError(f"{name}: a nested tensor is several images; give its parts one by one")
        array = array.to_dense() if array.layout != torch.strided else array
        array = array.dequantize() if array.is_quantized else array
        array = array.cpu().resolve_conj().resolve_neg()
        if array.dtype.itemsize == 1 and array.is_floating_point():  # float8
            array = array.float()
    except FusionError:
        raise
    except (RuntimeError, NotImplementedError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise FusionError(f"{name}: a tensor that cannot be read ({reason}); give a dense one with values") from None
    return array.float() if array.dtype == torch.bfloat16 else array


def to_kind(
    fused: np.ndarray,
    like: Any,
    *,
    alpha: np.ndarray | None = None,
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> Any:
    """A result (H, W, C) in the stack's output depth, as the kind of image that `like` is.

    numpy: same number of axes and channels where the colours allow it, float16 and float64 restored.
    torch: same layout, device and float dtype.
    PIL: grey or RGB, with alpha, `exif` and `icc` if given (Pillow has no 16-bit or float RGB: 8-bit then).
    Anything else, as a path: numpy (H, W) or (H, W, C).
    alpha: (H, W), joined where `like` had alpha.
    """
    if isinstance(like, Image.Image):
        return _to_pil(fused, alpha, exif, icc)
    is_tensor = isinstance(like, Tensor)
    if is_tensor:
        axis, rank = (-3 if like.ndim > 2 else None), like.ndim
    else:
        axis, rank = (-1 if getattr(like, "ndim", 2) == 3 else None), getattr(like, "ndim", 2)
    wanted = like.shape[axis] if axis is not None else 1
    if fused.shape[2] == 1 and wanted >= 3:
        fused = fused.repeat(3, axis=2)
    if wanted == 4:
        full = np.full(fused.shape[:2], FULL[fused.dtype.name], fused.dtype)
        alpha = full if alpha is None else convert_depth(alpha, fused.dtype)
        fused = np.concatenate([fused, alpha[:, :, None]], axis=2)
    if is_tensor:
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(fused, 2, 0)))  # (H, W, C) -> (C, H, W)
        if planes.dtype == torch.float32 and like.is_floating_point():
            planes = planes.to(like.dtype)
        if rank == 2 and planes.shape[0] == 1:
            planes = planes[0]
        return (planes[None] if rank == 4 else planes).to(like.device)
    if fused.dtype == np.float32 and isinstance(like, np.ndarray) and like.dtype.kind == "f":
        fused = fused.astype(like.dtype)
    return fused[:, :, 0] if rank == 2 and fused.shape[2] == 1 else fused


def _to_pil(fused: np.ndarray, alpha: np.ndarray | None, exif: bytes | None, icc: bytes | None) -> Image.Image:
    grey = fused.shape[2] == 1
    if fused.dtype != np.uint8 and not (grey and alpha is None):
        fused = convert_depth(fused, np.uint8)
    if alpha is not None:
        fused = np.concatenate([fused, convert_depth(alpha, np.uint8)[:, :, None]], axis=2)
    image = Image.fromarray(np.ascontiguousarray(fused[:, :, 0] if fused.shape[2] == 1 else fused))
    if exif:
        image.info["exif"] = exif
    if icc and icc_channels(icc) == (1 if grey else 3):
        image.info["icc_profile"] = icc
    return image
