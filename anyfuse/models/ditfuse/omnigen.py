"""DiTFuse at full size (TPAMI 2025, arXiv 2512.07170): OmniGen v1 (arXiv 2409.11340) with a low-rank adapter of its
attention.

Origin: OmniGen's transformer, the codec and the tokenizer are those of diffusers and transformers (Apache-2.0), which
run them; prompts, mask, cache, flow and guidance here are written from the facts of the two papers. Weights: OmniGen v1
MIT, SDXL VAE MIT; see the adapter's own page for its terms.

    transformer  OmniGenTransformer2DModel, 3.76 B; tokens of 16x16 pixels, posterior mode of the codec, not a sample
    adapter      rank 8 on queries, keys and values together (one down map, 3 D x 8 up) and on the output: 4,718,592
                 numbers; the only weights that this model saves. `merge` puts it into diffusers' split projections:
                 down shared, up cut into its three blocks of rows
    sequence     [text with two image spans | time | target]; keys and values of the condition are computed once per
                 image and branch

    training     in training mode gradients reach the adapter alone, through the cache as well; with `checkpointing`
                 each layer is computed again in the backward pass

A folder in diffusers' layout (transformer/, vae/, tokenizer/) is loaded as it is, `--model FOLDER`; with an adapter:

    OmniGen(OmniGenConfig(source="Shitao/OmniGen-v1-diffusers",
    lora="adapter.safetensors")).save_pretrained("ditfuse-full")
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...arrays import F, Tensor, nn, torch
from ...control import Control
from ...errors import FusionError
from ...weights import LOADING_ERRORS, fingerprint, is_hub_id
from ..base import Context, FusionModel, flatten_set
from ..frozen import FrozenModule
from .adapter import Adapter, read_adapter
from .prompt import check, full_prompt, ignored, image_tag
from .sequence import TARGET, TEXT, TIME, attention_mask
from .transformer import KeysValues

HEAD = "<|user|>\nGenerate an image according to the following instructions\n"
TAIL = "<|end|>\n<|assistant|>\n<|diffusion|>"
PATCH = 16
"""Pixels of a token's side: patches of 2 of latents at 1/8."""


@dataclass(frozen=True)
class OmniGenConfig:
    """DiTFuse at full size."""

    source: str = "Shitao/OmniGen-v1-diffusers"  # folder or hub id in diffusers' layout
    lora: str = ""  # safetensors file of an adapter of OmniGen's fused projections; empty: none, or the saved one
    rank: int = 8  # of the adapter; 0: none
    alpha: int = 8  # of the adapter
    steps: int = 50  # Euler steps
    branches: int = 3  # passes of guidance, as in DiTFuseConfig
    text_scale: float = 2.0  # s_txt
    image_scale: float = 1.6  # s_img
    # pixels of the longer side inside the network; the result has the size of the input; 0: no resizing
    longest: int = 1024
    negative: str = ""  # prompt of v_neg; empty: OmniGen's own, from diffusers
    dtype: str = "float32"  # float32 or bfloat16

    @classmethod
    def paper(cls) -> OmniGenConfig:
        """The published system: OmniGen v1 with the adapter of `lora`, 50 steps, guidance 2.0 and 1.6. The defaults."""
        return cls()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise FusionError(f"steps {self.steps}: give 1 or more")
        if self.branches not in (1, 2, 3):
            raise FusionError(f"branches {self.branches}: give 1, 2 or 3")
        if self.dtype not in ("float32", "bfloat16"):
            raise FusionError(f"dtype {self.dtype}: give float32 or bfloat16")
        if self.longest % PATCH or self.longest < 0:
            raise FusionError(f"longest {self.longest}: give a multiple of {PATCH}, or 0 for no resizing")
        if self.rank < 0:
            raise FusionError(f"rank {self.rank}: give 0 or more")


# ---------------------------------------------------------------------- prompts


def token_ids(tokenizer: Any, text: str, tokens: int) -> tuple[list[int], list[int]]:
    """A wrapped prompt -> ids, and what each belongs to: 0 is text, 1 and 2 the images, whose spans have `tokens` ids
    of 0 each.
    """
    ids: list[int] = []
    token_types: list[int] = []
    for index, part in enumerate(re.split(r"(<\|image_[12]\|>)", HEAD + text + TAIL)):
        if index % 2:
            number = int(part[len("<|image_")])
            ids += [0] * tokens
            token_types += [number] * tokens
            continue
        part_ids = list(tokenizer(part).input_ids)
        if index and part_ids and part_ids[0] == tokenizer.bos_token_id:
            part_ids = part_ids[1:]
        ids += part_ids
        token_types += [TEXT] * len(part_ids)
    return ids, token_types


