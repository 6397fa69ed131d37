"""Classical restoration, told exactly what was done: what a fusion of degraded images has to beat.

The filters are those of degradation/restore.py. Blur is undone with the true Gaussian, motion with a straight path of
the true length and angle, low resolution with the true factor, high exposure by the true stops, JPEG with the true
quality; low exposure and low contrast by CLAHE; noise, weather and detector faults by name. So it is given names,
strengths and directions that nobody knows of a real image: a strong baseline. Faults are undone in the opposite order.
Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...degradation.restore import (
    clahe,
    deblurred,
    even_columns,
    exposed,
    finer,
    in_light,
    line_kernel,
    recompress,
    without_dead_pixels,
    without_haze,
    without_noise,
    without_rain,
    without_snow,
    without_stripes,
)
from ...errors import FusionError

BENT = 0.06
"""Noise that motion deblurring assumes at least: the path was no straight line. Chosen on training images."""


def restore(image: Tensor, done: Sequence[Mapping[str, Any]]) -> Tensor:
    """Luma (H, W) in [0, 1] -> the same repaired. done: what `data.degrade.apply` says that it did, in that order."""
    for record in reversed(list(done)):
        name, strength = record["op"], float(record["strength"])
        if strength == 0:
            continue
        if name in ("gaussian_noise", "sensor_noise"):
            image = without_noise(image)
        elif name == "jpeg":
            image = recompress(image, strength)
        elif name == "gaussian_blur":
            image = deblurred(image, strength)
        elif name == "motion_blur":
            image = in_light(image, line_kernel(21 * strength, float(record["angle_degrees"])), BENT)
        elif name == "downsample":
            image = finer(image, float(record["factor"]))
        elif name == "haze":
            image = without_haze(image)
        elif name == "rain":
            image = without_rain(image)
        elif name == "snow":
            image = without_snow(image)
        elif name in ("low_exposure", "low_contrast"):
            image = clahe(image)
        elif name == "high_exposure":
            image = exposed(image, -2.5 * strength)
        elif name == "dead_pixels":
            image = without_dead_pixels(image)
        elif name in ("dark_stripes", "bright_stripes"):
            image = without_stripes(image)
        elif name == "fixed_pattern":
            image = even_columns(image)
        else:
            raise FusionError(f"no classical restoration for '{name}'")
        image = image.clamp(0, 1)
    return image
