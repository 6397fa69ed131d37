"""What every degradation has in common: its form, the light it works in, and borders that are mirrored at any size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from ..arrays import Generator, Tensor, torch
from ..errors import FusionError

P = ParamSpec("P")
Degraded = tuple[Tensor, dict[str, Any]]
Operation = Callable[Concatenate[Tensor, float, Generator, P], Degraded]


def operation(function: Operation[P]) -> Operation[P]:
    """Gives a degradation its common form.

    The result takes an image (1 or 3, H, W) in [0, 1] of any size, a strength in [0, 1] and a CPU generator, and
    returns the degraded image (same shape, device, in [0, 1], float32) and what was done: {"op": name, "strength": s,
    physical parameters}. Strength 0 returns the image itself. Given the state of the generator the result is the same
    each time; what is drawn does not depend on the strength, so that one seed gives more of the same rain, not other
    rain. Raises FusionError for other shapes and strengths.
    """

    @functools.wraps(function)
    def run(image: Tensor, strength: float, gen: Generator, *args: P.args, **kwargs: P.kwargs) -> Degraded:
        name = function.__name__
        if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
            raise FusionError(f"{name}: shape {tuple(image.shape)} is no image; give (1 or 3, H, W)")
        if not 0 <= strength <= 1:
            raise FusionError(f"{name}: strength {strength:g} is not in 0 to 1; give 0 (nothing) to 1 (strongest)")
        if strength == 0:
            return image, {"op": name, "strength": 0.0}
        result, done = function(image.float(), float(strength), gen, *args, **kwargs)
        rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in done.items()}
        return result.clamp(0, 1), {"op": name, "strength": float(strength), **rounded}

    return run


def to_linear(image: Tensor) -> Tensor:
    """sRGB-encoded values in [0, 1] -> linear light in [0, 1] (IEC 61966-2-1)."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def to_encoded(light: Tensor) -> Tensor:
    """Linear light, clipped to [0, 1] -> sRGB-encoded values in [0, 1]."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def surroundings(image: Tensor, rows: slice, columns: slice, margin: int) -> Tensor:
    """A window of (..., H, W) with `margin` pixels more on each side: (..., h + 2 margin, w + 2 margin).

    Beyond the borders of the image it is mirrored about the outermost pixels, as often as a small image needs.
    """
    for axis, window in ((-2, rows), (-1, columns)):
        n = image.shape[axis]
        place = torch.arange(window.start - margin, window.stop + margin, device=image.device)
        place = place.remainder(max(1, 2 * (n - 1)))
        image = image.index_select(axis, torch.where(place < n, place, 2 * (n - 1) - place))
    return image


def mirror(image: Tensor, margin: int) -> Tensor:
    """(..., H, W) -> (..., H + 2 margin, W + 2 margin), see `surroundings`."""
    return surroundings(image, slice(0, image.shape[-2]), slice(0, image.shape[-1]), margin)


def gaussian_taps(sigma: float) -> Tensor:
    """Gaussian of `sigma` pixels, integrated over each pixel, (2 r + 1) values that sum to 1; a single 1 as sigma goes
    to 0.
    """
    edge = torch.arange(-int(3 * sigma + 1.5), int(3 * sigma + 1.5) + 2, dtype=torch.float64) - 0.5
    taps = torch.special.erf(edge / (max(sigma, 1e-6) * 2**0.5)).diff()
    return (taps / taps.sum()).float()


def separable(padded: Tensor, taps: Tensor) -> Tensor:
    """(C, H + 2 r, W + 2 r) -> (C, H, W): the same 2 r + 1 taps along both axes."""
    taps = taps.to(padded)
    rows = torch.nn.functional.conv2d(padded[:, None], taps[None, None, :, None])
    return torch.nn.functional.conv2d(rows, taps[None, None, None, :])[:, 0]


def gaussian(image: Tensor, sigma: float) -> Tensor:
    """(C, H, W) blurred by a Gaussian of `sigma` pixels, borders mirrored."""
    taps = gaussian_taps(sigma)
    return separable(mirror(image, len(taps) // 2), taps)
