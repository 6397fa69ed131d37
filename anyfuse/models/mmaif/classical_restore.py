"""Classical restoration of the degradations that an instruction names, for MMAIF's detail path.

The strengths are the instruction's, so a degradation is undone only roughly. Motion blur, whose direction no
instruction gives, and JPEG are left as they are. Origin: ours; restore.py names the papers of the filters. Licence:
Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable

from ...arrays import Tensor, torch
from ...control import DEGRADATIONS
from ...degradation.restore import (
    adjust_exposure,
    correct_columns,
    deblur_downsampling,
    deblurred,
    without_dead_pixels,
    without_haze,
    without_noise,
    without_rain,
    without_snow,
    without_stripes,
)
from ...image.colour import to_luma
from .instruction import WIDTH

RESTORERS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "downsample": lambda x, s, mean: deblur_downsampling(x, 1 + 3 * s),
    "low_contrast": lambda x, s, mean: mean + (x - mean) / (1 - 0.65 * s),
    "dead_pixels": lambda x, s, mean: without_dead_pixels(x),
    "stripes": lambda x, s, mean: without_stripes(x),
    "fixed_pattern": lambda x, s, mean: correct_columns(x),
    "noise": lambda x, s, mean: without_noise(x),
    "high_exposure": lambda x, s, mean: adjust_exposure(x, -2.5 * s),
    "low_exposure": lambda x, s, mean: adjust_exposure(x, 4 * s),
    "blur": lambda x, s, mean: deblurred(x, s),
    "snow": lambda x, s, mean: without_snow(x),
    "rain": lambda x, s, mean: without_rain(x),
    "haze": lambda x, s, mean: without_haze(x),
}
"""Degradation -> (channel (H, W), strength, mean luma) -> channel. The order is that in which they are undone: file,
sensor, lens, air.
"""


@torch.no_grad()
def restore(sources: Tensor, instructions: Tensor) -> Tensor | None:
    """The sources, restored as far as these filters can; None where no instruction names a degradation that they undo.

    sources: (B, 2, C, H, W) in [0, 1], sides 16 or more. instructions: (B, 31), of instruction.instruction_vector.
    """
    faults = instructions[:, 1:WIDTH].unflatten(1, (2, len(DEGRADATIONS))).cpu()
    known = torch.tensor([name in RESTORERS for name in DEGRADATIONS])
    named = (faults * known).amax(-1).nonzero().tolist()
    if not named:
        return None
    restored = sources.clone()
    for b, k in named:
        strengths = dict(zip(DEGRADATIONS, faults[b, k].clamp(0, 1).tolist(), strict=True))
        for name, filter_channel in RESTORERS.items():
            if strengths[name] > 0:
                image = restored[b, k]
                mean = float((to_luma(image) if len(image) == 3 else image).mean())
                restored[b, k] = torch.stack([filter_channel(x, strengths[name], mean) for x in image]).clamp(0, 1)
    return restored
