"""The short path of a pansharpening pair: read -> place -> fit -> inject detail -> report.

With a fusion model, the panchromatic image and the intensity of the bands are fused as two grey images, by the path of
all images (pipeline.py). The detail of their fusion goes into each band as MTF-GLP puts it there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL, Frame
from ..image.stack import Stack
from ..models.sharpening import Sharpener
from ..options import Engine, Options
from ..pipeline import engine_facts
from ..pipeline import run as run_images
from ..result import FusionResult, Report
from ..runtime import peak_bytes
from .detail import METHODS, NYQUIST, Coarse, Injection, Pair, gsa, mtf_glp, sharpened, strips
from .pair import Found, find_pair
from .register import registered

_TAILS = 0.1, 99.9  # percentiles of intensity between which a model sees it, of values that are no 8-bit image


def pansharpen_set(images: Sequence[Any], engine: Engine, options: Options) -> FusionResult | None:
    """Fuses two images if they are a panchromatic and a multispectral one; None where they are not.

    Args:
        images: as `Fuser.run` takes them.
        engine: a method (`models.sharpening`) or any fusion model.
        options: of the set. With an instruction, masks, pages or pseudocolours it is no pair.

    Raises:
        FusionError: the model is a method, and the images are no pair; or the images cannot be read.
    """
    method = engine.model.name if isinstance(engine.model, Sharpener) else None
    special: dict[str, Any] = {"--say": options.say, "--mask": options.masks, "--pages": options.pages}
    special |= {"--pseudocolour": options.pseudocolour, "--explain": options.explain or None}
    given = [name for name, value in special.items() if value is not None]
    if given:
        if method is not None:
            raise FusionError(f"{method} takes no {given[0]}; leave it out")
        return None
    nyquist = engine.model.config.nyquist if isinstance(engine.model, Sharpener) else (NYQUIST,)
    found = find_pair(images, nyquist, method)
    return None if found is None else _run(found, engine, options, method)


def _run(found: Found, engine: Engine, options: Options, method: str | None) -> FusionResult:
    start = time.perf_counter()
    pair, notes = found.pair, list(unused(options))
    engine.progress("align", 0.0)
    fit = found.fit
    if options.align.mode == "auto":
        pair, fit = _placed(found, notes)
    coarse = Coarse.of(pair)
    engine.progress("fuse", 0.0)
    if method is not None:
        injection = METHODS[method](coarse)
    else:
        fused = _fused(pair, gsa(coarse), engine)
        pair = replace(pair, pan=fused)  # what a model makes of both takes the place of the panchromatic image
        injection = mtf_glp(Coarse.of(pair))
    pixels = sharpened(pair, injection, _fill(found))
    engine.progress("fuse", 1.0)
    seconds = time.perf_counter() - start
    pan, ms = found.pan, found.ms
    said = f"{pan.name} is taken for a panchromatic image and {ms.name} for a multispectral one (ratio "
    said += f"{pair.grid.ratio}, by {found.by}): the result has its {ms.count} bands in the size of {pan.name}"
    facts = {
        "method": method or f"mtf-glp with the detail of {engine.name}",
        "ratio": pair.grid.ratio,
        "bands": ms.count,
        "by": found.by,
        "corner": [round(x, 3) for x in pair.grid.corner],
        "explained": round(fit, 4),
        "gains": [round(float(g), 4) for g in injection.gains],
    }
    given = [pan, ms] if found.first == 0 else [ms, pan]
    report = Report(
        **engine_facts(engine),
        inputs=[image.facts for image in given],
        width=pan.width,
        height=pan.height,
        depth=str(pixels.dtype),
        channels=pixels.shape[2],
        colour_rule="bands",
        tiles=1,
        seconds=round(seconds, 4),
        order=None,
        shown=None,
        reference=pan.name,
        peak_memory_mib=round(peak_bytes() / 2**20, 1),
        warnings=[*pan.warnings, *ms.warnings, said, *notes],
        pansharpened=facts,
    )
    return FusionResult(_stack(found, pair), pixels, report, is_bands=True)


def unused(options: Options) -> list[str]:
    """A line for each option that was given and does nothing for a pair."""
    given = {"--white": options.white, "--black": options.black, "--range": options.range}
    given |= {"--infrared": options.infrared, "--resize": options.resize or None}
    notes = [f"{name} does nothing: the bands keep the values they have" for name, x in given.items() if x is not None]
    align = options.align
    odd = align.mode not in ("auto", "none") or align.transforms is not None or align.points is not None
    if odd:
        notes.append("--align auto and none are all that there is for a panchromatic and a multispectral image")
    return notes


def _placed(found: Found, notes: list[str]) -> tuple[Pair, float]:
    """The pair with its bands where they fit best, and a note where that is elsewhere."""
    pair, before, after = registered(found.pair)
    moved = np.subtract(pair.grid.corner, found.pair.grid.corner)
    if np.abs(moved).max() == 0:
        return pair, found.fit
    how = f"{moved[1]:+.2f} columns and {moved[0]:+.2f} rows of {found.pan.name}"
    notes.append(
        f"{found.ms.name}: moved by {how} (explains {after:.3f} of it, {before:.3f} before); --align none leaves it"
    )
    return pair, after


def _fill(found: Found) -> float:
    """The value of pixels without one: as the bands' file says, else 0; NaN of floats that have it."""
    nodata, kind = found.ms.nodata, found.ms.pixels.dtype
    if nodata is None:
        return math.nan if kind.kind == "f" and found.ms.known is not None else 0.0
    if kind.kind in "ui" and not np.iinfo(kind).min <= nodata <= np.iinfo(kind).max:
        return 0.0
    return nodata


