"""Distillation of the tiny ViT from DINOv2-S: its maps at four depths learn to predict the teacher's, whatever camera
took the image.

    pool       crops of natural images, fixed; the teacher's maps of them are computed once and kept on disk
    student    sees the crop itself, or the crop through another exposure, an inversion or a curve as of a thermal
               camera, while the target stays: so the same scene gives the same features in every modality
    loss       per depth a linear map from the student's channels to the teacher's, which is thrown away after; 1 -
               cosine, plus smooth L1 on channels scaled to deviation 1

A part of the pool has its curve before the teacher sees it: real thermal images are to have features as the teacher
would give them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...errors import FusionError
from ...image.random import integer, smooth_field, uniform
from ...io.folders import list_images
from ...io.read import read_image
from ...models.unifusion.backbone import BACKBONES, GRID, MEAN, STD, Backbone, Vit, save_vit
from ..card import hardware, write_card
from ..loop import Ema, Loop, Stateful, warm_cosine
from ..objectives import clip_gradients, decay_groups, set_rate


@dataclass(frozen=True)
class Distillation:
    """Training of a small ViT on the maps of a larger one."""

    student: str = "tiny"  # name in BACKBONES
    teacher: str = "dinov2-s"  # name in BACKBONES
    # below the data root; thermal and medical images may be among them
    folders: tuple[str, ...] = ("natural", "ivif/ir", "ivif/vis", "mef/under", "mef/over")
    pool: int = 4000  # crops with the teacher's maps on disk, about 250 kB each
    crop: int = 128  # pixels
    batch: int = 16  # crops per step
    steps: int = 4000  # updates of the weights
    lr: float = 2e-3  # follows a cosine to lr/50
    warmup: int = 200  # steps with a rising rate
    weight_decay: float = 0.02  # of matrices and kernels
    clip: float = 1.0  # largest norm of the gradients
    ema: float = 0.998  # decay of averaged weights
    altered: float = 0.6  # share of crops that the student sees through a curve that the teacher does not
    baked: float = 0.2  # share of the crops in the pool that the teacher too sees through a curve
    held_out: int = 128  # crops for scores
    seed: int = 0  # of the pool, the weights and the batches


DISTILLATIONS: dict[str, Distillation] = {"tiny-vit": Distillation()}


# ---------------------------------------------------------------------- images


def tone(image: Tensor, gen: Generator) -> Tensor:
    """RGB (3, H, W) in [0, 1] -> the same scene as another camera would give it: exposure, inversion, thermal-like
    curve, or grey.
    """
    kind = integer(0, 3, gen)
    if kind == 0:  # exposure, clipped
        image = (image**2.2 * 2 ** uniform(-3, 2, gen)).clamp(0, 1) ** (1 / 2.2)
        return image if uniform(0, 1, gen) < 0.5 else image.mean(0, keepdim=True).expand(3, -1, -1)
    mix = torch.rand(3, generator=gen) + 0.05
    grey = (image * (mix / mix.sum())[:, None, None]).sum(0, keepdim=True)
    if kind == 1:
        grey = 1 - grey
    elif kind == 2:  # a smooth random curve of grey, and warmth that does not follow light
        knots = torch.rand((1, 1, integer(3, 6, gen)), generator=gen)
        curve = F.interpolate(knots, 256, mode="linear", align_corners=True)[0, 0]
        grey = curve[(grey * 255).long().clamp(0, 255)]
        field = smooth_field(image.shape[1], image.shape[2], uniform(30, 90, gen), gen)
        grey = grey + uniform(0, 0.15, gen) * field
    low, high = uniform(0, 0.3, gen), uniform(0.6, 1.0, gen)
    grey = low + (high - low) * grey.clamp(0, 1)
    return (grey + uniform(0, 0.03, gen) * torch.randn(grey.shape, generator=gen)).clamp(0, 1).expand(3, -1, -1)


def draw_crop(images: list[np.ndarray], size: int, gen: Generator) -> Tensor:
    """A random square of a random image at a random scale, flipped half the time: (3, size, size) in [0, 1]"""
    image = images[integer(0, len(images) - 1, gen)]
    h, w = image.shape[-2:]
    take = min(int(size * math.exp(uniform(math.log(0.75), math.log(2.5), gen))), h, w)
    top, left = integer(0, h - take, gen), integer(0, w - take, gen)
    x = torch.from_numpy(image[:, top : top + take, left : left + take].astype(np.float32) / 255)
    x = F.interpolate(x[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    return (x.flip(-1) if uniform(0, 1, gen) < 0.5 else x).clamp(0, 1).expand(3, -1, -1)


class CropCache:
    """Fixed crops (count, 3, S, S) uint8 and the teacher's maps of them (count, 4, E, S/16, S/16) float16, on disk in
    `folder`.

    Made at the first use, in parts, so an interrupted run resumes; made anew where recipe, images or teacher
    changed.
    """

    def __init__(
        self, recipe: Distillation, root: Path, folder: Path, device: str, log: Callable[[str], None] = print
    ) -> None:
        count, side = recipe.pool + recipe.held_out, recipe.crop // GRID
        width = BACKBONES[recipe.teacher].config.width
        paths = [p for f in recipe.folders if (root / f).is_dir() for p in list_images(root / f)]
        if not paths:
            raise FusionError(f"{root}: holds none of {', '.join(recipe.folders)}; see --data")
        key = [recipe.teacher, recipe.crop, recipe.pool, recipe.held_out, recipe.baked, recipe.seed]
        names = "".join(f"{p.relative_to(root)} {p.stat().st_size}\n" for p in paths)
        self.key = sha256(json.dumps([key, names]).encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "pool.json"
        state = json.loads(note.read_text()) if note.exists() else {}
        done = state.get("done", 0) if state.get("key") == self.key else 0
        mode = "r+" if done else "w+"
        self.crops = np.lib.format.open_memmap(
            folder / "crops.npy", mode, np.uint8, (count, 3, recipe.crop, recipe.crop)
        )
        self.maps = np.lib.format.open_memmap(folder / "maps.npy", mode, np.float16, (count, 4, width, side, side))
        if done == count:
            return
        teacher = Backbone(recipe.teacher).to(device)
        teacher.load()
        images = [(read_image(p).read() * 255).round().to(torch.uint8).numpy() for p in paths]
        start = time.monotonic()
        for first in range(done, count, 32):
            part = range(first, min(first + 32, count))
            crops = []
            for index in part:
                gen = torch.Generator().manual_seed(recipe.seed * 1_000_003 + index)
                crop = draw_crop(images, recipe.crop, gen)
                crops.append(tone(crop, gen) if uniform(0, 1, gen) < recipe.baked else crop)
            batch = (torch.stack(crops) * 255).round()
            maps = torch.stack(teacher.features((batch / 255).to(device)), 1)
            self.crops[part.start : part.stop] = batch.to(torch.uint8).numpy()
            self.maps[part.start : part.stop] = maps.to("cpu", torch.float16).numpy()
            note.write_text(json.dumps({"key": self.key, "done": part.stop}))
            if first // 32 % 20 == 0:
                log(f"teacher: {part.stop}/{count} crops, {time.monotonic() - start:.0f} s")

    def get(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Crops (B, 3, S, S) in [0, 1] and maps (B, 4, E, h, w)"""
        return torch.from_numpy(self.crops[index]).float() / 255, torch.from_numpy(self.maps[index]).float()