def negative_prompt() -> str:
    """OmniGen's own, which diffusers has as a default."""
    from diffusers.pipelines.omnigen.processor_omnigen import OmniGenMultiModalProcessor

    return str(inspect.signature(OmniGenMultiModalProcessor.__call__).parameters["negative_prompt"].default)


# ---------------------------------------------------------------------- the system


class Frozen(FrozenModule):
    """Transformer and codec of diffusers, frozen. Loaded in bfloat16 they stay in it."""

    def __init__(self, transformer: Any, vae: Any) -> None:
        super().__init__()
        self.transformer, self.vae = transformer, vae
        self.freeze()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        def without_widening(x: Tensor) -> Tensor:
            y = fn(x)
            return y.to(x.dtype) if y.element_size() > x.element_size() else y

        return super()._apply(without_widening, recurse)


@dataclass
class EncodedBranch:
    """What the target needs of one branch of the guidance."""

    ids: Tensor  # (1, T)
    token_types: Tensor  # (T + 1 + n,), time and target included
    rotation: tuple[Tensor, Tensor]  # cosines and sines of the whole sequence
    cache: list[KeysValues]  # of the condition, for each layer


class OmniGen(FusionModel):
    """The full system.

    Its condition is a Control. steps, branches, text_scale, image_scale, cache, seed: as DiTFuse has them. Classes are
    painted by the network itself, as a translucent overlay in the result. checkpointing: layers keep their inputs alone
    for the gradient, and are computed twice.
    """

    stride = PATCH
    halo = None
    arity: tuple[int, int | None] = (2, 2)
    channels = 3
    ordered = True
    working_bytes = 6000

    def __init__(self, config: OmniGenConfig | None = None, parts: tuple[Any, Any, Any] | None = None) -> None:
        """parts: transformer, codec and tokenizer that are there already; None: those of `config.source`."""
        super().__init__()
        self.config = c = config or OmniGenConfig()
        transformer, vae, self.tokenizer = parts or load_parts(c)
        self.frozen = Frozen(transformer, vae)
        width, layers = transformer.config.hidden_size, transformer.config.num_layers
        self.adapters = nn.ModuleList([Adapter(width, c.rank, c.alpha) for _ in range(layers if c.rank else 0)])
        if c.lora:
            self._take(read_adapter(c.lora), c.lora)
        self.steps, self.branches = c.steps, c.branches
        self.text_scale, self.image_scale = c.text_scale, c.image_scale
        self.cache, self.seed = True, 0
        self.checkpointing = False
        self.register_load_state_dict_post_hook(_without_frozen)

    def _take(self, state: dict[str, Tensor], path: str) -> None:
        own = self.adapters.state_dict()
        wrong = sorted({k for k, v in state.items() if k not in own or own[k].shape != v.shape} | (own.keys() - state))
        if wrong:
            raise FusionError(f"{path}: {wrong[0]} does not fit rank {self.config.rank} of {len(self.adapters)} layers")
        self.adapters.load_state_dict(state)

    def save_pretrained(self, folder: str | Path) -> None:
        """As FusionModel: config.json, and the adapter alone; `lora` is then in the weights, and a folder that is
        `source` is named in full.
        """
        source = str(Path(self.config.source).resolve()) if Path(self.config.source).is_dir() else self.config.source
        before, self.config = self.config, replace(self.config, lora="", source=source)
        try:
            super().save_pretrained(folder)
        finally:
            self.config = before

    def half(self) -> OmniGen:
        """The adapter in float16, as it is saved; the frozen parts keep their numbers."""
        self.adapters.half()
        return self

    def merge(self) -> None:
        """Puts the adapter into the transformer's weights."""
        for adapter, layer in zip(self.adapters, self.frozen.transformer.layers, strict=False):
            adapter.merge(layer.self_attn)  # type: ignore[operator]

    @property
    def latent_channels(self) -> int:
        """Of the codec."""
        return int(self.frozen.vae.config.latent_channels)

    def fingerprint(self) -> str:
        """Of the codec's weights."""
        return fingerprint(self.frozen.vae.parameters())

    def condition(self, control: Control, order: Sequence[int]) -> Control | None:
        """As FusionModel; refuses degradations."""
        check(control)
        return None if control.empty else control

    def ignored(self, control: Control) -> list[str]:
        """As FusionModel: what it shall preserve has no effect."""
        return ignored(control)

    # ------------------------------------------------------------------ codec

    @property
    def codec(self) -> OmniGen:
        """What encodes and decodes, as LatentModel has it: the model itself."""
        return self

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> latents (B, C, H/8, W/8), the posterior's mode"""
        vae = self.frozen.vae
        latents = vae.encode((images * 2 - 1).to(vae.dtype)).latent_dist.mode()
        return (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images (B, 3, H, W), not clamped"""
        vae = self.frozen.vae
        latents = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        return vae.decode(latents).sample.float() / 2 + 0.5

    # ------------------------------------------------------------------ the transformer, with a cache

    def encode_condition(self, text: str, latents: list[Tensor], size: tuple[int, int]) -> EncodedBranch:
        """A prompt and the latents of its images (1, C, h, w), none where it has no spans -> ids, turns, keys and
        values of the condition.
        """
        net = self.frozen.transformer
        count = size[0] * size[1] // 4
        ids, parts = token_ids(self.tokenizer, text, count)
        device = net.device
        target = [TIME] + [TARGET] * count
        token_types = torch.tensor(parts + target, device=device)
        row = torch.tensor([ids], device=device)
        x = net.embed_tokens(row).clone()
        for number, image in enumerate(latents, 1):
            tokens = net.patch_embedding(image.to(net.dtype), is_input_image=True)
            x[:, token_types[: len(ids)] == number] = tokens.to(x)
        rotation = net.rope(x, torch.arange(len(token_types), device=device)[None])
        mask = attention_mask(token_types[: len(ids)])
        cache = []
        for index in range(len(net.layers)):
            x, own = self._layer(index, x, [t[: len(ids)] for t in rotation], mask, None)
            cache.append(own)
        return EncodedBranch(row, token_types, rotation, cache)

    def velocity(self, x: Tensor, t: float, encoded: EncodedBranch) -> Tensor:
        """x (1, C, h, w) at time t in [0, 1] -> v (1, C, h, w)"""
        net = self.frozen.transformer
        h, w = x.shape[-2:]
        time = net.time_proj(x.new_full((1,), t, dtype=torch.float32)).to(net.dtype)
        y = net.patch_embedding(x.to(net.dtype), is_input_image=False)
        y = torch.cat([net.time_token(time)[:, None], y], 1)
        before = encoded.ids.shape[1]
        mask = torch.ones(y.shape[1], len(encoded.token_types), dtype=torch.bool, device=y.device)
        mask[0, before + 1 :] = False  # the time token sees no target
        rotation = [each[before:] for each in encoded.rotation]
        for index in range(len(net.layers)):
            y, _ = self._layer(index, y, rotation, mask, encoded.cache[index])
        y = net.proj_out(net.norm_out(net.norm(y)[:, 1:], temb=net.t_embedder(time)))
        p = net.config.patch_size
        y = y.unflatten(1, (h // p, w // p)).unflatten(3, (p, p, -1))  # (1, h/p, w/p, p, p, C)
        return y.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3).float()

    def _layer(
        self, index: int, x: Tensor, rotation: list[Tensor], mask: Tensor, before: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """`_block`, computed again for the gradient where `checkpointing` says so."""
        if not (self.checkpointing and torch.is_grad_enabled()):
            return self._block(index, x, rotation, mask, before)
        from torch.utils.checkpoint import checkpoint

        found: tuple[Tensor, KeysValues] = checkpoint(
            self._block, index, x, rotation, mask, before, use_reentrant=False, preserve_rng_state=False
        )
        return found

    def _block(
        self, index: int, x: Tensor, rotation: list[Tensor], mask: Tensor, before: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """One of diffusers' blocks with the adapter beside its projections; keys and values of these tokens (1, heads,
        T, d).
        """
        layer = self.frozen.transformer.layers[index]
        attention: Any = layer.self_attn
        adapter: Any = self.adapters[index] if len(self.adapters) else None
        y = layer.input_layernorm(x)
        parts = [attention.to_q(y), attention.to_k(y), attention.to_v(y)]
        if adapter is not None:
            parts = [part + more for part, more in zip(parts, adapter.qkv(y.to(adapter.qkv_down)), strict=True)]
        d = parts[0].shape[-1] // attention.heads
        q, k, v = (part.to(x).unflatten(-1, (-1, d)).transpose(1, 2) for part in parts)
        q, k = (_rotate(part, rotation) for part in (q, k))
        own = k, v
        if before is not None:
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        out = attention.to_out[0](y)
        if adapter is not None:
            out = out + adapter.out(y.to(adapter.out_down)).to(out)
        x = x + out
        return x + layer.mlp(layer.post_attention_layernorm(x)), own

    # ------------------------------------------------------------------ fusion

    def plan(self, control: Control | None) -> list[tuple[float, str, bool]]:
        """Shares of the velocity, which sum to 1, with the prompt of each branch and whether it has the images."""
        text = self.text_scale if self.branches > 1 else 1.0
        image = self.image_scale if self.branches == 3 else 1.0
        rows = [(image - text, f"{image_tag(1)} {image_tag(2)}", True), (text, full_prompt(control), True)]
        if image != 1:
            rows.insert(0, (1 - image, self.config.negative or negative_prompt(), False))
        return [row for row in rows if row[0]]

    def forward(self, sources: Tensor, condition: Control | None = None, context: Context | None = None) -> Tensor:
        """sources (B, 2, 3, H, W) in [0, 1] -> fused (B, 3, H, W) in [0, 1], one pair at a time; each pair has the same
        noise. Without a gradient in evaluation mode, as `steps` times `branches` passes would have to be kept for it.
        """
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            return self._fuse(sources, condition)

    def _fuse(self, sources: Tensor, condition: Control | None) -> Tensor:
        batch, size = sources.shape[:2], sources.shape[-2:]
        images = flatten_set(sources.expand(-1, -1, 3, -1, -1))
        small = working_size(size[0], size[1], self.config.longest)
        if small != tuple(size):
            images = F.interpolate(images, small, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        latents = self.encode(images).unflatten(0, tuple(batch))
        fused = torch.cat([self.decode(self.generate(pair, condition)) for pair in latents])
        if small != tuple(size):
            fused = F.interpolate(fused, size, mode="bicubic", antialias=True, align_corners=False)
        return fused.clamp(0, 1).to(sources)

    def generate(self, pair: Tensor, control: Control | None = None) -> Tensor:
        """Latents of the sources (2, C, h, w) -> those of the result (1, C, h, w): Euler steps at t = i / n from noise
        with a fixed seed.
        """
        net = self.frozen.transformer
        size = (pair.shape[-2], pair.shape[-1])
        x = torch.randn((1, *pair.shape[1:]), generator=torch.Generator().manual_seed(self.seed)).to(net.device)
        images = [pair[1:], pair[:1]]  # the second source is image 1: visible, overexposed, far
        branches = self.plan(control)

        def encoded(text: str, visible: bool) -> EncodedBranch:
            return self.encode_condition(text, images if visible else [], size)

        caches = [encoded(text, visible) if self.cache else None for _, text, visible in branches]
        for step in range(self.steps):
            v = torch.zeros_like(x)
            for (share, text, visible), cached in zip(branches, caches, strict=True):
                v = v + share * self.velocity(x, step / self.steps, cached or encoded(text, visible))
            x = x + v / self.steps
        return x


def _rotate(x: Tensor, rotation: list[Tensor]) -> Tensor:
    """x (1, heads, T, d), cosines and sines (T, d); in float32, as positions are large."""
    a, b = x.float().chunk(2, -1)
    return (x.float() * rotation[0] + torch.cat([-b, a], -1) * rotation[1]).to(x)


def working_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Sides for the network: the longer one `longest`, both rounded down to multiples of 16, at least 16; 0: as they
    are.
    """
    if not longest:
        return height, width
    scale = longest / max(height, width)
    return tuple(max(PATCH, math.floor(side * scale / PATCH) * PATCH) for side in (height, width))  # type: ignore[return-value]


