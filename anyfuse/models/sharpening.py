"""Names of the pansharpening methods as models: brovey, gsa, mtf-glp, and bicubic, which adds no detail.

They have no network. What they do is in pansharpening/detail.py; here is what the rest of the package needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import Tensor
from ..errors import FusionError
from .base import Context, FusionModel


@dataclass(frozen=True)
class SharpenerConfig:
    """Which method, and what it assumes of the sensor."""

    method: str = "gsa"  # of pansharpening.METHODS
    nyquist: tuple[float, ...] = (0.3,)  # response of the multispectral sensor at its Nyquist frequency, or one a band


class Sharpener(FusionModel):
    """A method that fuses a panchromatic image with a multispectral one of lower resolution, and nothing else."""

    arity = (2, 2)

    def __init__(self, config: SharpenerConfig | None = None) -> None:
        super().__init__()
        self.config = config or SharpenerConfig()

    @property
    def name(self) -> str:
        """Of the method, for reports."""
        return self.config.method

    def forward(self, sources: Tensor, condition: Any = None, context: Context | None = None) -> Tensor:
        """Always a FusionError: images of one size are not what these methods are for."""
        raise FusionError(
            f"{self.name} takes a panchromatic image and one of 3 or more bands at a lower resolution; for other "
            "images leave --model out"
        )


SHARPENERS: dict[str, str] = {
    "bicubic": "enlarged bands, no detail (Keys 1981)",
    "brovey": "Brovey transform (Gillespie 1987)",
    "gsa": "Gram-Schmidt adaptive (Aiazzi 2007)",
    "mtf-glp": "MTF-matched Laplacian pyramid (Aiazzi 2006)",
}
"""Name -> what it is. They fuse a panchromatic and a multispectral image, so they are no entries of MODELS."""


def sharpener_rows() -> list[dict[str, Any]]:
    """Their rows of `anyfuse models`, as `registry.describe` has them."""
    facts = {"parameters": 0, "trainable": 0, "inputs": "pan + bands", "channels": "any"}
    terms = {"weights": "none needed", "licence": "Apache-2.0", "trained_on": None, "fetch": ""}
    return [{"name": name, "system": system, **facts, **terms} for name, system in SHARPENERS.items()]
