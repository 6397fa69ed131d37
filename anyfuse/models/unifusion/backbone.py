"""Frozen vision transformers behind one call: `features(images) -> list of maps`.

One small ViT of ours reads the weights of DINOv3 (Meta, arXiv 2508.10104; weights: DINOv3 licence, gated), of DINOv2
(arXiv 2304.07193; code and weights Apache-2.0) and of our tiny one, distilled from DINOv2-S (see
training/parts/backbone.py; Apache-2.0).

    name        blocks x width   positions                weights from
    dinov3-s    12 x 384         rotary, 4 registers      a folder or hub id in the Hugging Face layout
    dinov3-b    12 x 768         rotary, 4 registers      the same
    dinov3-l    24 x 1024        rotary, 4 registers      the same
    dinov2-s    12 x 384         table of 37x37           `anyfuse backbone fetch dinov2-s`
    tiny        12 x 96          rotary, 4 registers      the package
    none        no maps: an ablation

Maps lie on a grid 16 times coarser than the image. DINOv2 has patches of 14: it sees the image at 14/16 of its size,
so that its grid is the same. Weights of a backbone are never saved with a fusion model.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ...arrays import F, Tensor, nn, torch
from ...errors import FusionError
from ...runtime import check_regular
from ...weights import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    cache_folder,
    check_values,
    fingerprint,
    from_hub,
    is_hub_id,
    package_folder,
    read_tensors,
    save_folder,
    store_in_cache,
)
from ..frozen import FrozenModule

GRID = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as all of these were trained
PAPER_MEAN = (0.4488, 0.4371, 0.4040)


@dataclass(frozen=True)
class VitConfig:
    """Shape of a vision transformer."""

    patch: int = 16  # pixels
    width: int = 384  # channels
    depth: int = 12  # blocks
    heads: int = 6  # of attention
    registers: int = 4  # register tokens
    table: int = 0  # side of a learned table of positions; 0: rotary positions, as in DINOv3
    key_bias: bool = False  # whether the keys' projection has a bias
    eps: float = 1e-5  # of the norms
    theta: float = 100.0  # base of the rotary frequencies

    @property
    def taps(self) -> tuple[int, ...]:
        """The blocks, counted from 0, whose outputs are given: four, evenly spaced, the last one included."""
        return tuple(self.depth * k // 4 - 1 for k in (1, 2, 3, 4))


@dataclass(frozen=True)
class Source:
    """A backbone with a name: its shape and where its weights come from (a hub id, or None)."""

    config: VitConfig  # its shape
    hub: str | None = None  # hub id
    hint: str = ""  # how to get it


BACKBONES: dict[str, Source] = {
    "dinov3-s": Source(VitConfig(), "facebook/dinov3-vits16-pretrain-lvd1689m"),
    "dinov3-b": Source(VitConfig(width=768, heads=12), "facebook/dinov3-vitb16-pretrain-lvd1689m"),
    "dinov3-l": Source(VitConfig(width=1024, heads=16, depth=24), "facebook/dinov3-vitl16-pretrain-lvd1689m"),
    "dinov2-s": Source(
        VitConfig(patch=14, registers=0, table=37, key_bias=True, eps=1e-6),
        hint="get it with `anyfuse backbone fetch dinov2-s`",
    ),
    "tiny": Source(
        VitConfig(width=96, heads=3),
        hint="train it with `anyfuse train tiny-vit`, then `anyfuse backbone install tiny runs/tiny-vit`",
    ),
}


# ---------------------------------------------------------------------- the transformer


class VitBlock(nn.Module):
    """Pre-norm attention and MLP, each with a learned scale per channel."""

    def __init__(self, c: VitConfig) -> None:
        super().__init__()
        self.heads = c.heads
        self.norm1 = nn.LayerNorm(c.width, c.eps)
        self.q = nn.Linear(c.width, c.width)
        self.k = nn.Linear(c.width, c.width, bias=c.key_bias)
        self.v = nn.Linear(c.width, c.width)
        self.proj = nn.Linear(c.width, c.width)
        self.scale1 = nn.Parameter(torch.ones(c.width))
        self.norm2 = nn.LayerNorm(c.width, c.eps)
        self.fc1 = nn.Linear(c.width, 4 * c.width)
        self.fc2 = nn.Linear(4 * c.width, c.width)
        self.scale2 = nn.Parameter(torch.ones(c.width))

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """Tokens (B, T, C) -> (B, T, C)"""
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.scale1 * self.proj(y)
        return x + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on the last tokens of (B, heads, T, d); the first ones (class, registers) have no place."""
    prefix, x = x[:, :, : x.shape[2] - len(cos)], x[:, :, x.shape[2] - len(cos) :]
    a, b = x.chunk(2, -1)
    return torch.cat([prefix, x * cos + torch.cat([-b, a], -1) * sin], 2)


