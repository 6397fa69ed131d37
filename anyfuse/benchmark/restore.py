"""Classical restoration, told exactly what was done: what a fusion of degraded images has to beat.

    noise             non-local means (Buades, Coll, Morel 2005), the deviation taken from the finest diagonal differences (Donoho 1994)
    blur              Wiener deconvolution in linear light with the true Gaussian; motion blur with a straight path of the true length and angle;
                      low resolution with a Gaussian of 0.3 times the factor
    haze, and the veil of rain and snow   dark-channel prior (He, Sun, Tang 2009), the transmission refined by the guided filter
    low exposure, low contrast   CLAHE (Zuiderveld 1994); high exposure: less light by the true stops
    rain, snow        median across the streaks; of flakes, of their surroundings
    dead pixels, stripes, fixed pattern   median where a pixel or column leaves its neighbours; columns shifted to their neighbours
    JPEG              the mean of what the same compression makes of shifted copies (Nosratinia 2001)

It is given names, strengths and directions that nobody knows of a real image, so it is a strong baseline. Faults are undone in the opposite order.
The filters are those of anyfuse/restoration.py. Origin: ours, after the papers. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..data.operation import to_encoded, to_linear
from ..errors import FusionError
from ..restoration import (
    clahe,
    dehaze,
    even_columns,
    gaussian_kernel,
    in_light,
    line_kernel,
    median,
    noise_deviation,
    non_local_means,
    recompress,
    without_outliers,
    without_stripes,
)

BENT = 0.06
"""Noise that motion deblurring assumes at least: the path was no straight line. Chosen on training images, as ALIASED."""
ALIASED = 6 / 255
"""The same for low resolution, which is no blur alone."""


def restore(image: Tensor, done: Sequence[Mapping[str, Any]]) -> Tensor:
    """Luma (H, W) in [0, 1] -> the same repaired. done: what `data.degrade.apply` says that it did, in that order."""
    for record in reversed(list(done)):
        name, strength = record["op"], float(record["strength"])
        if strength == 0:
            continue
        if name in ("gaussian_noise", "sensor_noise"):
            image = non_local_means(image, noise_deviation(image))
        elif name == "jpeg":
            image = recompress(image, strength)
        elif name == "gaussian_blur":
            image = in_light(image, gaussian_kernel(3 * strength))
        elif name == "motion_blur":
            image = in_light(image, line_kernel(21 * strength, float(record["angle_degrees"])), BENT)
        elif name == "downsample":
            image = in_light(image, gaussian_kernel(0.3 * float(record["factor"])), ALIASED)
        elif name == "haze":
            image = dehaze(image, 0.95)
        elif name == "rain":
            image = dehaze(median(image, 1, 7), 0.6)
        elif name == "snow":
            image = dehaze(median(image, 5, 5), 0.6)
        elif name in ("low_exposure", "low_contrast"):
            image = clahe(image)
        elif name == "high_exposure":
            image = to_encoded(to_linear(image) * 2 ** (-2.5 * strength))
        elif name == "dead_pixels":
            image = without_outliers(image, median(image, 3, 3), 0.1)
        elif name in ("dark_stripes", "bright_stripes"):
            image = without_stripes(image)
        elif name == "fixed_pattern":
            image = even_columns(image)
        else:
            raise FusionError(f"no classical restoration for '{name}'")
        image = image.clamp(0, 1)
    return image
