"""DINOv2 out of an ONNX file, without the onnx package: a reader of the few protobuf fields that are needed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ...errors import FusionError
from .backbone import BACKBONES, Vit, rename


def read_fields(data: memoryview) -> list[tuple[int, Any]]:
    """The fields of one protobuf message: (number, integer or bytes)."""
    out: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            out.append((key >> 3, varint()))
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        out.append((key >> 3, data[at : at + size]))
        at += size
    return out


def vit_from_onnx(data: bytes) -> Vit:
    """The DINOv2 ViT-S/14 in an exported model whose nodes keep transformers' names (TensorProto and NodeProto of
    onnx.proto).

    Biases and norms are stored by name; the matrices of linear layers lost theirs and get them back from their nodes,
    the cls token's and the table's positions likewise.
    """
    (graph,) = (v for n, v in read_fields(memoryview(data)) if n == 7)
    tensors: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    nodes = []
    for number, value in read_fields(graph):
        if number == 1:
            nodes.append(read_fields(value))
        if number == 5:
            parts = read_fields(value)
            shape = _dims(parts)
            raw = next((v for n, v in parts if n == 9), None)
            if raw is not None and (2, 1) in [(n, v) for n, v in parts if n == 2]:  # float32
                name = bytes(next(v for n, v in parts if n == 8)).decode()
                tensors[name] = torch.frombuffer(bytearray(raw), dtype=torch.float32).view(shape)
    for parts in nodes:
        inputs = [bytes(v).decode() for n, v in parts if n == 1]
        name = bytes(next((v for n, v in parts if n == 3), b"")).decode()
        where = name.removeprefix("/").replace("/", ".")
        if name.endswith("/MatMul") and inputs[1] in tensors:
            state[where.removesuffix("MatMul") + "weight"] = tensors[inputs[1]].T.contiguous()
    state |= {k: v for k, v in tensors.items() if k.startswith("backbone.")}
    loose = {tuple(v.shape): v for k, v in tensors.items() if k.startswith("onnx::") and v.ndim == 3}
    config = BACKBONES["dinov2-s"].config
    vit = Vit(config)
    state = {rename(k): v for k, v in state.items()}
    try:
        state["positions"] = torch.cat([loose[1, 1, config.width], loose[1, config.table**2, config.width]], 1)
        state["mask_token"] = torch.zeros(1, 1, config.width)
        vit.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise FusionError(f"the ONNX file does not hold a DINOv2 ViT-S/14 ({str(error).splitlines()[0]})") from None
    return vit


def _dims(parts: list[tuple[int, Any]]) -> list[int]:
    """Shape of a TensorProto: repeated integers, packed or one by one."""
    out: list[int] = []
    for number, value in parts:
        if number == 1:
            if isinstance(value, int):
                out.append(value)
            else:
                out += _varints(value)
    return out


def _varints(data: memoryview) -> list[int]:
    ends = [-1, *(i for i, byte in enumerate(data) if byte < 128)]
    return [sum((data[a + 1 + k] & 127) << (7 * k) for k in range(b - a)) for a, b in pairwise(ends)]