class Vit(nn.Module):
    """A plain ViT that gives the normalised patch tokens of four blocks as maps."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = c = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, c.width))  # not used here, but part of every checkpoint
        if c.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, c.registers, c.width))
        if c.table:
            self.positions = nn.Parameter(torch.zeros(1, 1 + c.table**2, c.width))
        self.patch = nn.Conv2d(3, c.width, c.patch, c.patch)
        self.blocks = nn.ModuleList([VitBlock(c) for _ in range(c.depth)])
        self.norm = nn.LayerNorm(c.width, c.eps)
        self.initialise(0)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Fresh weights (normal, deviation 0.02), the same for the same seed."""
        gen = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.ndim > 1:
                p.normal_(0, 0.02, generator=gen) if name != "mask_token" else p.zero_()
            elif name.endswith("bias"):
                p.zero_()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W), sides multiples of the patch -> four maps (B, width, H/patch, W/patch)"""
        c = self.config
        x = self.patch(images)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)  # (B, h*w, C)
        cls: Tensor = self.cls_token
        rotary = None
        if c.table:
            x = x + self._table(h, w).to(x.dtype)
            cls = cls + self.positions[:, :1]
        else:
            rotary = self._rotary(h, w, x)
        prefix = [cls, self.register_tokens] if c.registers else [cls]
        x = torch.cat([*(p.expand(len(x), -1, -1) for p in prefix), x], 1)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x, rotary)
            if index in c.taps:
                maps.append(self.norm(x[:, 1 + c.registers :]).transpose(1, 2).unflatten(2, (h, w)))
        return maps

    def _table(self, h: int, w: int) -> Tensor:
        """The learned positions, resampled to a grid: (1, h*w, C)"""
        side = self.config.table
        grid = self.positions[:, 1:].float().transpose(1, 2).unflatten(2, (side, side))
        if (h, w) != (side, side):
            grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False)
        return grid.flatten(2).transpose(1, 2)

    def _rotary(self, h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (h*w, d) of centred coordinates in [-1, 1], DINOv3's frequencies."""
        d = self.config.width // self.config.heads
        frequency = 1 / self.config.theta ** torch.arange(0, 1, 4 / d, device=like.device)
        y, x = ((torch.arange(0.5, n, device=like.device) / n) * 2 - 1 for n in (h, w))
        places = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flatten(0, 1)  # (h*w, 2)
        angles = (2 * math.pi * places[:, :, None] * frequency).flatten(1).tile(2)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


# ---------------------------------------------------------------------- the frozen backbone


