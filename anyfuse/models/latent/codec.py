"""Image codecs behind one call: `encode(images) -> latents`, `decode(latents) -> images`, 8 times coarser. Latents have
16 channels, or 4 with `sdxl`; texts that say (B, 16, h, w) mean the codec's channels.

Origin: ours; nothing of the codecs below is copied, diffusers runs theirs. Licence of this code and of `tiny`:
Apache-2.0. MMAIF (ICCV 2025, arXiv 2503.14944) compares such tokenizers and takes Cosmos.

    name     what                                                    weights from
    tiny     luma, ours (training/parts/codec.py), 1.1 M parameters  the package, or `anyfuse codec install tiny FOLDER`
    flux     RGB, AutoencoderKL of FLUX.1 (Apache-2.0), 84 M         hub, or a folder in diffusers' layout; needs
                                                                     diffusers
    taef1    RGB, AutoencoderTiny for FLUX.1 (MIT), 2.5 M            the same
    cosmos   RGB, AutoencoderKLCosmos (NVIDIA open model licence),   the same; the image tokenizer CI8x8 is TorchScript
             a video codec, used with one frame, 106 M               and has no class in diffusers
    sdxl     RGB, AutoencoderKL of SDXL (MIT), 84 M, 4 channels      the same; DiTFuse's own

`tiny` works on luma because chroma goes around the network (colour.py): 16 numbers for 64 pixels lose far less than for
64 RGB pixels. Everything is deterministic: the mode of a codec that has a distribution. Weights of a codec are never
saved with a fusion model.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ...arrays import F, Tensor, nn, torch
from ...errors import FusionError
from ...runtime import check_regular
from ...weights import (
    CONFIG_NAME,
    LOADING_ERRORS,
    WEIGHTS_NAME,
    cache_folder,
    check_values,
    fingerprint,
    is_hub_id,
    load_state,
    package_folder,
    save_folder,
    store_in_cache,
)
from ..frozen import FrozenModule

STRIDE = 8
LATENT = 16
CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLCosmos")


@dataclass(frozen=True)
class TinyConfig:
    """Shape of our codec."""

    channels: int = 1  # 1: luma, 3: RGB
    quarter: int = 48  # channels at 1/4 of the image size
    eighth: int = 96  # channels at 1/8
    encoder: tuple[int, ...] = (2, 2)  # residual blocks at 1/4 and 1/8
    decoder: tuple[int, ...] = (3, 3)  # residual blocks at 1/8 and 1/4

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder", tuple(self.encoder))
        object.__setattr__(self, "decoder", tuple(self.decoder))
        if self.channels not in (1, 3):
            raise FusionError(f"a codec has 1 or 3 channels, not {self.channels}")


@dataclass(frozen=True)
class Source:
    """A codec with a name: where its weights come from."""

    channels: Literal[1, 3]  # 1: luma, 3: RGB
    hub: str | None = None  # repository; None: ours
    folder: str = ""  # below the hub's repository
    latents: int = LATENT  # channels of the latents


CODECS: dict[str, Source] = {
    "tiny": Source(1),
    "flux": Source(3, "black-forest-labs/FLUX.1-schnell", "vae"),
    "taef1": Source(3, "madebyollin/taef1"),
    "cosmos": Source(3, "nvidia/Cosmos-1.0-Tokenizer-CV8x8x8", "vae"),
    "sdxl": Source(3, "stabilityai/sdxl-vae", latents=4),
}
HINT = "train it with `anyfuse train codec-tiny --data DATA`, then `anyfuse codec install tiny runs/codec-tiny`"


# ---------------------------------------------------------------------- our codec


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x)))"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)"""
        return x + self.second(F.relu(self.first(x)))


