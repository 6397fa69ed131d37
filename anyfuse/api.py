"""The Python call: `fuse` for one set of images, `Fuser` to keep a model loaded for many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .align.settings import Align
from .control import Control
from .errors import names_arguments
from .fuser import Fuser
from .io.frames import as_list
from .language.instruction import read_say
from .models.base import FusionModel
from .models.choice import model_for
from .result import check_output
from .runtime import check_argument

__all__ = ["Fuser", "fuse"]


@names_arguments
def fuse(
    images: Sequence[Any],
    *,
    model: str | Path | FusionModel | None = None,
    out: str | Path | None = None,
    reference: int = 0,
    resize: bool = False,
    white: float | str | Sequence[float | None] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_memory: int | str | None = None,
    overwrite: bool = False,
    keep_order: bool = False,
    say: str | Control | None = None,
    masks: Sequence[Any] | None = None,
    align: str | Align = "auto",
    black: float | str | Sequence[float | None] | None = None,
    range: str | tuple[float, float] | None = None,
    pages: str | None = None,
    deghost: str = "auto",
    deghost_reference: int | None = None,
    infrared: int | None = None,
    pseudocolour: str | Sequence[str | None] | None = None,
    engine: str = "auto",
) -> Any:
    """Fuses two or more images of one scene into one image.

    Args:
        images: paths, PIL images, numpy arrays (H, W[, 1, 3 or 4]) in RGB as uint8, uint16 or float in [0, 1], or
            tensors ([1,] C, H, W) as float in [0, 1] or uint8. Kinds may be mixed. All have one size, or see `resize`.
        model: name, folder, hub id or FusionModel. None: the one that does what `say` asks for, without it the default.
        out: file to write. None: the result is returned.
        reference: index of the image that gives size, metadata and alpha, from 0.
        resize: resizes all images to the size of images[reference].
        white: value that counts as 1.0 in 16-bit and float images, as 4095 for 12-bit data; or one for each image.
        device: as in `Fuser`.
        dtype: as in `Fuser`.
        max_memory: as in `Fuser`.
        overwrite: replaces an existing `out`.
        keep_order: keeps the order of the images for models whose inputs have roles (tita, unifusion, mmaif, ditfuse).
            Otherwise infrared comes before visible, and darker before brighter.
        say: instruction. mmaif restores ("remove the haze"), ditfuse changes light and segments ("brighter, highlight
            the cars"). None: mmaif estimates what to restore. With a class to segment, one image is enough.
        masks: one for each image, as `images`, or None where all of it counts: a pixel counts where the mask is white.
            Where an image is transparent or masked out it has no say. Where all are, the result is transparent.
        align: lays the images over images[reference] first: 'auto' for any camera motion, 'tags' as cameras say,
            'shift', 'similarity', 'affine' or 'homography' for the richest transform, 'local' for smooth local
            displacements on top, 'none' for aligned images. The result is cut to what all show; `align.stage.Align`
            can keep the size, and take transforms or points.
        black: value that counts as 0.0 in 16-bit and float images; or one for each image. Values beyond are cut off.
        range: 'p1,p99' takes these percentiles as black and white; 'none' leaves measured values, as counts of thermal
            cameras, at full scale. None: files with such values are scaled, and the report says how.
        pages: pages of each file, as '3:40', counted from 0. A name as 'stack.tif[3:40]' says the same for one file,
            and a single file stands for all of its pages.
        deghost: 'auto' matches the brightness of a focus stack's images, and takes what moved between exposures or
            within a focus stack from one image; 'on' does so however much differs; 'off' does neither.
        deghost_reference: index of the image that shows what moved, from 0. None: the best exposed one, or the sharpest
            one at each place of a focus stack.
        infrared: index of the infrared image, for models whose inputs have roles. None: the grey one of a grey and a
            coloured image; of two grey ones it is found by what they show, and low confidence is in the report.
        pseudocolour: palette that a grey image is shown in, as 'red_yellow'; or one for each image. 'tracer' says that
            it is a PET or SPECT image, 'none' leaves it grey. None: DICOM and NIfTI files that say that they are PET or
            SPECT are shown in red and yellow beside a grey image of another kind: one grey cannot show both.
        engine: as in `Fuser`.

    Returns:
        The path, if `out` is given. Otherwise an image of the type of images[reference]; for a path it is a numpy array
        (H, W) or (H, W, 3) in the depth of the files.

    Raises:
        FusionError: one line that says what to change.
    """
    check_argument("out", out, str, os.PathLike, type(None))
    if out is not None:
        check_output(out, overwrite, as_list(images))
    model = model_for(read_say(say)) if model is None else model
    fuser = Fuser(model, device=device, dtype=dtype, max_memory=max_memory, engine=engine)
    options: dict[str, Any] = {"reference": reference, "resize": resize, "white": white, "keep_order": keep_order}
    options.update(say=say, masks=masks, align=align, black=black, range=range, pages=pages, deghost=deghost)
    options.update(deghost_reference=deghost_reference, infrared=infrared, pseudocolour=pseudocolour)
    if out is None:
        return fuser(images, **options)
    result = fuser.run(as_list(images), **options)
    result.save(out, overwrite=overwrite)
    return Path(out)