class Backbone(FrozenModule):
    """A frozen ViT.

    name: one of BACKBONES, 'none', or a folder or hub id in the Hugging Face layout (DINOv3, DINOv2 or ours). Weights
    are read at the first use or by `load`. random: weights drawn from a fixed seed instead, for the ablation. scaled:
    images are normalised as the backbone was trained (mean and deviation); otherwise the mean alone is taken off, as in
    UniFusion's code.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, random: bool = False, scaled: bool = True) -> None:
        super().__init__()
        self.name, self.random = name, random
        self.folder: Path | None = None
        config = None
        if name != "none":
            config = BACKBONES[name].config if name in BACKBONES else read_config(self._find())
        self.vit = None if config is None else Vit(config)
        self.ready = random or config is None
        self.register_buffer("mean", torch.tensor(MEAN if scaled else PAPER_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD if scaled else (1.0,) * 3).view(3, 1, 1), persistent=False)
        self.freeze()

    @property
    def width(self) -> int:
        """Channels of a map; 0 for 'none'."""
        return 0 if self.vit is None else self.vit.config.width

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in [0, 1], sides multiples of 16 -> four maps (B, width, H/16, W/16), or [] for 'none'"""
        if self.vit is None:
            return []
        self.load()
        if self.vit.config.patch != GRID:
            size = [side // GRID * self.vit.config.patch for side in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        dtype = self.vit.patch.weight.dtype
        return self.vit(((images - self.mean) / self.std).to(dtype))

    def load(self) -> None:
        """Reads the weights unless they are there already; a FusionError says how to get them."""
        if self.ready or self.vit is None:
            return
        load_vit(self.vit, self._find())
        self.ready = True

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the sha256 over the weights, in float16 so that storage does not matter; ''
        for 'none'.
        """
        return fingerprint(value for _, value in sorted(self.named_parameters())) if self.vit is not None else ""

    def _find(self) -> Path:
        self.folder = self.folder or find_folder(self.name)
        return self.folder


def find_folder(name: str) -> Path:
    """The folder with config.json and model.safetensors of a backbone: in the package, in the cache, a path, on the
    hub.
    """
    known = BACKBONES.get(name)
    if known is not None:
        for folder in (package_folder(f"{name}-vit"), cache_folder() / name):
            if (folder / WEIGHTS_NAME).exists():
                return folder
        if known.hub is None:
            raise FusionError(f"backbone {name} is not there: {known.hint}")
    elif Path(name).is_dir():
        return Path(name)
    hub = name if known is None else known.hub
    if hub is None or not is_hub_id(hub):
        raise FusionError(
            f"unknown backbone '{name}': known are {', '.join(BACKBONES)}, none; or a folder, or a hub id"
        )
    try:
        return from_hub(hub)
    except FusionError as error:
        own = "" if known is None else f"; put config.json and model.safetensors into {cache_folder() / name}, or"
        raise FusionError(f"backbone {name}: {hub} could not be loaded ({error}){own} use another --model") from None


def is_fetched(name: str) -> bool:
    """Whether the weights of a known backbone are in the package or in the cache."""
    return any((folder / WEIGHTS_NAME).exists() for folder in (package_folder(f"{name}-vit"), cache_folder() / name))


def backbone_places() -> dict[str, str]:
    """Name of each known backbone -> its folder, 'hub: ID', or 'not here; ' and how to get it."""
    places = {}
    for name, source in BACKBONES.items():
        try:
            here = source.hub is None or (cache_folder() / name).is_dir()
            places[name] = str(find_folder(name)) if here else f"hub: {source.hub}"
        except FusionError:
            places[name] = f"not here; {source.hint}"
    return places


def install_backbone(name: str, folder: str | Path) -> Path:
    """Puts a backbone into the cache, under its name; returns the folder there.

    Args:
        name: one of BACKBONES.
        folder: with config.json and model.safetensors, ours or in the Hugging Face layout.

    Raises:
        FusionError: an unknown name, weights of another shape, or a cache that cannot be written.
    """
    if name not in BACKBONES:
        raise FusionError(f"unknown backbone '{name}': known are {', '.join(BACKBONES)}")
    config = read_config(Path(folder))
    if config != BACKBONES[name].config:
        raise FusionError(f"{folder}: is not a {name}: {config} instead of {BACKBONES[name].config}")
    vit = Vit(config)
    load_vit(vit, Path(folder))
    return store_in_cache(lambda target: save_vit(vit, target), name)


# ---------------------------------------------------------------------- reading checkpoints

RENAME = (
    (r"^(model|backbone|dinov2|dinov3)\.", ""),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch."),
    (r"^embeddings\.position_embeddings$", "positions"),
    (r"^embeddings\.", ""),
    (r"^(model\.|encoder\.)?layer\.", "blocks."),
    (r"\.attention\.(attention\.)?(query|q_proj)\.", ".q."),
    (r"\.attention\.(attention\.)?(key|k_proj)\.", ".k."),
    (r"\.attention\.(attention\.)?(value|v_proj)\.", ".v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".proj."),
    (r"\.layer_scale([12])\.lambda1$", r".scale\1"),
    (r"\.mlp\.(up_proj|fc1)\.", ".fc1."),
    (r"\.mlp\.(down_proj|fc2)\.", ".fc2."),
    (r"^layernorm\.", "norm."),
)
"""Names of transformers' DINOv2 and DINOv3 (versions 4 and 5) -> ours; our own pass unchanged."""


def rename(key: str) -> str:
    """Name of a parameter in a checkpoint -> its name in `Vit`."""
    for pattern, ours in RENAME:
        key = re.sub(pattern, ours, key)
    return key


def read_config(folder: Path) -> VitConfig:
    """The shape of the ViT in a folder: ours, or transformers' DINOv2 or DINOv3 configuration."""
    path = folder / CONFIG_NAME
    try:
        config = _config_in(path)
        check_values(VitConfig, asdict(config))
        return config
    except OSError:
        raise FusionError(f"{folder}: no config.json there, so it is not the folder of a backbone") from None
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FusionError(f"{path}: not the configuration of a DINOv2 or DINOv3 ({error})") from None


def _config_in(path: Path) -> VitConfig:
    check_regular(path)
    raw = json.loads(path.read_text())
    if raw.get("system") == "Vit":
        known = {f.name for f in fields(VitConfig)}
        return VitConfig(**{k: v for k, v in raw.items() if k in known})
    kind = raw["model_type"]
    common = {
        "patch": raw["patch_size"],
        "width": raw["hidden_size"],
        "depth": raw["num_hidden_layers"],
        "heads": raw["num_attention_heads"],
        "eps": raw["layer_norm_eps"],
    }
    if kind == "dinov3_vit" and not raw.get("use_gated_mlp"):
        common |= {"theta": raw.get("rope_parameters", raw).get("rope_theta", 100.0), "key_bias": raw["key_bias"]}
        return VitConfig(registers=raw["num_register_tokens"], **common)
    if kind == "dinov2" and not raw.get("use_swiglu_ffn"):
        return VitConfig(registers=0, table=raw["image_size"] // raw["patch_size"], key_bias=True, **common)
    raise FusionError(f"{path}: a '{kind}' of this form is not read; DINOv2 and DINOv3 with a plain MLP are")


def load_vit(vit: Vit, folder: Path) -> None:
    """Loads the weights of a folder strictly; only DINOv2's unused mask token may be missing."""
    path = folder / WEIGHTS_NAME
    state = {rename(k): v for k, v in read_tensors(path).items()}
    own = vit.state_dict()
    state.setdefault("mask_token", torch.zeros_like(own["mask_token"]))
    state["mask_token"] = state["mask_token"].view_as(own["mask_token"])
    wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
    if wrong:
        raise FusionError(f"{path}: {len(wrong)} weights don't fit the backbone, the first is {wrong[0]}")
    vit.load_state_dict(state)


def save_vit(vit: Vit, folder: Path) -> None:
    """Writes config.json and model.safetensors, float16."""
    state = {k: v.half() for k, v in vit.state_dict().items()}
    save_folder(folder, {"system": "Vit", **asdict(vit.config)}, state)