class TinyCodec(nn.Module):
    """Luma (or RGB) <-> latents at 1/8, all convolutions at 1/4 and 1/8: 7 and 10 GFLOP to encode and decode 480x640.

    Beside the network runs a linear path that starts as the 16 lowest coefficients of the 8x8 cosine transform, scaled
    to unit variance by `start`; what the network adds begins small. mean, std: of each channel of the raw latents, on
    training crops. latents: channels of the latents, another number for a stand-in of another codec.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TinyConfig | None = None, latents: int = LATENT) -> None:
        super().__init__()
        self.config = c = config or TinyConfig()
        fine, coarse = c.channels * 16, c.channels * 64
        self.to_latent = nn.Conv2d(coarse, latents, 1)
        self.enter = nn.Conv2d(fine, c.quarter, 3, 1, 1)
        self.encode4 = nn.Sequential(*(ResidualBlock(c.quarter) for _ in range(c.encoder[0])))
        self.down = nn.Conv2d(4 * c.quarter, c.eighth, 1)
        self.encode8 = nn.Sequential(*(ResidualBlock(c.eighth) for _ in range(c.encoder[1])))
        self.leave = nn.Conv2d(c.eighth, latents, 3, 1, 1)
        self.to_pixels = nn.Conv2d(latents, coarse, 1)
        self.widen = nn.Conv2d(latents, c.eighth, 3, 1, 1)
        self.decode8 = nn.Sequential(*(ResidualBlock(c.eighth) for _ in range(c.decoder[0])))
        self.up = nn.Conv2d(c.eighth, 4 * c.quarter, 1)
        self.decode4 = nn.Sequential(*(ResidualBlock(c.quarter) for _ in range(c.decoder[1])))
        self.paint = nn.Conv2d(c.quarter, fine, 3, 1, 1)
        self.register_buffer("mean", torch.zeros(latents))
        self.register_buffer("std", torch.ones(latents))
        self.start(torch.ones(latents))

    @torch.no_grad()
    def start(self, spread: Tensor) -> None:
        """Sets the linear path to cosines divided by `spread` (16,), the deviation of each coefficient; the network
        adds little.
        """
        basis = cosines(self.config.channels, len(spread)).to(spread)  # (16, 64 * channels)
        self.to_latent.weight.copy_((basis / spread[:, None])[..., None, None])
        self.to_pixels.weight.copy_((basis * spread[:, None]).T[..., None, None])
        for conv in (self.to_latent, self.to_pixels):
            assert conv.bias is not None
            conv.bias.zero_()
        for conv in (self.leave, self.paint):
            assert conv.bias is not None
            nn.init.normal_(conv.weight, 0, 1e-3)
            conv.bias.zero_()

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1], sides multiples of 8 -> raw latents (B, 16, H/8, W/8)"""
        x = images - 0.5
        y = F.pixel_unshuffle(x, 4).contiguous(memory_format=torch.channels_last)
        y = self.down(F.pixel_unshuffle(self.encode4(self.enter(y)), 2))
        return self.leave(self.encode8(y)) + self.to_latent(F.pixel_unshuffle(x, 8))

    def decode(self, latents: Tensor) -> Tensor:
        """Raw latents -> images, not clamped"""
        y = self.decode8(self.widen(latents.contiguous(memory_format=torch.channels_last)))
        y = self.paint(self.decode4(F.pixel_shuffle(self.up(y), 2)))
        return F.pixel_shuffle(y, 4) + F.pixel_shuffle(self.to_pixels(latents), 8) + 0.5


def cosines(channels: int, count: int = LATENT) -> Tensor:
    """(count, 64 * channels): the lowest products of cosines over 8x8 pixels, orthonormal; of RGB, of the mean over
    colours.
    """
    place = torch.arange(8) + 0.5
    rows = torch.stack([torch.cos(math.pi / 8 * k * place) * math.sqrt((1 if k == 0 else 2) / 8) for k in range(8)])
    order = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda p: (p[0] ** 2 + p[1] ** 2, p))[:count]
    basis = torch.stack([torch.outer(rows[u], rows[v]).flatten() for u, v in order])
    return basis.tile(channels) / math.sqrt(channels)


# ---------------------------------------------------------------------- the frozen codec


