"""The default model with its network in ONNX Runtime, for processes with and without PyTorch.

All but the convolutions is `models.anyfuse.Anyfuse` itself, on the arrays of the process. `engines/network.py` makes
the graphs. ONNX Runtime is single precision on the CPU; results agree with PyTorch's within one level of 8 bits.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .. import native
from ..arrays import Tensor, torch
from ..engine_choice import lacks_torch
from ..errors import FusionError
from ..image.pyramid import expand
from ..models.anyfuse import REGIONS, Anyfuse
from ..models.base import FusionModel, flatten_set
from ..models.set_layers import DETAIL, folded
from .runner import session

MODEL = "anyfuse"
"""The model that runs so."""
OUTPUTS = {
    "encode": ("quarter", "eighth"),
    "decide": ("decoded", "logit3", "residual3", "logit4", "residual4", "base"),
    "finish": ("maps",),
}
"""Graph -> what it gives."""
GRAPHS = tuple(OUTPUTS)


def graph_path(name: str) -> Path:
    """Where the package keeps a graph."""
    return Path(str(files("anyfuse") / "assets" / "onnx" / f"{name}.onnx"))


class OnnxAnyfuse(Anyfuse):
    """The default model. Its network has no parameters here: ONNX Runtime holds them."""

    def __init__(self) -> None:
        """Raises FusionError where ONNX Runtime or a graph is missing."""
        FusionModel.__init__(self)
        self.config = REGIONS
        threads = torch.get_num_threads()
        for name in GRAPHS:
            if not graph_path(name).exists():
                raise FusionError(f"{graph_path(name)}: is missing; install anyfuse again")
        self.sessions = {name: session(graph_path(name), threads) for name in GRAPHS}

    def __deepcopy__(self, memo: Any) -> OnnxAnyfuse:
        """Itself: nothing in it changes, and sessions cannot be copied."""
        return self

    def _run(self, name: str, *features: Tensor) -> list[Tensor]:
        """Features (N, C, h, w) through a graph."""
        ready = self.sessions[name]
        arrays = [np.ascontiguousarray(x.detach().numpy(), np.float32) for x in features]
        taken = [one.name for one in ready.get_inputs()]
        return [torch.from_numpy(x) for x in ready.run(None, dict(zip(taken, arrays, strict=True)))]

    def _encode(self, gauss: list[Tensor], n: int, band: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Anyfuse._encode`, for one set."""
        found, luma = native.takes(*gauss[:2]), gauss[0][:, :1]
        if found is not None:
            x = native.stem_input(found, gauss[0], gauss[1], DETAIL)
        else:
            x = folded(luma, luma - expand(gauss[1][:, :1]) if band is None else band[:, :1])
        q, e = self._run("encode", x)
        return q[None], e[None]

    def decide(self, e: Tensor, seen: Tensor | None = None) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """As `Anyfuse.decide`, for one set."""
        assert seen is not None
        found = self._run("decide", flatten_set(e), flatten_set(seen))
        decoded, logit3, r3, logit4, r4, base = (x[None] for x in found)
        return decoded, [(logit3, r3), (logit4, r4), (base, torch.zeros_like(base))]

    def finish(self, q: Tensor, e: Tensor) -> Tensor:
        """As `Anyfuse.finish`, for one set."""
        return self._run("finish", flatten_set(q), flatten_set(e))[0][None]


def load_without_torch(name: str | Path) -> FusionModel:
    """A model whose network ONNX Runtime computes.

    Raises:
        FusionError: another model than the default one, an unknown one, or ONNX Runtime is missing.
    """
    from ..models.registry import MODELS
    from ..models.sharpening import SHARPENERS, Sharpener, SharpenerConfig

    if str(name) in SHARPENERS:
        return Sharpener(SharpenerConfig(str(name)))
    if str(name) != MODEL:
        if str(name) not in MODELS and not Path(name).exists() and "/" not in str(name):
            raise FusionError(f"model {name}: there is none of that name; anyfuse models lists them")
        raise lacks_torch(f"model {name}")
    return OnnxAnyfuse()
