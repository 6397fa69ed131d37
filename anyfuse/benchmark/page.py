"""Pages in HTML from the templates in pages/, by Jinja2; every value is escaped."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..io.read import read_image

PNG_BYTES = 1_500_000


@dataclass(frozen=True)
class Pictures:
    """Pictures of one scene side by side."""

    name: str
    figures: list[tuple[str, str]]  # what each is, and the image as an address


def render(template: str, **values: Any) -> bytes:
    """The page of a template with these values, in UTF-8."""
    page = _environment().get_template(template).render(**values)
    return str(page).encode(errors="backslashreplace")


@functools.cache
def _environment() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "pages")
    strict = jinja2.StrictUndefined
    return jinja2.Environment(loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True)


def pictures(name: str, files: Iterable[tuple[str, Path]]) -> Pictures:
    """The pictures of one scene, each with what it is."""
    return Pictures(name, [(what, data_uri(path)) for what, path in files])


def data_uri(path: Path) -> str:
    """The image inside the page: a PNG, or where that exceeds 1.5 MB a JPEG of quality 92."""
    frame = read_image(path)
    pixels = (frame.read() * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]))
    kind, buffer = "png", io.BytesIO()
    image.save(buffer, "PNG")
    if buffer.tell() > PNG_BYTES:
        kind, buffer = "jpeg", io.BytesIO()
        image.save(buffer, "JPEG", quality=92)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
