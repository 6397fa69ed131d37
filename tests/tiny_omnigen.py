"""A tiny OmniGen with random weights, saved in diffusers' layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}


def save_omnigen(root: Path) -> Path:
    """A whole pipeline in a folder, which it returns: width 16, 2 layers, a codec of 4 channels at 1/8, a tokenizer of
    letters; skips the test where diffusers or tokenizers are not installed.
    """
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    net = diffusers.OmniGenTransformer2DModel(
        hidden_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=24,
        num_layers=2,
        vocab_size=300,
        pad_token_id=2,
        rope_scaling=FACTORS,
        pos_embed_max_size=12,
    )
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    net.save_pretrained(root / "transformer")
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    vae.save_pretrained(root / "vae")
    letters = {"<unk>": 0, "<s>": 1, "<pad>": 2} | {chr(k): k - 29 for k in range(32, 127)} | {"\n": 98}
    model = tokenizers.models.WordLevel(letters, unk_token="<unk>")
    plain = tokenizers.Tokenizer(model)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    plain.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", pad_token="<pad>").save_pretrained(
        root / "tokenizer"
    )
    (root / "model_index.json").write_text('{"_class_name": "OmniGenPipeline"}')
    return root
