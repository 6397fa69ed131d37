"""TITA checkpoints in the layout of released code, read into our TITA and written back.

The names are those of the SwinFusion family for what TITA takes over from it, and for IPA and OAF the words of the
paper. They have not been checked against a released file. Loading is strict, so a checkpoint with other names is
refused with the names in question, and `names` takes other ones: a dict from ours (left column of NAMES) to theirs.

Two things differ besides names. They keep index tables and masks, which are dropped here. Self attention has one `qkv`
there as here; cross attention has `q` and `kv`, which are joined.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import FusionError
from ...weights import LOADING_ERRORS
from .tita import BRANCHES, TITA, TITAConfig

NAMES: dict[str, str] = {
    "stem.0": "conv_first1_A",
    "stem.2": "conv_first2_A",
    "stem_b.0": "conv_first1_B",
    "stem_b.2": "conv_first2_B",
    "embed": "patch_embed.norm",
    "extract_a": "layers_Ex_A.0.residual_group.blocks",
    "extract_b": "layers_Ex_B.0.residual_group.blocks",
    "extract_norm.0": "norm_Ex_A",
    "extract_norm.1": "norm_Ex_B",
    "interact": "layers_Fusion.{group}.residual_group.blocks",
    "interact_norm.0": "norm_Fusion_A",
    "interact_norm.1": "norm_Fusion_B",
    "rebuild": "layers_Re.0.residual_group.blocks",
    "rebuild_norm": "norm_Re",
    "head.0": "conv_last1",
    "head.2": "conv_last2",
    "head.4": "conv_last3",
    "norm1": "norm1",
    "norm2": "norm2",
    "attn": "attn",
    "mlp": "mlp",
    "norm1.0": "norm1_A",
    "norm1.1": "norm1_B",
    "norm2.0": "norm2_A",
    "norm2.1": "norm2_B",
    "attn.0": "attn_A",
    "attn.1": "attn_B",
    "mlp.0": "mlp_A",
    "mlp.1": "mlp_B",
    "table": "relative_position_bias_table",
    "first": "fc1",
    "second": "fc2",
    "ipa": "ipa",
    "gate.first": "discriminator.0",
    "gate.second": "discriminator.2",
    "attend.0": "attn_1",
    "attend.1": "attn_2",
    "noise_k": "k_noise.weight",
    "noise_v": "v_noise.weight",
    "adapt.0": "oaf.block_A",
    "adapt.1": "oaf.block_B",
    "make": "conv",
    **{f"branches.{b}": b.upper() for b in BRANCHES},
    "weigh.first": "oaf.mlp.0",
    "weigh.second": "oaf.mlp.2",
}
DROPPED = re.compile(r"(^|\.)(relative_position_index|attn_mask|hamming\w*)$")
CROSS = re.compile(r"^interact\.\d+\.attn\.\d\.qkv\.(weight|bias)$")


def their_key(key: str, depths: tuple[int, ...], names: Mapping[str, str] = NAMES) -> str:
    """Their name of our key; `depths` of the interaction's groups. The longest piece that `names` knows goes first."""
    parts = key.split(".")
    out: list[str] = []
    index = 0
    while index < len(parts):
        for stop in range(len(parts), index, -1):
            name = names.get(".".join(parts[index:stop]))
            if name is not None:
                break
        else:
            stop, name = index + 1, parts[index]
        if "{group}" in name:
            block = int(parts[stop])
            group = next(g for g in range(len(depths)) if block < sum(depths[: g + 1]))
            name = name.format(group=group) + f".{block - sum(depths[:group])}"
            stop += 1
        out.append(name)
        index = stop
    return ".".join(out)


def to_released(model: TITA, names: Mapping[str, str] = NAMES) -> dict[str, Tensor]:
    """The weights of `model` under released names; whole if it has the second stem."""
    out: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        name = their_key(key, model.config.interact, names)
        if CROSS.match(key):
            base, _, kind = name.rpartition(".qkv.")
            c = model.config.channels
            out[f"{base}.q.{kind}"], out[f"{base}.kv.{kind}"] = value[:c].clone(), value[c:].clone()
        else:
            out[name] = value.clone()
    return out


def from_released(
    state: Mapping[str, Tensor], config: TITAConfig | None = None, names: Mapping[str, str] = NAMES
) -> TITA:
    """A TITA with released weights.

    Raises FusionError naming the first keys that are missing, left over or of another shape.
    """
    model = TITA(config or TITAConfig(second_stem=True))
    rest = {k: v for k, v in state.items() if not DROPPED.search(k)}
    expected = to_released(model, names)
    wrong = [f"missing {k}" for k in sorted(expected.keys() - rest.keys())]
    wrong += [f"unexpected {k}" for k in sorted(rest.keys() - expected.keys())]
    wrong += [
        f"{k} is {tuple(rest[k].shape)} for {tuple(v.shape)}"
        for k, v in expected.items()
        if k in rest and rest[k].shape != v.shape
    ]
    if wrong:
        raise FusionError(
            f"{len(wrong)} keys don't fit the released layout of TITA as known here ({'; '.join(wrong[:4])}): "
            "check the configuration, or give `names`"
        )
    own: dict[str, Tensor] = {}
    for key in model.state_dict():
        name = their_key(key, model.config.interact, names)
        base, _, kind = name.rpartition(".qkv.")
        own[key] = torch.cat([rest[f"{base}.q.{kind}"], rest[f"{base}.kv.{kind}"]]) if CROSS.match(key) else rest[name]
    model.load_state_dict(own, strict=True)
    return model.eval()


def load_released(path: str | Path, config: TITAConfig | None = None, names: Mapping[str, str] = NAMES) -> TITA:
    """`from_released` for a file that torch.save wrote: a state dict, or one under `params`, `params_ema` or
    `state_dict`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*LOADING_ERRORS, AssertionError, struct.error) as error:  # torch.load unpickles before it checks
        raise FusionError(f"{path}: not a checkpoint of tensors ({type(error).__name__})") from None
    for key in ("params_ema", "params", "state_dict"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise FusionError(f"{path}: holds no state dict of tensors")
    return from_released({k.removeprefix("module."): v for k, v in state.items()}, config, names)