class Codec(FrozenModule):
    """A frozen codec. Gradients pass through it.

    name: one of CODECS, or a folder: ours, or one in diffusers' layout, or a hub id. Weights are read at the first use
    or by `load`.
    random: an untrained codec of ours (the linear path alone), for tests, ablations and where no weights can be had;
    in the place of a named codec it has as many channels and latents.
    """

    def __init__(self, name: str = "tiny", *, random: bool = False) -> None:
        super().__init__()
        self.name, self.random, self.ready = name, random, False
        self.net: nn.Module | None = None
        self.channels: Literal[1, 3] = CODECS[name].channels if name in CODECS else 3
        self.latent_channels = CODECS[name].latents if name in CODECS else LATENT
        if name == "tiny" or (random and name in CODECS) or (name not in CODECS and is_ours(Path(name))):
            own = random or name in CODECS
            config = TinyConfig(CODECS[name].channels if name in CODECS else 1) if own else read_config(Path(name))
            self.channels = 3 if config.channels == 3 else 1
            self.net, self.ready = untrained(config, self.latent_channels), random
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.freeze()

    def load(self) -> None:
        """Reads the weights unless they are there already; a FusionError says how to get them."""
        if self.ready:
            return
        if isinstance(self.net, TinyCodec):
            load_tiny(self.net, find_folder(self.name))
        else:
            self.net = from_diffusers(self.name).requires_grad_(False).eval()
        self.ready = True

    def encode(self, images: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [0, 1], sides multiples of 8 -> latents (B, 16, H/8, W/8), of about unit variance.

        Grey images go into an RGB codec as three equal channels; RGB into a codec of luma is a FusionError.
        """
        self.load()
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise FusionError(
                f"a codec takes sides that are multiples of {STRIDE}, not {width}x{height}; pad the image"
            )
        if images.shape[1] > self.channels:
            raise FusionError(f"codec {self.name} takes luma, not {images.shape[1]} channels; see colour.to_luma")
        images = images.expand(-1, self.channels, -1, -1)
        net: Any = self.net
        if isinstance(net, TinyCodec):
            return (net.encode(images) - net.mean[:, None, None]) / net.std[:, None, None]
        kind, x = type(net).__name__, images * 2 - 1
        if kind == "AutoencoderKLCosmos":
            latents = net.encode(x[:, :, None]).latent_dist.mode()[:, :, 0]
        elif kind == "AutoencoderTiny":
            latents = net.encode(x).latents
        else:
            latents = net.encode(x).latent_dist.mode()
        shift, scale = scaling(net, latents)
        return (latents - shift) / scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 16, h, w) -> images (B, 1 or 3, 8h, 8w), not clamped"""
        self.load()
        net: Any = self.net
        if isinstance(net, TinyCodec):
            return net.decode(latents * net.std[:, None, None] + net.mean[:, None, None])
        shift, scale = scaling(net, latents)
        latents = latents * scale + shift
        if type(net).__name__ == "AutoencoderKLCosmos":
            return net.decode(latents[:, :, None]).sample[:, :, 0] / 2 + 0.5
        return net.decode(latents).sample / 2 + 0.5

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the sha256 over weights and statistics, in float16 so that storage does not
        matter.
        """
        self.load()
        assert self.net is not None
        return fingerprint(value for _, value in sorted(nn.Module.state_dict(self.net).items()))


def untrained(config: TinyConfig, latents: int = LATENT) -> TinyCodec:
    """Fresh weights, the same each time; the caller's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyCodec(config, latents)


def scaling(net: Any, like: Tensor) -> tuple[Any, Any]:
    """(shift, scale) that a diffusers codec's latents have by its configuration: per channel where it lists them, else
    two numbers.
    """
    means, stds = getattr(net.config, "latents_mean", None), getattr(net.config, "latents_std", None)
    if means is not None and stds is not None:  # of a video codec per channel and frame, the first frame counts
        return tuple(like.new_tensor(v).view(like.shape[1], -1)[:, :1, None] for v in (means, stds))  # type: ignore[return-value]
    return getattr(net.config, "shift_factor", None) or 0.0, 1 / (net.config.scaling_factor or 1.0)


# ---------------------------------------------------------------------- finding and reading


def is_ours(folder: Path) -> bool:
    """Whether a folder holds a TinyCodec."""
    try:
        return json.loads((folder / CONFIG_NAME).read_text()).get("system") == "TinyCodec"
    except (OSError, ValueError, AttributeError):
        return False


def find_folder(name: str) -> Path:
    """The folder with config.json and model.safetensors of one of our codecs: in the cache, in the package, or
    a path.
    """
    if name not in CODECS:
        return Path(name)
    for folder in (
        cache_folder() / f"codec-{name}",  # first: a user's own
        package_folder(f"codec-{name}"),
    ):
        if (folder / WEIGHTS_NAME).exists():
            return folder
    raise FusionError(f"codec {name} is not there: {HINT}")


def from_diffusers(name: str) -> nn.Module:
    """A codec in diffusers' layout out of the cache, a folder or the hub; its class is read from its config.json."""
    try:
        import diffusers
    except ImportError:
        raise FusionError(
            f"codec {name} needs diffusers: pip install 'anyfuse[diffusers]', or take codec tiny"
        ) from None
    known = CODECS.get(name)
    place, below = (name, "") if known is None else (str(known.hub), known.folder)
    cached = cache_folder() / f"codec-{name}" if known is not None else Path(name)
    if cached.is_dir():
        place, below = str(cached), ""
    elif not is_hub_id(place):
        raise FusionError(f"unknown codec '{name}': known are {', '.join(CODECS)}; or a folder, or a hub id")
    try:
        config = diffusers.AutoencoderKL.load_config(place, subfolder=below or None)
        kind = config.get("_class_name")
        if kind not in CLASSES:
            raise FusionError(f"{place}: holds a {kind}, which is no codec known here; known are {', '.join(CLASSES)}")
        net = getattr(diffusers, kind).from_pretrained(place, subfolder=below or None, use_safetensors=True)
    except FusionError:
        raise
    except LOADING_ERRORS as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FusionError(f"codec {name}: could not be loaded from {place} ({first}); put it into {cached}") from None
    channels = net.config.latent_channels
    blocks = len(
        getattr(net.config, "block_out_channels", None) or getattr(net.config, "decoder_block_out_channels", None) or ()
    )
    factor = getattr(net.config, "spatial_compression_ratio", None) or 2 ** (blocks - 1)
    needed = LATENT if known is None else known.latents
    if (channels, factor) != (needed, STRIDE):
        raise FusionError(f"{place}: has {channels} channels at 1/{factor}, and {needed} at 1/{STRIDE} are needed")
    return net


def read_config(folder: Path) -> TinyConfig:
    """The shape of a codec of ours."""
    path = folder / CONFIG_NAME
    try:
        check_regular(path)
        raw = json.loads(path.read_text())
        if raw.get("system") != "TinyCodec":
            raise ValueError(f"system is {raw.get('system')!r}")
        known = {f.name for f in fields(TinyConfig)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known}
        check_values(TinyConfig, values)
        return TinyConfig(**values)
    except OSError:
        raise FusionError(f"{folder}: no {CONFIG_NAME} there, so it is not the folder of a codec") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FusionError(f"{path}: not the configuration of a TinyCodec ({error})") from None


def load_tiny(net: TinyCodec, folder: Path) -> None:
    """Loads the weights of a folder strictly."""
    if read_config(folder) != net.config:
        raise FusionError(f"{folder}: has the shape {read_config(folder)}, and {net.config} is needed")
    load_state(net, folder / WEIGHTS_NAME)


def save_tiny(net: TinyCodec, folder: Path) -> None:
    """Writes config.json and model.safetensors, float16."""
    state = {k: v.half() for k, v in net.state_dict().items()}
    save_folder(folder, {"system": "TinyCodec", **asdict(net.config)}, state)


def codec_places() -> dict[str, str]:
    """Name of each known codec -> its folder, 'hub: ID', or 'not here; ' and how to get it."""
    places = {}
    for name, source in CODECS.items():
        folder = cache_folder() / f"codec-{name}"
        try:
            if source.hub is None:
                places[name] = str(find_folder(name))
            else:
                places[name] = str(folder) if folder.is_dir() else f"hub: {source.hub}"
        except FusionError as error:
            places[name] = f"not here; {str(error).partition(': ')[2]}"
    return places


def install_codec(name: str, folder: str | Path) -> Path:
    """Puts a codec that was trained here into the cache, under its name; returns the folder there.

    Args:
        name: `tiny`; the others are not made here.
        folder: with config.json and model.safetensors.

    Raises:
        FusionError: another name, weights of another shape, or a cache that cannot be written.
    """
    if name != "tiny":
        raise FusionError(
            f"codec {name} is not installed from a folder; put its folder into the cache yourself, or use tiny"
        )
    net = TinyCodec(TinyConfig())
    load_tiny(net, Path(folder))
    return store_in_cache(lambda target: save_tiny(net, target), "codec-tiny")
