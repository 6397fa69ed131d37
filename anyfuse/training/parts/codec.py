"""Training of the small codec: images of every kind, through random tones, into 16 channels at 1/8 and back.

    data       crops of natural, infrared, visible, over- and under-exposed and medical images, as luma; a share of them
               through another camera's tone (distil.tone); every tenth file of a folder is held out
    loss       losses.reconstruction (L1, gradients, SSIM), squared error, and L1 of Laplacian bands
    jitter     a little noise on the latents, so that what a transformer makes nearly right is decoded nearly right
    mean, std  of each channel over crops of training images, taken at the end; latents are used less mean, by deviation

MMAIF (ICCV 2025) uses a pretrained RGB tokenizer; this is a replacement that a CPU can run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ... import losses
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.pyramid import laplacian_pyramid
from ...image.random import uniform
from ...io.folders import list_images
from ...io.read import read_image
from ...models.base import parameter_counts
from ...models.latent.codec import LATENT, STRIDE, TinyCodec, TinyConfig, cosines, save_tiny
from ..card import hardware, write_card
from ..loop import Ema, Loop, Stateful, warm_cosine
from ..objectives import clip_gradients, decay_groups, set_rate
from .backbone import draw_crop, tone


@dataclass(frozen=True)
class CodecPlan:
    """Training of a codec."""

    # below the data root; missing ones are left out
    folders: tuple[str, ...] = (
        "natural",
        "ivif/ir",
        "ivif/vis",
        "mef/under",
        "mef/over",
        "mif/ct-mri/ct",
        "mif/ct-mri/mri",
        "mif/pet-mri/pet",
        "mif/spect-mri/spect",
    )
    natural: float = 0.6  # share of natural images
    crop: int = 128  # pixels
    batch: int = 8  # crops per step
    steps: int = 10_000  # updates of the weights
    lr: float = 1.5e-3  # follows a cosine to lr/50
    warmup: int = 100  # steps with a rising rate
    weight_decay: float = 1e-4  # of matrices and kernels
    clip: float = 0.5  # largest norm of the gradients
    ema: float = 0.998  # decay of averaged weights
    altered: float = 0.35  # share of crops with another tone
    jitter: float = 0.02  # noise on the latents, as a share of their deviation
    squared: float = 10.0  # weight of the squared error; reconstruction has 1
    bands: float = 0.5  # weight of the error of pyramid bands
    autocast: bool = True  # the network runs in bfloat16, the loss does not
    seed: int = 0  # of weights, crops and noise


CODEC_PLANS: dict[str, CodecPlan] = {"codec-tiny": CodecPlan()}
HOLDOUT = 10


class Images:
    """Luma of all images of some folders (1, H, W) uint8, in memory; every tenth file of a folder is held out."""

    def __init__(self, root: Path, folders: tuple[str, ...]) -> None:
        self.train: list[list[np.ndarray]] = []
        self.validation: dict[str, list[np.ndarray]] = {}
        digest, self.files = sha256(), 0
        for folder in folders:
            if not (root / folder).is_dir():
                continue
            images = []
            for path in list_images(root / folder):
                digest.update(f"{path.relative_to(root)} {sha256(path.read_bytes()).hexdigest()}\n".encode())
                images.append((to_luma(read_image(path).read()) * 255).round().to(torch.uint8).numpy())
            self.files += len(images)
            held = images[HOLDOUT - 1 :: HOLDOUT]
            self.train.append([x for index, x in enumerate(images) if index % HOLDOUT != HOLDOUT - 1])
            if held:
                self.validation[folder] = held
        if not any(self.train):
            raise FusionError(f"{root}: holds none of {', '.join(folders)}; see --data")
        self.manifest = digest.hexdigest()

    def batch(self, plan: CodecPlan, gen: Generator) -> Tensor:
        """(B, 1, S, S) in [0, 1]: a share `natural` from the first folder, the others evenly from the other folders."""
        crops = []
        for _ in range(plan.batch):
            others = len(self.train) - 1
            first = not others or uniform(0, 1, gen) < plan.natural
            images = self.train[0 if first else 1 + int(torch.randint(others, (), generator=gen))]
            crop = draw_crop(images, plan.crop, gen)
            crops.append((tone(crop, gen) if uniform(0, 1, gen) < plan.altered else crop)[:1])
        return torch.stack(crops)


def codec_loss(decoded: Tensor, images: Tensor, plan: CodecPlan) -> Tensor:
    """Of (B, 1, H, W) pairs."""
    wrong = decoded - images
    bands = torch.stack([band.abs().mean() for band in laplacian_pyramid(wrong, 3)]).sum()
    shape = losses.reconstruction(decoded[:, 0], images[:, 0])
    return shape + plan.squared * wrong.square().mean() + plan.bands * bands


def spread_of_cosines(crops: Tensor) -> Tensor:
    """Deviation of each of the 16 coefficients that the linear path starts with, over crops (B, C, H, W): (16,)"""
    blocks = torch.nn.functional.pixel_unshuffle(crops - 0.5, STRIDE).movedim(1, -1).flatten(0, 2)
    return (blocks @ cosines(crops.shape[1]).T).std(0).clamp_min(1e-3)


def train_codec(
    plan: CodecPlan,
    data_root: str | Path,
    out: str | Path,
    *,
    device: str = "cpu",
    resume: bool = True,
    save_every: int = 200,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains a TinyCodec and writes model.safetensors (EMA), config.json, README.md (card), log.jsonl and last.pt.

    Args:
        plan: every choice of the run.
        data_root: folder with those of the plan.
        out: folder to write.
        device: of the network, as torch names it.
        resume: resumes from last.pt in `out`, to the bit.
        save_every: steps between checkpoints.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a crop that the codec cannot take, no images, or a last.pt of another plan or other images.
    """
    if plan.crop % 16 or plan.crop < 32:
        raise FusionError(f"crop {plan.crop}: give a multiple of 16, 32 or more")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    images = Images(Path(data_root), plan.folders)
    torch.manual_seed(plan.seed)
    gen = torch.Generator().manual_seed(plan.seed)
    net = _fresh_codec(plan, images).to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(decay_groups(net.parameters(), plan.weight_decay), lr=plan.lr, betas=(0.9, 0.98))
    ema = Ema(net, plan.ema)
    key = {"recipe": json.dumps([asdict(plan), images.manifest], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": net, "optimiser": optimiser}
    loop = Loop(
        out, key, parts, ema, gen, steps=plan.steps, device=device, resume=resume, save_every=save_every, log=log
    )
    for step in loop.steps():
        set_rate(optimiser, warm_cosine(plan.lr, plan.warmup, step, plan.steps))
        loss = _codec_step(net, optimiser, plan, images, gen, device)
        ema.update(net, step)
        scores = {"scores": fidelity(net, images, device, 6)} if (step + 1) % 1000 == 0 else None
        loop.record(step, {"loss": loss}, scores)
    net.load_state_dict(ema.shadow)
    _measure_latents(net, plan, images, device)
    reached = fidelity(net, images, device, 16)
    save_tiny(net, out)
    _card(out, plan, images, reached, loop.seconds, parameter_counts(net)[0])
    log(f"wrote {out / 'model.safetensors'}  {_text(reached)}")
    return out


def _fresh_codec(plan: CodecPlan, images: Images) -> TinyCodec:
    net = TinyCodec(TinyConfig())
    first = torch.cat([images.batch(plan, torch.Generator().manual_seed(k)) for k in range(8)])
    net.start(spread_of_cosines(first))
    return net


def _codec_step(
    net: TinyCodec, optimiser: torch.optim.Optimizer, plan: CodecPlan, images: Images, gen: Generator, device: str
) -> float:
    """One update; returns the loss."""
    crops = images.batch(plan, gen)
    noise = plan.jitter * torch.randn((len(crops), LATENT, plan.crop // STRIDE, plan.crop // STRIDE), generator=gen)
    crops, noise = crops.to(device), noise.to(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=plan.autocast):
        latents = net.encode(crops)
        spread = latents.detach().std((0, 2, 3), keepdim=True)
        decoded = net.decode(latents + noise * spread)
    loss = codec_loss(decoded.float(), crops, plan)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    clip_gradients(net.parameters(), plan.clip)
    optimiser.step()
    return float(loss.detach())


@torch.no_grad()
def _measure_latents(net: TinyCodec, plan: CodecPlan, images: Images, device: str) -> None:
    """Puts the mean and deviation of the latents of 64 batches into the codec."""
    batches = [images.batch(plan, torch.Generator().manual_seed(k)).to(device) for k in range(64)]
    latents = torch.cat([net.encode(batch) for batch in batches])
    net.mean.copy_(latents.mean((0, 2, 3)))
    net.std.copy_(latents.std((0, 2, 3)))


@torch.no_grad()
def fidelity(net: nn.Module, images: Images, device: str, limit: int) -> dict[str, dict[str, float]]:
    """On held-out images: folder -> mean PSNR in dB and SSIM of what comes back, rounded to 8 bits."""
    scores = {}
    for folder, held in images.validation.items():
        psnr, ssim = [], []
        for image in held[:: max(1, len(held) // limit)][:limit]:
            h, w = (side // STRIDE * STRIDE for side in image.shape[1:])
            x = torch.from_numpy(image[None, :, :h, :w]).float().to(device) / 255
            y = (net.decode(net.encode(x)).clamp(0, 1) * 255).round() / 255  # type: ignore[operator]
            psnr.append(-10 * math.log10(max(1e-10, float((x - y).square().mean()))))
            ssim.append(float(losses.ssim_map(x, y).mean()))
        scores[folder] = {"psnr": round(float(np.mean(psnr)), 3), "ssim": round(float(np.mean(ssim)), 4)}
    return scores


def _text(scores: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{name} {v['psnr']:.2f} dB {v['ssim']:.4f}" for name, v in scores.items())


def _card(
    out: Path, plan: CodecPlan, images: Images, scores: dict[str, dict[str, float]], seconds: float, parameters: int
) -> None:
    intro = (
        "Luma in 16 channels at 1/8; trained with `anyfuse train codec-tiny`; "
        f"{parameters:,} parameters; licence Apache-2.0."
    )
    lines = [
        f"- data: {images.files} files, manifest sha256 `{images.manifest}`",
        f"- {plan.steps} steps of {plan.batch} crops of {plan.crop} pixels, seed {plan.seed}, {seconds / 60:.0f} "
        "minutes",
        hardware(torch.device("cpu")),
        "- on whole images held out (every tenth file), rounded to 8 bits:",
        *(f"  - {name}: PSNR {v['psnr']:.2f} dB, SSIM {v['ssim']:.4f}" for name, v in scores.items()),
    ]
    write_card(out, "codec-tiny", intro, lines, plan)
