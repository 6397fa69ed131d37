"""Classical restoration with the true degradations: the baseline for the fusion of degraded images.

The filters are those of degradation/restore.py. Blur is undone with the true Gaussian, motion with a straight path of
the true length and angle, low resolution with the true factor, high exposure by the true stops, JPEG with the true
quality; low exposure and low contrast by CLAHE; noise, weather and detector faults by name. It knows names, strengths
and directions, which are unknown for a real image: a strong baseline. Faults are undone in the opposite order.
Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...degradation.restore import (
    adjust_exposure,
    clahe,
    correct_columns,
    deblur_downsampling,
    deblurred,
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


Record = Mapping[str, Any]

RESTORERS: dict[str, Callable[[Tensor, float, Record], Tensor]] = {
    "gaussian_noise": lambda x, s, record: without_noise(x),
    "sensor_noise": lambda x, s, record: without_noise(x),
    "jpeg": lambda x, s, record: recompress(x, s),
    "gaussian_blur": lambda x, s, record: deblurred(x, s),
    "motion_blur": lambda x, s, record: in_light(x, line_kernel(21 * s, float(record["angle_degrees"])), BENT),
    "downsample": lambda x, s, record: deblur_downsampling(x, float(record["factor"])),
    "haze": lambda x, s, record: without_haze(x),
    "rain": lambda x, s, record: without_rain(x),
    "snow": lambda x, s, record: without_snow(x),
    "low_exposure": lambda x, s, record: clahe(x),
    "low_contrast": lambda x, s, record: clahe(x),
    "high_exposure": lambda x, s, record: adjust_exposure(x, -2.5 * s),
    "dead_pixels": lambda x, s, record: without_dead_pixels(x),
    "dark_stripes": lambda x, s, record: without_stripes(x),
    "bright_stripes": lambda x, s, record: without_stripes(x),
    "fixed_pattern": lambda x, s, record: correct_columns(x),
}
"""Operation -> (luma (H, W), strength, record of what was done) -> luma."""


def restore(image: Tensor, done: Sequence[Record]) -> Tensor:
    """Luma (H, W) in [0, 1] -> the same, restored.

    done: what `degradation.plan.apply` says that it did, in that order; it is undone from the last to the first.
    """
    for record in reversed(list(done)):
        name, strength = record["op"], float(record["strength"])
        if strength == 0:
            continue
        if name not in RESTORERS:
            raise FusionError(f"no classical restoration for '{name}'")
        image = RESTORERS[name](image, strength, record).clamp(0, 1)
    return image
