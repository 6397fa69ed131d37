"""anyfuse in napari: a reader for what anyfuse reads, and a widget that fuses the selected image layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import anyfuse
from anyfuse.errors import FusionError
from anyfuse.io.frames import read_frames

if TYPE_CHECKING:
    from napari.layers import Image

LayerData = tuple[np.ndarray, dict[str, Any], str]


def reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]]:
    """napari asks this for a file that the manifest names; the answer opens it."""
    return read


def read(path: str | Sequence[str]) -> list[LayerData]:
    """One layer for each file: all pages of a file alone, as (pages, rows, columns[, 3])."""
    layers: list[LayerData] = []
    for one in [path] if isinstance(path, str) else path:
        frames = read_frames([one])
        pixels = [frame.pixels[..., 0] if frame.channels == 1 else frame.pixels for frame in frames]
        notes = [note for frame in frames for note in frame.warnings]
        options = {"name": Path(one).name, "rgb": frames[0].channels == 3, "metadata": {"anyfuse": notes}}
        if len({part.shape for part in pixels}) == 1:
            layers.append((pixels[0] if len(pixels) == 1 else np.stack(pixels), options, "image"))
        else:  # pages of several sizes
            layers += [(part, {**options, "rgb": part.ndim == 3}, "image") for part in pixels]
    return layers


def fuse_layers(layers: Sequence[Image], model: str = "anyfuse", align: str = "auto") -> LayerData:
    """Fuses image layers of one scene into a new one. A single layer (N, rows, columns) is a stack of N images."""
    images = [image for layer in layers for image in _images(layer)]
    result = anyfuse.Fuser(model).run(images, align=align)
    fused = result.pixels[..., 0] if result.pixels.shape[2] == 1 else result.pixels
    names = " + ".join(layer.name for layer in layers)
    options = {"name": f"fused {names}", "rgb": fused.ndim == 3, "metadata": {"anyfuse": result.report}}
    return fused, options, "image"


def _images(layer: Image) -> list[np.ndarray]:
    """The images of a layer: uint8 and uint16 as they are, other values between the layer's smallest and largest."""
    data = np.asarray(layer.data)
    if data.dtype not in (np.uint8, np.uint16):
        data = data.astype(np.float32)
        low, high = float(np.nanmin(data)), float(np.nanmax(data))  # NaN itself is refused by the fusion
        data = (data - low) / (high - low) if high > low else data - low
    return list(data) if data.ndim > (3 if layer.rgb else 2) else [data]


def fuse_widget() -> Any:
    """The widget: choose layers, model and alignment."""
    from magicgui import magic_factory

    @magic_factory(
        call_button="Fuse the selected layers",
        model={"choices": ["anyfuse", "laplacian", "guided", "mertens"]},
        align={"choices": ["auto", "none", "homography", "local"]},
    )
    def fuse(viewer: napari.Viewer, model: str = "anyfuse", align: str = "auto") -> None:  # type: ignore[name-defined]  # noqa: F821
        from napari.utils.notifications import show_error

        chosen = [layer for layer in viewer.layers if layer in viewer.layers.selection and hasattr(layer, "rgb")]
        try:
            data, options, _ = fuse_layers(chosen, model, align)
        except FusionError as error:
            show_error(str(error))
            return
        viewer.add_image(data, **options)

    return fuse()
