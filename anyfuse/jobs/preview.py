"""A small picture of a result in terminals that show pictures: by the protocols of kitty, iTerm2 and sixel.

Only variables of the environment decide: a terminal that does not say that it shows pictures gets none, since it would
print the bytes as text. Within tmux and screen, which pass nothing on, nothing is shown.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping

import numpy as np
from PIL import Image

SIDE = 640  # pixels of the longer side
_CHUNK = 4096  # bytes of base64 in one message to kitty


def protocol(environment: Mapping[str, str] = os.environ) -> str:
    """'kitty', 'iterm2' or 'sixel', by what the terminal says of itself; '': it shows no pictures, or does not say."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or environment.get("STY") or term.startswith(("screen", "tmux")):
        return ""
    if environment.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    if term.startswith(("foot", "mlterm", "yaft", "contour")) or "sixel" in term:
        return "sixel"
    return ""


def encode(image: Image.Image, how: str) -> bytes:
    """The bytes that make a terminal show a picture.

    Args:
        image: of any size and mode; it is reduced to SIDE.
        how: of `protocol`.
    """
    image = image.convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if how == "sixel":
        return sixel(image) + b"\n"
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue())
    if how == "iterm2":
        return b"\x1b]1337;File=inline=1;size=%d;preserveAspectRatio=1:%s\x07\n" % (len(buffer.getvalue()), data)
    parts = [data[k : k + _CHUNK] for k in range(0, len(data), _CHUNK)]
    out = b""
    for k, part in enumerate(parts):
        keys = b"a=T,f=100," if k == 0 else b""
        out += b"\x1b_G%sm=%d;%s\x1b\\" % (keys, k < len(parts) - 1, part)
    return out + b"\n"


def sixel(image: Image.Image, colours: int = 128) -> bytes:
    """A picture as DEC sixels: bands of six rows, one pass a colour, runs shortened."""
    indexed = image.quantize(colours, dither=Image.Dither.FLOYDSTEINBERG)
    pixels = np.asarray(indexed)
    table = np.array(indexed.getpalette()[: 3 * colours], np.uint8).reshape(-1, 3)  # type: ignore[index]
    height, width = pixels.shape
    out = [f'\x1bP0;1q"1;1;{width};{height}']
    out += [f"#{k};2;" + ";".join(str(round(int(v) * 100 / 255)) for v in row) for k, row in enumerate(table)]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        weights = (1 << np.arange(len(band)))[:, None]
        lines = []
        for colour in np.unique(band):
            values = ((band == colour) * weights).sum(0) + 63
            cuts = np.flatnonzero(np.diff(values)) + 1
            starts, ends = np.r_[0, cuts], np.r_[cuts, width]
            runs = ((int(e - s), chr(int(values[s]))) for s, e in zip(starts, ends, strict=True))
            lines.append(f"#{colour}" + "".join(f"!{n}{c}" if n > 3 else c * n for n, c in runs))
        out.append("$".join(lines) + "-")
    return ("".join(out) + "\x1b\\").encode()