# ---------------------------------------------------------------------- student


class Student(nn.Module):
    """The ViT in training, and a linear map per depth to the teacher's channels."""

    def __init__(self, name: str, teacher_width: int) -> None:
        super().__init__()
        config = BACKBONES[name].config
        self.vit = Vit(config)
        for block in self.vit.blocks:  # a small start of the residual branches, as in DINOv3
            nn.init.constant_(block.scale1, 0.3)  # type: ignore[arg-type]
            nn.init.constant_(block.scale2, 0.3)  # type: ignore[arg-type]
        self.heads = nn.ModuleList([nn.Conv2d(config.width, teacher_width, 1) for _ in range(4)])

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """RGB (B, 3, H, W) in [0, 1] -> own maps, and predictions of the teacher's (B, 4, E, h, w)"""
        mean, std = (images.new_tensor(v).view(3, 1, 1) for v in (MEAN, STD))
        maps = self.vit((images - mean) / std)
        return maps, torch.stack([head(m) for head, m in zip(self.heads, maps, strict=True)], 1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Mean cosine over places, of (B, 4, E, h, w) -> (4,)"""
    return F.cosine_similarity(a, b, 2).mean((0, 2, 3))


def distance(predicted: Tensor, maps: Tensor, spread: Tensor) -> Tensor:
    """1 - cosine, plus smooth L1 in units of the teacher's deviation `spread` (4, E); maps are (B, 4, E, h, w)."""
    scale = spread[None, :, :, None, None]
    return (1 - cosine(predicted, maps)).mean() + 0.5 * F.smooth_l1_loss(predicted / scale, maps / scale)


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith, ICML 2019) of two sets of vectors (P, C) and (P, D): 1 for equal up
    to rotation.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    cross = (a.T @ b).square().sum()
    return float(cross / ((a.T @ a).norm() * (b.T @ b).norm()).clamp_min(1e-20))


def _check_names(recipe: Distillation) -> None:
    for name in (recipe.student, recipe.teacher):
        if name not in BACKBONES:
            raise FusionError(f"unknown backbone '{name}': known are {', '.join(BACKBONES)}")


