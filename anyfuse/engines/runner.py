"""Runs an exported graph by ONNX Runtime. It needs neither PyTorch nor the rest of the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError


def session(graph: str | Path | bytes, threads: int | None = None) -> Any:
    """An ONNX Runtime session of a file or of its content.

    Args:
        graph: of `anyfuse export`.
        threads: that it may use; None: all cores.

    Raises:
        FusionError: ONNX Runtime is missing, or this is no graph.
    """
    try:
        import onnxruntime
    except ImportError:
        raise FusionError("an ONNX graph needs onnxruntime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the core to others
    what = graph if isinstance(graph, bytes) else os.fspath(graph)
    try:
        return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise FusionError(f"{'the graph' if isinstance(what, bytes) else what}: is no ONNX graph ({error})") from None


def run_graph(ready: Any, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) of one scene -> fused (H, W, 3), of the graph's depth: uint8, or float32 in [0, 1].

    Raises:
        FusionError: the images are of another shape or depth than the graph takes.
    """
    wanted = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[ready.get_inputs()[0].type]
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) < 2 or images.dtype != wanted:
        shape = "x".join(map(str, images.shape))
        raise FusionError(
            f"images of {shape}, {images.dtype}: the graph takes (N, H, W, 3) of {wanted.__name__}, N >= 2"
        )
    return ready.run(None, {ready.get_inputs()[0].name: images})[0]
