"""A tiny Depth Anything with random weights, saved as its authors' are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def save_depth_anything(folder: Path) -> str:
    """Its folder; skips the test where transformers is not installed."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    backbone = transformers.Dinov2Config(
        hidden_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=12,
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        head_hidden_size=4,
    )
    torch.manual_seed(0)
    network = transformers.DepthAnythingForDepthEstimation(config)
    for weights in network.parameters():
        weights.data.uniform_(0, 0.5)  # as initialised, its output is all but constant
    network.save_pretrained(str(folder))
    return str(folder)