def distil(
    recipe: Distillation,
    data_root: str | Path,
    out: str | Path,
    *,
    device: str = "cpu",
    resume: bool = True,
    save_every: int = 200,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains the student and writes model.safetensors, config.json, README.md (card), log.jsonl, last.pt and the pool.

    Args:
        recipe: every choice of the run.
        data_root: folder with those of the recipe.
        out: folder to write; the pool goes to its folder pool.
        device: of both networks, as torch names it.
        resume: resumes from last.pt in `out`, to the bit.
        save_every: steps between checkpoints.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: an unknown backbone, no images, or a last.pt of another recipe or pool.
    """
    _check_names(recipe)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pool = CropCache(recipe, Path(data_root), out / "pool", device, log)
    torch.manual_seed(recipe.seed)
    gen = torch.Generator().manual_seed(recipe.seed)
    student = Student(recipe.student, pool.maps.shape[2]).to(device).train()
    spread = torch.from_numpy(np.asarray(pool.maps[:256]).astype(np.float32)).std((0, 3, 4)).clamp_min(1e-3).to(device)
    optimiser = torch.optim.AdamW(decay_groups(student.parameters(), recipe.weight_decay), lr=recipe.lr)
    ema = Ema(student, recipe.ema)
    key = {"recipe": json.dumps([asdict(recipe), pool.key], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": student, "optimiser": optimiser}
    settings: dict[str, Any] = {"steps": recipe.steps, "device": device, "resume": resume, "save_every": save_every}
    loop = Loop(out, key, parts, ema, gen, log_every=100, log=log, **settings)
    for step in loop.steps():
        set_rate(optimiser, warm_cosine(recipe.lr, recipe.warmup, step, recipe.steps))
        loss = distance(*_views(student, pool, recipe, gen, device), spread)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(student.parameters(), recipe.clip)
        optimiser.step()
        ema.update(student, step)
        scores = similarity(student, pool, recipe, device) if (step + 1) % 500 == 0 else None
        loop.record(step, {"loss": float(loss.detach())}, scores)
    student.load_state_dict(ema.shadow)
    scores_at_end = similarity(student, pool, recipe, device)
    save_vit(student.vit, out)
    _card(out, recipe, scores_at_end, loop.seconds)
    log(f"wrote {out / 'model.safetensors'}  {json.dumps(scores_at_end)}")
    return out


def _views(
    student: Student, pool: CropCache, recipe: Distillation, gen: torch.Generator, device: str
) -> tuple[Tensor, Tensor]:
    """The student's maps of a batch of crops, some with altered tones, and the teacher's."""
    crops, maps = pool.get(torch.randint(0, recipe.pool, (recipe.batch,), generator=gen).numpy())
    views = torch.stack([tone(c, gen) if uniform(0, 1, gen) < recipe.altered else c for c in crops]).to(device)
    _, predicted = student(views)
    return predicted, maps.to(device)


@torch.no_grad()
def similarity(student: Student, pool: CropCache, recipe: Distillation, device: str) -> dict[str, list[float]]:
    """On crops kept apart (other crops of the same images), per depth: cosine of the prediction and CKA of the own
    features, for the crop itself and through `tone`.
    """
    index = np.arange(recipe.pool, recipe.pool + recipe.held_out)
    crops, maps = pool.get(index)
    gen = torch.Generator().manual_seed(1)
    student.eval()
    scores: dict[str, list[float]] = {}
    for name, views in (("plain", crops), ("altered", torch.stack([tone(c, gen) for c in crops]))):
        own, predicted = student(views.to(device))
        scores[f"cosine_{name}"] = [round(v, 4) for v in cosine(predicted.cpu(), maps).tolist()]
        scores[f"cka_{name}"] = [
            round(linear_cka(m.cpu().movedim(1, -1).flatten(0, 2), maps[:, k].movedim(1, -1).flatten(0, 2)), 4)
            for k, m in enumerate(own)
        ]
    student.train()
    return scores


def _card(out: Path, recipe: Distillation, scores: dict[str, list[float]], seconds: float) -> None:
    intro = f"Distilled with `anyfuse train tiny-vit` from {recipe.teacher}; licence Apache-2.0."
    lines = [
        f"- {recipe.steps} steps of {recipe.batch} crops of {recipe.crop} pixels, seed {recipe.seed}, "
        f"{seconds / 60:.0f} minutes (without the teacher)",
        hardware(torch.device("cpu")),
        "- on other crops of the same images, at blocks 3, 6, 9 and 12 (plain: as the teacher saw them; altered: "
        "through "
        "another camera's curve):",
        *(f"  - {name}: " + ", ".join(f"{v:.3f}" for v in values) for name, values in scores.items()),
    ]
    write_card(out, "tiny ViT", intro, lines, recipe)
