"""What a file says beside its pixels, and the values that its pixels stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TiffTag = tuple[int, int, int, bytes]  # number, type, count, value in little-endian order


LOOK = (32, 24)  # columns and rows of the reduced photograph that an inset keeps


@dataclass(frozen=True)
class Inset:
    """How a thermal image lies in the photograph of its camera."""

    ratio: float  # width of the photograph over that of the thermal image, as both see the scene
    x: float  # from the centre of the photograph to that of the thermal image, in pixels of the photograph
    y: float
    width: int = 0  # of the photograph in which x and y are counted; 0: as the photograph is
    height: int = 0  # of it; 0: not known
    look: bytes = b""  # that photograph as LOOK[1] rows of LOOK[0] grey levels, to tell it from others; or not known


@dataclass(frozen=True)
class Metadata:
    """Blocks that are carried from the reference to the result where its format can hold them.

    EXIF, ICC profile and resolution are fields of `Frame`.
    """

    xmp: bytes | None = None  # packet, without what holds for the source file alone
    iptc: bytes | None = None  # IIM records, as in a Photoshop block 0x0404
    text: tuple[tuple[str, str], ...] = ()  # keyword and text, of PNG
    geo: tuple[TiffTag, ...] = ()  # GeoTIFF tags
    pixel_um: tuple[float, float] | None = None  # width and height of a pixel in micrometres, of ImageJ and OME
    header: Any = field(default=None, compare=False)  # of the library that read the file: NIfTI, DICOM
    inset: Inset | None = None  # of thermal images


NOTHING = Metadata()


@dataclass(frozen=True)
class Scaling:
    """How the values of a file became 0 to 1."""

    black: float  # the value that counts as 0
    white: float  # the value that counts as 1
    rule: str  # what decided on them
    unit: str = ""  # of the values, as 'HU' or '°C'

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for reports."""
        plain = {"black": self.black, "white": self.white, "rule": self.rule}
        return plain | ({"unit": self.unit} if self.unit else {})
