"""The options of a job as a client names them: checked by the server, used by the worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .limits import Refused

ALIGN = ("auto", "none", "tags", "shift", "similarity", "affine", "homography", "local")
DEGHOST = ("auto", "on", "off")
FORMATS = ("auto", "png", "tif", "jpg", "webp", "exr")
DEPTHS = ("auto", "8", "16")
AUTOMATIC = "auto"


@dataclass(frozen=True)
class FuseRequest:
    """The options of one job. Names and meanings are those of `anyfuse.fuse`."""

    model: str = AUTOMATIC  # a named model, see GET /v1/models; auto: the one that does what `say` asks for
    say: str = ""  # instruction; empty: none
    align: str = "auto"
    keep_frame: bool = False  # keeps the size of the reference
    deghost: str = "auto"
    reference: int = 0  # which image gives size, metadata and alpha, from 0
    resize: bool = False  # brings all images to the size of the reference
    keep_order: bool = False
    white: str = ""  # as '4095' or '4095,65535'; empty: by depth
    black: str = ""
    range: str = ""  # 'auto', 'none' or 'p1,p99'; empty: auto
    pages: str = ""  # of each file, as '3:40'
    format: str = "auto"  # of the result; auto: as the reference
    depth: str = "auto"  # bits of a sample; auto: as the inputs
    quality: int = 95  # of JPEG and WebP
    weights: bool = True  # also the weight maps, where the model has them
    metrics: bool = True  # also a few metrics of the result

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


CHOICES: dict[str, Sequence[str]] = {"align": ALIGN, "deghost": DEGHOST, "format": FORMATS, "depth": DEPTHS}
"""Options that take one of a few words."""
LONGEST = 4000  # letters of an option


def parse_request(given: Mapping[str, Sequence[str]], models: Iterable[str] | None = None) -> FuseRequest:
    """The options of a form.

    Args:
        given: each option's values as text, in the form's order.
        models: names that `model` may have; None: it is not checked here.

    Raises:
        Refused: an unknown option, or a value that cannot be.
    """
    known = {f.name: f for f in fields(FuseRequest)}
    values: dict[str, Any] = {}
    for name, texts in given.items():
        if name not in known:
            raise Refused(f"option '{name[:40]}' is not known; known are {', '.join(known)}")
        if len(texts) > 1:
            raise Refused(f"option '{name}' is given {len(texts)} times; give it once")
        values[name] = _value(name, texts[0].strip(), known[name].default)
    request = replace(FuseRequest(), **values)
    for name, allowed in CHOICES.items():
        if getattr(request, name) not in allowed:
            raise Refused(f"{name} '{getattr(request, name)[:40]}' is not known; give one of {', '.join(allowed)}")
    if models is not None and request.model not in (AUTOMATIC, *models):
        raise Refused(f"model '{request.model[:80]}' is not one that this server has; see GET /v1/models")
    if not 1 <= request.quality <= 100:
        raise Refused(f"quality {request.quality} cannot be; give 1 to 100")
    if request.format == "jpg" and request.depth == "16":
        raise Refused("format jpg has 8 bits; give depth 8 or auto, or format png or tif")
    return request


def _value(name: str, text: str, default: Any) -> Any:
    """A field's text in the type of its default."""
    if len(text) > LONGEST:
        raise Refused(f"option '{name}' has {len(text)} letters; give at most {LONGEST}")
    if isinstance(default, bool):
        words = {
            "true": True,
            "1": True,
            "on": True,
            "yes": True,
            "false": False,
            "0": False,
            "off": False,
            "no": False,
        }
        if text.lower() not in words:
            raise Refused(f"{name} '{text[:40]}' cannot be; give true or false")
        return words[text.lower()]
    if isinstance(default, int):
        if not (text.isascii() and text.isdigit() and len(text) < 7):
            raise Refused(f"{name} '{text[:40]}' cannot be; give a whole number")
        return int(text)
    return text