def load_parts(c: OmniGenConfig) -> tuple[Any, Any, Any]:
    """Transformer, codec and tokenizer of a folder or hub id; a FusionError says what is missing."""
    try:
        from diffusers import AutoencoderKL, OmniGenTransformer2DModel
        from transformers import AutoTokenizer
    except ImportError:
        raise FusionError(
            "OmniGen needs diffusers and transformers: pip install 'anyfuse[diffusers]', or take ditfuse-tiny"
        ) from None
    if not Path(c.source).is_dir() and not is_hub_id(c.source):
        raise FusionError(f"{c.source}: no such folder; give one in diffusers' layout, or a hub id")
    try:
        dtype = getattr(torch, c.dtype)
        given = {
            "torch_dtype": dtype,
            "use_safetensors": True,
            "low_cpu_mem_usage": find_spec("accelerate") is not None,
        }
        transformer = OmniGenTransformer2DModel.from_pretrained(c.source, subfolder="transformer", **given)
        vae = AutoencoderKL.from_pretrained(c.source, subfolder="vae", **given)
        tokenizer = AutoTokenizer.from_pretrained(c.source, subfolder="tokenizer")
    except LOADING_ERRORS as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FusionError(f"OmniGen could not be loaded from {c.source} ({first}); give a complete folder") from None
    cast = nn.Module.to  # without accelerate they come in float32; diffusers' own `to` warns of nothing at each call
    return cast(transformer, dtype), cast(vae, dtype), tokenizer


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is OmniGen in diffusers' layout."""
    return (folder / "model_index.json").is_file() and (folder / "transformer").is_dir()


def _without_frozen(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [k for k in incompatible.missing_keys if not k.startswith("frozen.")]


__all__ = ["Adapter", "OmniGen", "OmniGenConfig", "is_pipeline", "read_adapter"]
