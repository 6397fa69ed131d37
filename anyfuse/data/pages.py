"""Drawn pages: printed text, ruled and hatched paper, as a camera sees them.

They are sharp, bright and full of strokes, as rain is, and few photographs are. All from a `torch.Generator`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

from ..image.random import integer, smooth_field, uniform

LETTERS = "eeeeeetttttaaaaaooooiiiinnnnsssshhhrrrddlluuccmmfwgypbvkxjqzETAOINSRHLDCUMFPGWYB"
MARKS = ("", "", "", "", "", "", ",", ".", ".", ";", "?", ":")
TWICE = 2  # pixels drawn for one, so that strokes have soft edges


def page(height: int, width: int, gen: Generator) -> Tensor:
    """A page (1, height, width) in [0, 1]: text in columns, ruled lines, or hatching, under uneven light, at times
    turned to any side, at times white on dark.
    """
    side = math.ceil(math.hypot(height, width) * TWICE)
    picture = Image.new("L", (side, side), 255)
    kind = uniform(0, 1, gen)
    if kind < 0.8:
        _print(picture, gen)
    elif kind < 0.87:
        _rule(picture, gen)
    else:
        _hatch(picture, gen)
    turn = 90 * integer(0, 3, gen) if uniform(0, 1, gen) < 0.4 else 0
    angle = turn + (torch.randn((), generator=gen) * 8).item() * (uniform(0, 1, gen) < 0.7)
    picture = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    left, top = (side - width * TWICE) // 2, (side - height * TWICE) // 2
    picture = picture.crop((left, top, left + width * TWICE, top + height * TWICE))
    ink = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).float() / 255
    ink = F.avg_pool2d(ink.view(1, 1, height * TWICE, width * TWICE), TWICE)[0]
    paper = uniform(0.3, 1, gen)
    dark = paper * uniform(0, 0.5, gen)
    light = 1 + uniform(0, 0.25, gen) * smooth_field(height, width, max(height, width), gen)
    grain = uniform(0, 0.02, gen) * smooth_field(height, width, uniform(1, 3, gen), gen)
    tones = dark + (paper - dark) * (1 - ink if uniform(0, 1, gen) < 0.15 else ink)
    return ((tones + grain) * light).clamp(0, 1)


def _print(picture: Image.Image, gen: Generator) -> None:
    """Lines of words of one or more sizes, in one to three columns."""
    draw, columns = ImageDraw.Draw(picture), integer(1, 3, gen)
    wide = picture.width / columns
    for column in range(columns):
        left, top = column * wide + uniform(2, 12, gen), uniform(-20, 20, gen)
        while top < picture.height:
            size = TWICE * uniform(4, 15, gen) * (2 if uniform(0, 1, gen) < 0.1 else 1)
            font = ImageFont.load_default(size)
            for _ in range(integer(3, 14, gen)):
                line, end = "", (column + 1) * wide - 8
                while left + draw.textlength(line, font) < end:
                    line += _word(gen) + " "
                draw.text((left, top), line[:-1].rpartition(" ")[0], 0, font)
                top += 1.25 * size
            top += uniform(0.3, 2, gen) * size


def _word(gen: Generator) -> str:
    letters = "".join(LETTERS[integer(0, len(LETTERS) - 1, gen)] for _ in range(integer(1, 9, gen)))
    return letters + MARKS[integer(0, len(MARKS) - 1, gen)]


def _rule(picture: Image.Image, gen: Generator) -> None:
    """Ruled or squared paper, some of it written on."""
    draw, step = ImageDraw.Draw(picture), TWICE * uniform(5, 24, gen)
    shade, thick = integer(60, 200, gen), integer(1, 3, gen)
    squared = uniform(0, 1, gen) < 0.5
    for k in range(int(picture.height / step) + 1):
        draw.line((0, k * step, picture.width, k * step), shade, thick)
    if squared:
        for k in range(int(picture.width / step) + 1):
            draw.line((k * step, 0, k * step, picture.height), shade, thick)
    if uniform(0, 1, gen) < 0.5:
        _print(picture, gen)


def _hatch(picture: Image.Image, gen: Generator) -> None:
    """Fields of parallel strokes of all directions, as drawings and plans have them."""
    draw = ImageDraw.Draw(picture)
    for _ in range(integer(6, 30, gen)):
        x, y = uniform(0, picture.width, gen), uniform(0, picture.height, gen)
        step, slant, length = TWICE * uniform(2, 10, gen), uniform(-3, 3, gen), TWICE * uniform(15, 90, gen)
        shade, thick = integer(0, 120, gen), integer(1, 4, gen)
        for k in range(integer(4, 24, gen)):
            if uniform(0, 1, gen) < 0.5:
                draw.line((x + k * step, y, x + k * step + slant * length / 4, y + length), shade, thick)
            else:
                draw.line((x, y + k * step, x + length, y + k * step + slant * length / 4), shade, thick)
