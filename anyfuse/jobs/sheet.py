"""One picture of a fusion: inputs, result, weights, and the same crops of all at 200 %."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import FusionError
from ..image.frame import Frame
from ..result import FusionResult

WIDTH = 1800  # pixels of the sheet
GAP = 10
TALL = 2  # height of a picture at most, in its widths
LINE = 22  # pixels of a line of text
ACROSS = 6  # pictures in a row
INK, PAPER = (30, 30, 30), (250, 250, 250)
FORMATS = (".jpg", ".jpeg", ".png", ".webp")


def check_sheet(path: str) -> None:
    """Raises FusionError for another kind of file."""
    if Path(path).suffix.lower() not in FORMATS:
        raise FusionError(f"--contact-sheet {path}: give a name that ends in {', '.join(FORMATS)}")


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of pixels (H, W, 1 or 3) of any depth."""
    if pixels.dtype != np.uint8:
        white = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
        pixels = np.rint(np.clip(pixels.astype(np.float32) / white, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels


def of_frame(frame: Frame) -> np.ndarray:
    """(H, W, 3) uint8 of an input, as it was fused."""
    pixels = frame.read().permute(1, 2, 0).numpy()
    return to_eight_bits(np.ascontiguousarray(pixels))


def crop_places(images: list[np.ndarray], height: int, width: int, count: int = 2) -> list[tuple[int, int]]:
    """Top left corners of crops where the images differ most; they do not overlap."""
    small = max(1, min(images[0].shape[:2]) // 400)
    lumas = np.stack([image[::small, ::small].mean(2) for image in images])
    difference = lumas.std(0)
    tall = min(max(1, height // small), difference.shape[0])
    wide = min(max(1, width // small), difference.shape[1])
    sums = np.pad(difference, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    score = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    places = []
    for _ in range(count):
        if not np.isfinite(score).any() or float(score.max()) < 0:
            break
        top, left = (int(v) for v in np.unravel_index(int(score.argmax()), score.shape))
        full = images[0].shape
        places.append((max(0, min(top * small, full[0] - height)), max(0, min(left * small, full[1] - width))))
        score[max(0, top - tall + 1) : top + tall, max(0, left - wide + 1) : left + wide] = -1
    return places


def contact_sheet(result: FusionResult) -> Image.Image:
    """The sheet, WIDTH pixels wide.

    Rows: inputs as they were fused, their weights (white: all of the pixel) where the model has them, the result, and
    crops of all at 200 %, where the inputs differ most.
    """
    names = [Path(name).name for name in result.names]
    inputs = [of_frame(frame) for frame in result.stack.frames]
    fused = to_eight_bits(result.pixels)
    across = min(ACROSS, max(2, len(inputs)))
    cell = (WIDTH - GAP * (across + 1)) // across
    rows: list[Image.Image] = [_title(result)]
    rows += _rows([(f"{k}  {name}", _fit(x, cell)) for k, (name, x) in enumerate(zip(names, inputs, strict=True), 1)])
    if result.weights is not None:
        maps = [_fit(np.repeat(np.asarray(w)[..., None], 3, 2), cell) for w in result.weights]
        rows += _rows([(f"weight of {k}", picture) for k, picture in enumerate(maps, 1)])
    rows += _rows([("result", _fit(fused, min(WIDTH - 2 * GAP, 1200)))])
    side = (WIDTH - GAP) // min(ACROSS, len(inputs) + 1) // 2 - GAP
    high = min(side * 3 // 4, fused.shape[0])
    wide = min(side, fused.shape[1])
    for top, left in crop_places(inputs, high, wide):
        line = []
        for name, image in [("result", fused), *((str(k), x) for k, x in enumerate(inputs, 1))]:
            part = Image.fromarray(np.ascontiguousarray(image[top : top + high, left : left + wide]))
            line.append(
                (f"{name} at {left}, {top}, 200 %", part.resize((2 * wide, 2 * high), Image.Resampling.NEAREST))
            )
        rows += _rows(line)
    sheet = Image.new("RGB", (WIDTH, sum(row.height for row in rows) + GAP), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(14)


def _title(result: FusionResult) -> Image.Image:
    one = result.summary
    text = f"anyfuse, model {one.model}: {len(result.names)} images, {one.width}x{one.height}, {one.depth}"
    row = Image.new("RGB", (WIDTH, LINE + GAP), PAPER)
    ImageDraw.Draw(row).text((GAP, GAP), text, INK, _font())
    return row


def _fit(pixels: np.ndarray, width: int) -> Image.Image:
    """A picture no wider than `width` and no taller than TALL times that; small ones stay as they are."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = min(width / image.width, TALL * width / image.height)
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _rows(pictures: list[tuple[str, Image.Image]]) -> list[Image.Image]:
    """Pictures with a line of text above each, as many in a row as there is room for."""
    out, line = [], list[tuple[str, Image.Image]]()
    for entry in pictures:
        used = sum(image.width + GAP for _, image in line) + GAP
        if line and used + entry[1].width + GAP > WIDTH:
            out.append(_row(line))
            line = []
        line.append(entry)
    return [*out, _row(line)] if line else out


def _row(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    row = Image.new("RGB", (WIDTH, max(image.height for _, image in pictures) + LINE + GAP), PAPER)
    draw, left, font = ImageDraw.Draw(row), GAP, _font()
    for name, image in pictures:
        text = name
        while draw.textlength(text, font) > image.width and len(text) > 4:
            text = text[:-2].rstrip(".") + "…"
        draw.text((left, 4), text, INK, font)
        row.paste(image, (left, LINE))
        left += image.width + GAP
    return row