def _fused(pair: Pair, injection: Injection, engine: Engine) -> np.ndarray:
    """What a fusion model makes of the panchromatic image and the intensity of the bands, (H, W) float32, as values."""
    low, high = _range(pair, injection)
    pan, intensity = (np.empty(pair.grid.fine, np.float32) for _ in range(2))
    for rows in strips(*pair.grid.fine):
        intensity[rows] = pair.grid.enlarge(injection.intensity, rows)
        pan[rows] = pair.pan[rows] + np.float32(injection.offset)
        for image in (pan, intensity):
            image[rows] = ((image[rows] - low) / (high - low)).clip(0, 1)
            image[rows][~pair.shown(rows)] = 0
    frames = [Frame(x[:, :, None], white=1.0, name=n) for x, n in ((pan, "panchromatic"), (intensity, "intensity"))]
    plain = Options(keep_order=True, deghost="off")
    result = run_images(frames, replace(engine, progress=_inner(engine)), plain)
    fused = result.pixels[:, :, 0] if result.pixels.shape[2] == 1 else result.pixels.mean(axis=2)
    return np.asarray(fused * np.float32(high - low) + np.float32(low))


def _inner(engine: Engine) -> Any:
    """Progress of the inner fusion as a share of the outer one."""
    return lambda stage, share: engine.progress("fuse", share) if stage == "fuse" else None


def _range(pair: Pair, injection: Injection) -> tuple[float, float]:
    """The values that count as black and white for a model."""
    if pair.ms.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (float(x) for x in np.percentile(injection.intensity, _TAILS))
    return (low, high) if high > low else (low, low + 1.0)


def _stack(found: Found, pair: Pair) -> Stack:
    """The two images in the size of the panchromatic one, as they are shown beside a result; the bands as RGB."""
    pan = found.pan
    shown = np.empty((*pair.grid.fine, 3), np.uint8)
    for k in range(3):
        band = pair.band(k)
        shown[:, :, k] = _as_bytes(pair.grid.enlarge(band), band)
    frames = [
        Frame(
            _as_bytes(pair.pan, pair.pan)[:, :, None],
            name=pan.name,
            exif=pan.exif,
            dpi=pan.dpi,
            file=pan.file,
            metadata=pan.geo_of(found.ms),
        ),
        Frame(shown, name=found.ms.name, icc=found.ms.icc, file=found.ms.file),
    ]
    return Stack(tuple(frames if found.first == 0 else frames[::-1]), found.first)


def _as_bytes(image: np.ndarray, of: np.ndarray) -> np.ndarray:
    """8 bits: as they are, or stretched between the percentiles of `of`."""
    if of.dtype == np.uint8 and image.dtype == np.uint8:
        return image
    step = max(1, int(math.sqrt(of.size / (1 << 20))))
    low, high = np.nanpercentile(of[::step, ::step].astype(np.float32), (1, 99))
    scale = FULL["uint8"] / max(float(high - low), 1e-12)
    return np.asarray(((image.astype(np.float32) - low) * scale).clip(0, 255).astype(np.uint8))
