"""Training of DiTFuse's head for segmentation by pixels (models/ditfuse/mask_head.py), all else as it is.

pairs    real pairs with boxes of people and vehicles (boxed.py), a share `boxed` of a batch
street   a frame of CamVid and a pseudo-thermal image of it (data/thermal.py), white-hot or black-hot; or the frame
         twice, or the thermal image twice, since one image alone is segmented as well
crop     of 0.7 to 2.2 times the size, half of them mirrored; half of them are put on a class that is drawn among
         those there, so that small ones come as often as large ones. Half of the images have tones, darkness, noise
         and blur of their own
loss     cross entropy of the eleven classes, rare ones with more weight; unlabelled pixels count nowhere. In the end
         the odds of a pedestrian are multiplied (logit adjustment: Menon et al. 2021)
files    every tenth frame is held out, and its IoU of each class is on the card, of the frame alone and with a
         pseudo-thermal image
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...control import CLASSES
from ...data.thermal import pseudo_thermal
from ...degradation.plan import generator
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.random import integer, uniform
from ...io.folders import pair_by_stem
from ...io.read import read_image
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.ditfuse.mask_head import PixelMaskHead
from ...models.registry import load_model
from ...weights import package_folder
from ..card import hardware, write_card
from ..loop import Ema, Loop, Stateful, warm_cosine
from ..objectives import set_rate
from .boxed import UNKNOWN, BoxedPair, boxed_loss, read_boxed
from .segmenter import altered, with_structure

UNLABELLED = len(CLASSES)
PEDESTRIAN = CLASSES.index("pedestrian")
HOLDOUT = 10
CAMVID = ("camvid/images", "camvid/labels")

Street = np.ndarray
"""(2, H, W) uint8: luma and classes."""


@dataclass(frozen=True)
class MasksPlan:
    """Training of the head."""

    start: str = "ditfuse-tiny-fast"  # the model whose head is trained: a name or a folder
    base: int = 16  # channels of the U-Net at half size
    steps: int = 6000  # updates of the weights
    batch: int = 8  # crops per step
    height: int = 192  # of the crops, in pixels
    width: int = 256
    smallest: float = 0.7  # of a crop's magnification
    largest: float = 2.2
    rare: float = 0.5  # share of crops that are put on a class drawn among those of the frame
    pairs: float = 0.6  # share of crops beside a pseudo-thermal image; else one image twice
    people: float = 1.0  # what the odds of a pedestrian are multiplied by in the end
    plain: float = 0.5  # share of images whose tones stay
    black_hot: float = 0.25  # share of thermal images whose hot things are dark
    boxed: float = 0.375  # share of a batch that are real pairs with boxes (boxed.py)
    heat_alone: float = 0.15  # share of real pairs whose infrared image stands alone
    lr: float = 3e-3  # after the warm-up; a cosine to lr/50
    warmup: int = 40  # steps with a rising rate
    weight_decay: float = 1e-2  # of all weights
    ema: float = 0.995  # decay of averaged weights
    seed: int = 0  # of weights and crops


MASKS: dict[str, MasksPlan] = {"ditfuse-masks": MasksPlan()}


def read_streets(root: Path) -> tuple[list[Street], list[Street], str]:
    """Frames to train on, held-out frames, and a digest of their files. Raises FusionError where they are not there."""
    folders = [root / name for name in CAMVID]
    absent = [f for f in folders if not f.is_dir()]
    if absent:
        raise FusionError(f"{absent[0]}: the street images of 'ditfuse-masks' are not there; see --data")
    digest, frames = sha256(), []
    for group in pair_by_stem(folders)[0].values():
        for path in group:
            digest.update(f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
        both = torch.cat([to_luma(read_image(group[0]).read()), read_image(group[1]).read()[:1]])
        frames.append((both * 255).round().to(torch.uint8).numpy())
    if len(frames) < HOLDOUT:
        raise FusionError(f"{folders[0]}: has {len(frames)} frames; give {HOLDOUT} or more")
    held = [f for k, f in enumerate(frames) if k % HOLDOUT == HOLDOUT - 1]
    return [f for k, f in enumerate(frames) if k % HOLDOUT != HOLDOUT - 1], held, digest.hexdigest()


def class_weights(frames: list[Street]) -> Tensor:
    """(11,) the square root of how much rarer each class is than the middle one, .5 to 5; 1 of classes that are not
    there.
    """
    counts = torch.zeros(UNLABELLED, dtype=torch.float64)
    for frame in frames:
        counts += torch.from_numpy(np.bincount(frame[1].ravel(), minlength=UNLABELLED + 1)[:UNLABELLED])
    weights = (counts[counts > 0].median() / counts).sqrt().clamp(0.5, 5.0).float()
    return torch.where(counts > 0, weights, torch.ones_like(weights))


def crop_of(planes: np.ndarray, labels: np.ndarray, others: int, plan: MasksPlan, gen: Generator) -> list[Tensor]:
    """A crop of planes (C, H, W) uint8 and labels (H, W) -> (C, h, w) in [0, 1] and (h, w).

    A share of the crops, `plan.rare`, holds a pixel of a label that is drawn among those below `others` that are there.
    """
    rows, cols = labels.shape
    scale = plan.smallest * (plan.largest / plan.smallest) ** uniform(0, 1, gen)
    take = min(round(plan.height / scale), rows), min(round(plan.width / scale), cols)
    top, left = integer(0, rows - take[0], gen), integer(0, cols - take[1], gen)
    if uniform(0, 1, gen) < plan.rare:
        there = [k for k in np.unique(labels) if k < others]
        places = np.argwhere(labels == there[integer(0, len(there) - 1, gen)])
        y, x = places[integer(0, len(places) - 1, gen)].tolist()
        top = min(max(y - integer(0, take[0] - 1, gen), 0), rows - take[0])
        left = min(max(x - integer(0, take[1] - 1, gen), 0), cols - take[1])
    window, size = (..., slice(top, top + take[0]), slice(left, left + take[1])), (plan.height, plan.width)
    part, named = (torch.from_numpy(a[window].copy()).float() for a in (planes, labels))
    seen_part = F.interpolate(part[None], size, mode="bilinear", antialias=True)[0].clamp(0, 255) / 255
    named = F.interpolate(named[None, None], size, mode="nearest-exact")[0, 0].long()
    mirrored = uniform(0, 1, gen) < 0.5
    return [x.flip(-1) if mirrored else x for x in (seen_part, named)]


def draw(frames: list[Street], plan: MasksPlan, gen: Generator) -> tuple[Tensor, Tensor]:
    """Two images (2, h, w) in [0, 1], infrared first, and classes (h, w) of a crop."""
    frame = frames[integer(0, len(frames) - 1, gen)]
    (luma,), classes = crop_of(frame[:1], frame[1], UNLABELLED, plan, gen)
    kind = uniform(0, 1, gen)
    if kind < plan.pairs + (1 - plan.pairs) / 3:
        thermal = seen_by_heat(luma, classes, plan, gen)
        other = luma if kind < plan.pairs else thermal
        return torch.stack([seen(thermal, plan, gen), seen(other, plan, gen)]), classes
    first = seen(luma, plan, gen)
    return torch.stack([first, first if uniform(0, 1, gen) < 0.7 else seen(luma, plan, gen)]), classes


def draw_boxed(pairs: list[BoxedPair], plan: MasksPlan, gen: Generator) -> tuple[Tensor, Tensor]:
    """Two images (2, h, w) in [0, 1], infrared first, and marks (h, w) of a crop of a real pair."""
    chosen = pairs[integer(0, len(pairs) - 1, gen)]
    (infrared, visible), marks = crop_of(chosen.pair, chosen.marks, UNKNOWN, plan, gen)
    if uniform(0, 1, gen) < plan.black_hot:
        infrared = 1 - infrared
    first = seen(infrared, plan, gen)
    return torch.stack([first, first if uniform(0, 1, gen) < plan.heat_alone else seen(visible, plan, gen)]), marks


def seen(luma: Tensor, plan: MasksPlan, gen: Generator) -> Tensor:
    """An image (h, w) as another camera would give it, or as it is."""
    return luma.clamp(0, 1) if uniform(0, 1, gen) < plan.plain else altered(luma, gen)


def seen_by_heat(luma: Tensor, classes: Tensor, plan: MasksPlan, gen: Generator) -> Tensor:
    """A pseudo-thermal image (h, w) in [0, 1] of a crop, white-hot or black-hot, with some of the visible detail."""
    thermal = with_structure(pseudo_thermal(luma, classes, gen), luma, uniform(-0.6, 0.9, gen))
    return 1 - thermal if uniform(0, 1, gen) < plan.black_hot else thermal


def train_masks(
    plan: MasksPlan,
    data_root: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains a head for a DiTFuse and writes the whole model: model.safetensors, config.json, README.md (card),
    log.jsonl and last.pt.

    Args:
        plan: every choice of the run.
        data_root: folder with camvid/images and camvid/labels.
        out: folder to write.
        resume: resumes from last.pt in `out`, to the bit.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a plan that cannot be run, no DiTFuse in `start`, missing images, or a last.pt of another plan.
    """
    if min(plan.steps, plan.batch, plan.base) < 1 or min(plan.height, plan.width) < PixelMaskHead.SIDE:
        raise FusionError(
            f"{plan.steps} steps of {plan.batch}, {plan.base} channels, crops of {plan.width}x{plan.height}: give 1 or "
            f"more, and sides of {PixelMaskHead.SIDE} or more"
        )
    given = load_model(plan.start)
    if not isinstance(given, DiTFuse):
        raise FusionError(f"start={plan.start}: give a DiTFuse, as ditfuse-tiny-fast, not {type(given).__name__}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    frames, held, digest = read_streets(Path(data_root))
    pairs, boxes = read_boxed(Path(data_root)) if plan.boxed else ([], "")
    digest += boxes
    torch.set_flush_denormal(True)
    torch.manual_seed(plan.seed)
    gen = torch.Generator().manual_seed(plan.seed)
    channels = given.channels
    head = PixelMaskHead(channels, plan.base).train()
    head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(head.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    ema, weights = Ema(head, plan.ema), class_weights(frames)
    key = {"recipe": json.dumps([asdict(plan), digest], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": head, "optimiser": optimiser}
    streets = plan.batch - round(plan.boxed * plan.batch)
    loop = Loop(out, key, parts, ema, gen, steps=plan.steps, resume=resume, save_every=100, log=log)
    for step in loop.steps():
        set_rate(optimiser, warm_cosine(plan.lr, plan.warmup, step, plan.steps))
        crops = [draw(frames, plan, gen) for _ in range(streets)]
        crops += [draw_boxed(pairs, plan, gen) for _ in range(plan.batch - streets)]
        sources, labels = torch.stack([x for x, _ in crops])[:, :, None], torch.stack([y for _, y in crops])
        logits = head(None, sources.expand(-1, -1, channels, -1, -1))
        loss = F.cross_entropy(logits[:streets], labels[:streets], weights, ignore_index=UNLABELLED)
        if streets < plan.batch:
            loss = loss + boxed_loss(logits[streets:], labels[streets:])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        ema.update(head, step)
        loop.record(step, {"loss": float(loss.detach())})
    head.load_state_dict(ema.shadow)
    assert head.out.bias is not None
    with torch.no_grad():
        head.out.bias[PEDESTRIAN] += math.log(plan.people)
    model = with_head(given, head, plan.base)
    model.half().save_pretrained(out)
    _card(out, plan, model.float(), held, len(pairs), digest, loop.seconds)
    log((out / "README.md").read_text())
    return out


def folder_of(name: str) -> Path:
    """The folder of a model: itself, or the package's."""
    return Path(name) if Path(name).is_dir() else package_folder(name)


def with_head(given: DiTFuse, head: PixelMaskHead, base: int) -> DiTFuse:
    """The model with another head for segmentation, and its configuration to match."""
    model = DiTFuse(replace(given.config, mask=True, mask_pixels=base))
    state = {k: v for k, v in given.state_dict().items() if not k.startswith("mask_head.")}
    model.load_state_dict(state | {f"mask_head.{k}": v for k, v in head.state_dict().items()})
    return model.eval()


@torch.inference_mode()
def held_out_iou(model: DiTFuse, frames: list[Street], plan: MasksPlan) -> dict[str, list[float]]:
    """'alone' and 'with heat' -> IoU of each class over the frames, each pixel the likeliest class."""
    both, either = torch.zeros(2, UNLABELLED), torch.zeros(2, UNLABELLED)
    for index, frame in enumerate(frames):
        luma, truth = torch.from_numpy(frame[0].copy()).float() / 255, torch.from_numpy(frame[1].copy()).long()
        thermal = seen_by_heat(luma, truth, plan, generator(plan.seed, "held out", index))
        for kind, first in enumerate((luma, thermal)):
            pair = F.pad(torch.stack([first, luma])[None, :, None], (0, -luma.shape[1] % 16, 0, -luma.shape[0] % 16))
            shares = torch.cat(list(model.masks(pair, CLASSES).values()))[:, : luma.shape[0], : luma.shape[1]]
            best = shares.argmax(0)
            for k in range(UNLABELLED):
                here, there = (best == k) & (truth != UNLABELLED), truth == k
                both[kind, k] += (here & there).sum()
                either[kind, k] += (here | there).sum()
    values = (both / either.clamp_min(1)).tolist()
    return {"alone": values[0], "with heat": values[1]}


def _card(
    out: Path, plan: MasksPlan, model: DiTFuse, held: list[Street], pairs: int, digest: str, seconds: float
) -> None:
    found = held_out_iou(model, held, plan)
    lines = [
        f"- all but the head for segmentation is that of {Path(plan.start).name}",
        f"- data: {len(CLASSES)} classes of CamVid and {pairs} real pairs with boxes, images, classes and boxes sha256 "
        f"`{sha256(digest.encode()).hexdigest()[:16]}`",
        f"- {plan.steps} steps of {plan.batch} crops, seed {plan.seed}, {seconds / 60:.0f} minutes",
        hardware(torch.device("cpu")),
        "",
        f"IoU on {len(held)} held-out frames, alone and beside a pseudo-thermal image:",
        "",
        "| class | " + " | ".join(found) + " |",
        "| --- | ---: | ---: |",
        *(f"| {name} | " + " | ".join(f"{v[k]:.3f}" for v in found.values()) + " |" for k, name in enumerate(CLASSES)),
        "| mean | " + " | ".join(f"{sum(v) / len(v):.3f}" for v in found.values()) + " |",
    ]
    before = folder_of(plan.start) / "README.md"
    if before.exists():
        lines += ["", f"The rest of the model, from the card of {Path(plan.start).name}:", "", before.read_text()]
    intro = "DiTFuse with a head for segmentation that sees pixels; trained with `anyfuse train ditfuse-masks`."
    write_card(out, "DiTFuse, head for segmentation", intro, lines, plan)
