"""JPEG (also MPO and radiometric), WebP, BMP, GIF and AVIF, by Pillow."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, WebPImagePlugin

from ..limits import check_pixels
from ..pillow import clear_errors, raster_from_pil
from ..raster import Pages, Raster, Size
from .thermal import radiometric


def open_jpeg(file: BinaryIO, name: str) -> Pages:
    """A JPEG; the pictures of an MPO are its frames, and temperatures come before the picture that shows them."""
    image = _within(JpegImagePlugin.JpegImageFile(file), "jpeg", file, name)
    thermal = radiometric(image, name)
    if thermal is not None:
        return thermal
    count = 1
    with contextlib.suppress(SyntaxError, struct.error, KeyError, TypeError, ValueError, IndexError):
        found = image._getmp()
        count = int(found[0xB001]) if found else 1
    if count < 2:
        return Pages(lambda _: raster_from_pil(image, name=name), size=lambda _: _size(image))
    return Pages(
        lambda page: _frame(name, MpoImagePlugin.MpoImageFile, page),
        count,
        "frames",
        together=False,
        size=lambda _: _size(image),
    )


def _size(image: Any) -> Size:
    """Of a Pillow image that is not loaded; 16-bit modes do not come here."""
    channels = {"1": 1, "L": 1, "LA": 2, "P": 3, "PA": 4, "RGBA": 4}.get(image.mode, 3)
    return image.height, image.width, channels


def _within(image: Any, kind: str, file: BinaryIO, name: str) -> Any:
    """The opened image, if its file can hold what it claims."""
    check_pixels(name, kind, image.width * image.height, os.fstat(file.fileno()).st_size)
    return image


def _frame(name: str, plugin: Any, page: int) -> Raster:
    with clear_errors(name), open(name, "rb") as file:
        if plugin is MpoImagePlugin.MpoImageFile and page == 0:
            return raster_from_pil(JpegImagePlugin.JpegImageFile(file), name=name)
        image = plugin(file)
        image.seek(page)
        return raster_from_pil(image, name=name)


def open_webp(file: BinaryIO, name: str) -> Pages:
    """WebP, also animated."""
    return _animation(WebPImagePlugin.WebPImageFile, file, name, "pages")


def open_gif(file: BinaryIO, name: str) -> Pages:
    """GIF, also animated."""
    return _animation(GifImagePlugin.GifImageFile, file, name, "frames")


def _animation(plugin: Any, file: BinaryIO, name: str, noun: str) -> Pages:
    image = plugin(file)
    image = _within(image, "webp", file, name) if plugin is WebPImagePlugin.WebPImageFile else image
    count = int(image.n_frames)
    if count < 2:
        return Pages(lambda _: raster_from_pil(image, name=name), size=lambda _: _size(image))
    return Pages(lambda page: _frame(name, plugin, page), count, noun, together=False, size=lambda _: _size(image))


def open_bmp(file: BinaryIO, name: str) -> Pages:
    """BMP."""
    image = _within(BmpImagePlugin.BmpImageFile(file), "bmp", file, name)
    return Pages(lambda _: raster_from_pil(image, name=name), size=lambda _: _size(image))


def open_avif(file: BinaryIO, name: str) -> Pages:
    """AVIF, of 8 bits; deeper ones are read in 8 bits, and that is said. Rotation is already applied."""
    head = file.read(1 << 16)
    file.seek(0)
    at = head.find(b"av1C")
    deep = at >= 0 and len(head) > at + 6 and head[at + 6] & 0x40
    notes = (f"{name}: its 10 or 12 bits are read as 8; save it as PNG or TIFF to keep them",) if deep else ()
    with _without_runtime_errors():
        image = AvifImagePlugin.AvifImageFile(file)
        count = int(getattr(image, "n_frames", 1))

    def read(page: int) -> Raster:
        with clear_errors(name), _without_runtime_errors(), open(name, "rb") as again:
            picture = AvifImagePlugin.AvifImageFile(again)
            picture.seek(page)
            return raster_from_pil(picture, name=name, notes=notes)

    return Pages(read, count, "frames", together=False, size=lambda _: _size(image))


@contextlib.contextmanager
def _without_runtime_errors() -> Iterator[None]:
    """What libavif says of damaged files, as the other decoders say it."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(error) from None
