"""Writes the network of the default model as ONNX graphs: `python -m anyfuse.engines.network`.

The package ships them, so that ONNX Runtime can compute the network where PyTorch is not installed
(`engines/without_torch.py`). The graphs hold the convolutions alone. Colour, pyramids, weights and tiles are the
package's own code on both engines. It needs PyTorch, and `pip install "anyfuse[onnx]"`.

    encode   luma and its finest band at half size (N, 8, H/2, W/2) -> features at 1/4 and 1/8 of the size
    decide   features at 1/8 and the smooth images (N, 3, H/8, W/8) -> decoded features, logits and residuals
    finish   features at 1/4 and decoded features at 1/8 -> logits and residuals of the finest bands (N, 18, H/4, W/4)
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Tensor, nn, torch
from ..io.atomic import write_whole
from ..models.anyfuse import Anyfuse
from ..models.registry import load_model
from ..models.set_layers import FoldedStem
from ..weights import WEIGHTS_NAME, package_folder
from .export import OPSET
from .without_torch import GRAPHS, OUTPUTS, graph_path

SIZE = (2, 3)
"""Rows and columns of the sample that is traced, in units of the model's stride."""


class Part(nn.Module):
    """One step of the network for one set of images, without the batch axis."""

    def __init__(self, model: Anyfuse, step: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model, self.step = model, step

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Features (N, C, h, w) each -> (N, C, h, w) each."""
        return self.step(self.model, *features)


def encode(model: Anyfuse, x: Tensor) -> tuple[Tensor, ...]:
    """As `Anyfuse.encode`, with the stem."""
    assert isinstance(model.enc2, FoldedStem)
    q, e = model.encode(model.enc2.see(x), x.shape[0])
    return q[0], e[0]


def decide(model: Anyfuse, e: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
    """As `Anyfuse.decide`."""
    decoded, heads = model.decide(e[None], seen[None])
    (logit3, r3), (logit4, r4), (base, _) = heads
    return decoded[0], logit3[0], r3[0], logit4[0], r4[0], base[0]


def finish(model: Anyfuse, q: Tensor, e: Tensor) -> tuple[Tensor, ...]:
    """As `Anyfuse.finish`."""
    return (model.finish(q[None], e[None])[0],)


STEPS: dict[str, Callable[..., tuple[Tensor, ...]]] = {"encode": encode, "decide": decide, "finish": finish}


def inputs_of(model: Anyfuse, name: str, n: int, height: int, width: int) -> dict[str, tuple[Tensor, int]]:
    """Random features that a step takes for n images of height x width pixels, and how far they are reduced."""
    c = model.config
    wanted = {
        "encode": {"x": (8, 2)},
        "decide": {"e": (c.eighth, 8), "seen": (3, 8)},
        "finish": {"q": (c.quarter, 4), "e": (c.eighth, 8)},
    }[name]
    seed = torch.Generator().manual_seed(n)
    draw = {k: torch.rand(n, planes, height // by, width // by, generator=seed) for k, (planes, by) in wanted.items()}
    return {k: (draw[k], by) for k, (_, by) in wanted.items()}


def shipped_hash() -> str:
    """sha256 of the weights file of the default model."""
    return sha256((package_folder("anyfuse") / WEIGHTS_NAME).read_bytes()).hexdigest()


def graph_of(model: Anyfuse, name: str) -> bytes:
    """One step as an ONNX graph for any number of images and any size; its metadata has the hash of the weights."""
    unit = model.stride
    features = inputs_of(model, name, 3, SIZE[0] * unit, SIZE[1] * unit)
    count = torch.export.Dim("n", min=2)
    rows, columns = torch.export.Dim("rows", min=1, max=1 << 15), torch.export.Dim("columns", min=1, max=1 << 15)
    sizes = tuple({0: count, 2: unit // by * rows, 3: unit // by * columns} for _, by in features.values())
    part = Part(model, STEPS[name]).eval()
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            part,
            tuple(x for x, _ in features.values()),
            input_names=list(features),
            output_names=list(OUTPUTS[name]),
            opset_version=OPSET,
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    made: Any = program.model_proto
    made.metadata_props.add(key="weights", value=shipped_hash())
    return compact(made).SerializeToString()


def compact(made: Any) -> Any:
    """The graph without the notes of its export, and with float16 weights where these are exact."""
    from onnx import helper, numpy_helper

    casts, kept = [], []
    for held in made.graph.initializer:
        values = numpy_helper.to_array(held)
        half = values.astype(np.float16) if values.dtype == np.float32 else values
        if values.dtype != np.float32 or values.size < 64 or not np.array_equal(half.astype(np.float32), values):
            kept.append(held)
            continue
        kept.append(numpy_helper.from_array(half, f"{held.name}_half"))
        casts.append(helper.make_node("Cast", [f"{held.name}_half"], [held.name], to=1))
    nodes = [*casts, *made.graph.node]
    for field in ("initializer", "node", "value_info"):
        del getattr(made.graph, field)[:]
    made.graph.initializer.extend(kept)
    made.graph.node.extend(nodes)
    for node in made.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del made.graph.metadata_props[:]
    return made


def main() -> int:
    """Writes the graphs of the shipped weights into the package."""
    model = load_model("anyfuse")
    assert isinstance(model, Anyfuse)
    for name in GRAPHS:
        path: Path = graph_path(name)
        path.parent.mkdir(exist_ok=True)
        data = graph_of(model, name)
        write_whole(path, [data], overwrite=True)
        print(f"{path}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
