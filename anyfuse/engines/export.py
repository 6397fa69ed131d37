"""A model as an ONNX graph: images in, the fused image out, for any number of inputs and any size.

The graph holds what stands around the network too: colour, padding and rounding. It takes uint8 pixels, or float32 in
[0, 1], and gives the same. What the graph says is compared with PyTorch before it is written. Origin: ours.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import math
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import FusionError
from ..image.colour import join, merge_chroma, to_chroma, to_luma
from ..io.atomic import target_of, write_whole
from ..models.base import FusionModel
from ..version import __version__
from .runner import run_graph, session

OPSET = 20
Depth = Literal["uint8", "float32"]
DEPTHS: tuple[Depth, ...] = ("uint8", "float32")
TOLERANCE: Mapping[str, float] = {"uint8": 1.0, "float32": 1 / 255}
"""How far the graph may be from PyTorch: one level of 8 bits."""
CHECKED = ((2, 70, 91), (3, 64, 96), (5, 37, 130))
"""Numbers and sizes of the images that a graph is checked on."""


class Graph(nn.Module):
    """All that happens to RGB pixels (N, H, W, 3): to planes, padded, fused, cut, joined, to pixels (H, W, 3)."""

    def __init__(self, model: FusionModel, depth: Depth) -> None:
        super().__init__()
        self.model, self.depth = model, depth
        self.unit = math.lcm(model.stride, model.context_scale or 1)

    def forward(self, images: Tensor) -> Tensor:
        """images: of the same scene, all of one size; grey ones have three equal channels."""
        rgb = images.movedim(-1, 1).float()  # (N, 3, H, W)
        rgb = rgb / 255 if self.depth == "uint8" else rgb.clamp(0, 1)
        chroma = to_chroma(rgb)
        planes = torch.cat([to_luma(rgb), chroma], 1)
        height, width = planes.shape[-2:]
        fused = self.model(self._padded(planes)[None])[0, :, :height, :width]
        merged = merge_chroma(chroma)
        coloured = (chroma.abs().amax((1, 2, 3)) > 1e-4).all()  # of every image
        out = join(fused[:1], torch.where(coloured, fused[1:], merged)).movedim(0, -1)
        return (out * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8) if self.depth == "uint8" else out

    def _padded(self, planes: Tensor) -> Tensor:
        """Planes (N, C, H, W), mirrored at the right and at the bottom up to a multiple of the model's stride."""
        for dim in (2, 3):
            size = planes.shape[dim]
            places = torch.arange((size + self.unit - 1) // self.unit * self.unit)
            planes = planes.index_select(dim, (size - 1 - (size - 1 - places).abs()).abs().clamp(max=size - 1))
        return planes


def export(model: FusionModel, name: str, path: str | Path, depth: Depth = "uint8", *, overwrite: bool = False) -> Path:
    """Writes a model as an ONNX graph.

    Args:
        model: one whose weights apply to luma and chroma alike (`carries_chroma`).
        name: of the model, for the graph's metadata.
        path: file to write, ending in .onnx.
        depth: of the pixels that go in and come out; float32 is in [0, 1].
        overwrite: replace a file.

    Returns:
        `path`. Inputs of the graph: images (N, H, W, 3). Outputs: fused (H, W, 3). N is 2 or more.

    Raises:
        FusionError: such a model or depth cannot be exported, a package is missing, the file exists, or the graph
            differs from PyTorch by more than one level of 8 bits.
    """
    path = Path(path)
    _check(model, name, path, depth, overwrite)
    graph = Graph(copy.deepcopy(model).float().cpu().eval(), depth)
    data = _made(graph, {"model": name, "anyfuse": __version__, "depth": depth, "weights": weights_hash(model)})
    compare(graph, data, depth)
    write_whole(path, [data], overwrite=overwrite)
    return path


def _check(model: FusionModel, name: str, path: Path, depth: str, overwrite: bool) -> None:
    """Raises FusionError where such a graph cannot be made."""
    if depth not in DEPTHS:
        raise FusionError(f"depth {depth}: give {' or '.join(DEPTHS)}")
    if not model.carries_chroma or model.channels != 1 or model.arity[1] is not None:
        what = "one of luma and chroma of any number of images, as 'anyfuse', 'average' and 'maximum' have"
        raise FusionError(f"model {name} cannot be exported: its graph is not {what}")
    if path.suffix != ".onnx":
        raise FusionError(f"{path}: an ONNX graph ends in .onnx")
    target_of(str(path), overwrite, ())
    missing = [
        package for package in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise FusionError(f'export needs {", ".join(missing)}: pip install "anyfuse[onnx]"')


def _made(graph: Graph, facts: Mapping[str, str]) -> bytes:
    """The graph as ONNX, for any N, H and W, with facts as metadata."""
    images = torch.from_numpy(samples(*CHECKED[1], graph.depth))
    any_size = dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            (images,),
            input_names=["images"],
            output_names=["fused"],
            opset_version=OPSET,
            dynamic_shapes=(any_size,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    for value, names in ((made.graph.input[0], ("N", "H", "W")), (made.graph.output[0], ("H", "W"))):
        for dim, label in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dim.dim_param = label
    for key, value in facts.items():
        made.metadata_props.add(key=key, value=value)
    return made.SerializeToString()


def samples(n: int, height: int, width: int, depth: Depth) -> np.ndarray:
    """Images (N, H, W, 3) of one made scene, of different brightness, the last one grey."""
    rows, columns = np.mgrid[:height, :width] / 7.0
    scene = 0.5 + 0.2 * np.sin(rows + np.sin(columns)) + 0.2 * np.cos(columns * 1.7)
    scene = np.stack([scene, scene**1.5, scene[::-1]], -1).clip(0, 1)
    images = np.stack([scene ** (0.5 + 0.5 * k) for k in range(n)])
    images[-1] = images[-1].mean(-1, keepdims=True)
    return (images * 255).round().astype(np.uint8) if depth == "uint8" else images.astype(np.float32)


def compare(graph: Graph, data: bytes, depth: Depth) -> float:
    """The largest difference of an ONNX graph from PyTorch. Raises FusionError where it is over one level."""
    ready, most = session(data), 0.0
    for shape in CHECKED:
        images = samples(*shape, depth)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images)).numpy()
        most = max(most, float(np.abs(run_graph(ready, images).astype(float) - expected).max()))
    if most > TOLERANCE[depth]:
        raise FusionError(
            f"it cannot be exported: the graph differs from PyTorch by {most:.3g} of {depth}, and was not written"
        )
    return most


def weights_hash(model: nn.Module) -> str:
    """sha256 of a model's weights, by their names."""
    found = sha256()
    for key, value in sorted(model.state_dict().items()):
        found.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
