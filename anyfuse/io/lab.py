"""16-bit CIE Lab (D50, as ICC and Photoshop have it) as 16-bit sRGB."""

from __future__ import annotations

import numpy as np

from .transfer import encode_srgb

_D50 = np.array([0.96422, 1.0, 0.82521])
_XYZ_TO_RGB = np.array(  # D50, Bradford-adapted, to linear sRGB
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


def lab_to_srgb(data: np.ndarray, signed: bool) -> np.ndarray:
    """(H, W, 3) uint16 Lab -> (H, W, 3) uint16 sRGB, out-of-gamut colours clipped.

    signed: L is 0 to 65535 and a, b are int16 in 1/256 (CIELab); otherwise L 100 is 65280 and a, b are shifted by
    32768 (ICCLab).
    """
    out = np.empty(data.shape, np.uint16)
    step = max(1, (1 << 20) // max(1, data[:1].size))
    for top in range(0, len(data), step):
        block = data[top : top + step]
        if signed:
            lightness = block[..., 0] / 65535.0 * 100
            a, b = (np.ascontiguousarray(block[..., k]).view(np.int16) / 256.0 for k in (1, 2))
        else:
            lightness = block[..., 0] / 65280.0 * 100
            a, b = (block[..., k] / 256.0 - 128 for k in (1, 2))
        y = (lightness + 16) / 116
        cubes = np.stack([y + a / 500, y, y - b / 200], -1)
        xyz = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * _D50
        rgb = encode_srgb(np.clip(xyz @ _XYZ_TO_RGB.T, 0, 1))
        out[top : top + step] = np.floor(rgb * 65535 + 0.5)
    return out
