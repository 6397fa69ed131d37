"""Training of the segmenter of people and vehicles (models/segmenter.py) on streets with known classes.

pool     frames of CamVid at 4/5 of their size, each with a pseudo-thermal image (data/thermal.py) and with the fusion
         of both by several models. It lies beside the folder of the run; runs that differ in their seed alone share it
pairs    real pairs with boxes drawn by hand (boxed.py) and their fusions, a share `boxed` of the crops
picture  a frame is shown as one of KINDS, each as often: either camera alone, the result of a model, or a mixture
         whose shares vary over the image. So no compared picture is strange to the network, and none is favoured. The
         thermal image, alone and in mixtures, has some of the visible detail, of either sign
crop     of 0.68 to 2.2 times the size, half of them mirrored; gamma, gain, darkness, noise, blur, uneven light, and
         now and then inverted
loss     cross entropy of other, person (pedestrian, bicyclist) and vehicle (car); unlabelled pixels count nowhere
files    every tenth frame is held out, and its IoU of both classes by kind is on the card
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...control import OBJECTS
from ...data.synthetic import convolve, defocus_kernel
from ...data.thermal import pseudo_thermal
from ...degradation.plan import generator
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.random import integer, smooth_field, uniform
from ...io.folders import pair_by_stem
from ...io.read import read_image
from ...models.base import parameter_counts
from ...models.registry import load_model
from ...models.segmenter import Segmenter, SegmenterConfig
from ...tiling import fuse_whole
from ..card import hardware, write_card
from ..loop import Ema, Loop, Stateful, warm_cosine
from ..objectives import set_rate
from .boxed import read_boxed

FUSED = ("average", "maximum", "laplacian", "anyfuse", "tita-small", "unifusion-small")
STORED = ("visible", "infrared", *FUSED)
KINDS = (*STORED, "mixture")
"""What a frame is shown as. The mixture is made on the way."""
IGNORED = 255
OBJECT_OF_CLASS = (0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, IGNORED)
"""Channel of the network, by CamVid's class."""
OBJECT_OF_MARK = (0, 1, 1, 2, IGNORED)
"""Channel of the network, by the mark of boxed.py."""
HOLDOUT = 10
POOL_VERSION = 1
"""To be raised where making the pool changes."""


@dataclass(frozen=True)
class SegmenterPlan:
    """Training of a segmenter."""

    frames: int = 96  # to train on, spread over the folder
    tests: int = 8  # held-out frames
    frame_height: int = 288  # of the pool, in pixels
    frame_width: int = 384
    pool_seed: int = 0  # of the thermal images, which all seeds share
    steps: int = 1500  # updates of the weights
    batch: int = 8  # crops per step
    height: int = 192  # of the crops, in pixels; a multiple of 16
    width: int = 256
    smallest: float = 0.68  # of a crop's magnification
    largest: float = 2.2
    people: float = 0.6  # share of crops that are put on a person
    boxed: float = 0.5  # share of crops of real pairs with boxes
    lr: float = 3e-3  # after the warm-up; a cosine to lr/50
    warmup: int = 40  # steps with a rising rate
    weight_decay: float = 1e-2  # of all weights
    person_weight: float = 4.0  # of a person's pixels in the loss, against others
    vehicle_weight: float = 2.0
    ema: float = 0.99  # decay of averaged weights
    seed: int = 0  # of weights, crops and alterations


SEGMENTERS: dict[str, SegmenterPlan] = {"segmenter": SegmenterPlan()}


# ---------------------------------------------------------------------- the pool


class Pictures(NamedTuple):
    """What a frame is shown as, and what is in it."""

    images: np.ndarray  # (K, h, w) uint8, as each of STORED
    objects: np.ndarray  # (h, w) uint8


class StreetPool:
    """Frames as each of STORED, and their objects, in files that are mapped into memory.

    Args:
        plan: gives frames, their size and the seed of the pool.
        root: folder with camvid/images and camvid/labels.
        folder: to keep the pool in; one that was stopped goes on.
        log: gets lines of progress.

    Raises:
        FusionError: no such images.
    """

    def __init__(self, plan: SegmenterPlan, root: Path, folder: Path, log: Callable[[str], None]) -> None:
        train, tests, digest = _frames_of(plan, root)
        shape = (len(train) + len(tests), len(STORED), plan.frame_height, plan.frame_width)
        self.key = sha256(json.dumps([digest, shape, len(tests), plan.pool_seed, POOL_VERSION]).encode()).hexdigest()
        self.count, self.held_out = len(train), len(tests)
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "pool.json"
        known: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {}
        first = known["done"] if known.get("key") == self.key else 0
        images = _mapped(folder / "images.npy", shape, first > 0)
        objects = _mapped(folder / "objects.npy", (shape[0], *shape[2:]), first > 0)
        models = {name: load_model(name).eval() for name in FUSED} if first < shape[0] else {}
        for index, (image, labels) in enumerate([*train, *tests]):
            if index < first:
                continue
            gen = generator(plan.pool_seed, "segmenter", index)
            images[index], objects[index] = _pictures(image, labels, shape[2:], models, gen)
            if (index + 1) % 10 == 0 or index + 1 == shape[0]:
                for array in (images, objects):
                    array.flush()  # type: ignore[attr-defined]
                state.with_suffix(".tmp").write_text(json.dumps({"key": self.key, "done": index + 1}))
                os.replace(state.with_suffix(".tmp"), state)
                log(f"pool: {index + 1}/{shape[0]} frames")
        self.images, self.objects = images, objects
        self.real: list[Pictures] = []
        if plan.boxed:
            self.real, boxes = _real_pictures(plan, root, folder / "boxed", log)
            self.key += boxes

    def draw(self, plan: SegmenterPlan, gen: Generator) -> tuple[Pictures, bool]:
        """The pictures of a frame to learn from, and whether it is a real pair."""
        if self.real and uniform(0, 1, gen) < plan.boxed:
            return self.real[integer(0, len(self.real) - 1, gen)], True
        index = integer(0, self.count - 1, gen)
        return Pictures(self.images[index], self.objects[index]), False


def _mapped(path: Path, shape: tuple[int, ...], exists: bool) -> np.ndarray:
    """A file of bytes as an array of this shape, new or as it is."""
    if exists:
        return np.lib.format.open_memmap(path, "r+")
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def _frames_of(plan: SegmenterPlan, root: Path) -> tuple[list[tuple[Path, ...]], list[tuple[Path, ...]], str]:
    """Frames to train on and held-out ones, as image and labels, and a digest of their files."""
    folders = [root / "camvid" / part for part in ("images", "labels")]
    absent = [f for f in folders if not f.is_dir()]
    if absent:
        raise FusionError(f"{absent[0]}: the street images of 'segmenter' are not there; see --data")
    groups = list(pair_by_stem(folders)[0].values())
    train = [g for k, g in enumerate(groups) if k % HOLDOUT != HOLDOUT - 1]
    tests = [g for k, g in enumerate(groups) if k % HOLDOUT == HOLDOUT - 1]
    if not train or not tests:
        raise FusionError(f"{folders[0]}: has {len(groups)} frames; give {HOLDOUT} or more")
    train, tests = _spread(train, plan.frames), _spread(tests, plan.tests)
    digest = sha256()
    for path in (p for group in (*train, *tests) for p in group):
        digest.update(f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return train, tests, digest.hexdigest()


def _spread(groups: list[tuple[Path, ...]], count: int) -> list[tuple[Path, ...]]:
    """So many of them, or all, evenly over the list."""
    places = np.linspace(0, len(groups) - 1, min(count, len(groups))).round().astype(int)
    return [groups[k] for k in places]


def _real_pictures(
    plan: SegmenterPlan, root: Path, folder: Path, log: Callable[[str], None]
) -> tuple[list[Pictures], str]:
    """The real pairs with boxes, their longer side as a frame's, as each of STORED, and a digest of them. They are kept
    in `folder`.
    """
    pairs, digest = read_boxed(root)
    folder = folder / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    models: dict[str, Any] = {}
    found = []
    for index, pair in enumerate(pairs):
        path = folder / f"{index}.npz"
        if not path.exists():
            models = models or {name: load_model(name).eval() for name in FUSED}
            shrink = plan.frame_width / max(pair.marks.shape)
            size = [round(shrink * side) for side in pair.marks.shape]
            both = torch.from_numpy(pair.pair).float()[None] / 255
            infrared, visible = F.interpolate(both, size, mode="bilinear", antialias=True)[0].clamp(0, 1)
            marks = F.interpolate(torch.from_numpy(pair.marks)[None, None].float(), size, mode="nearest-exact")[0, 0]
            objects = torch.tensor(OBJECT_OF_MARK)[marks.long()].to(torch.uint8).numpy()
            part = path.with_suffix(".part.npz")
            np.savez(part, images=_shown(infrared, visible, models), objects=objects)
            os.replace(part, path)
            if (index + 1) % 10 == 0 or index + 1 == len(pairs):
                log(f"pool: {index + 1}/{len(pairs)} real pairs")
        with np.load(path) as stored:
            found.append(Pictures(stored["images"], stored["objects"]))
    return found, digest


@torch.inference_mode()
def _shown(infrared: Tensor, visible: Tensor, models: dict[str, Any]) -> np.ndarray:
    """Two images (h, w) in [0, 1] as each of STORED (K, h, w) uint8."""
    pair = (torch.stack([infrared, visible])[:, None] * 255).round() / 255
    shown = [pair[1, 0], pair[0, 0], *(fuse_whole(m, pair)[0] for m in models.values())]
    return (torch.stack([x.clamp(0, 1) for x in shown]) * 255).round().to(torch.uint8).numpy()


def _pictures(
    image: Path, labels: Path, size: tuple[int, ...], models: dict[str, Any], gen: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A frame as each of STORED (K, h, w) uint8, and its objects (h, w)."""
    luma = to_luma(read_image(image).read())
    classes = (read_image(labels).read()[:1] * 255).round()
    luma = F.interpolate(luma[None], size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    classes = F.interpolate(classes[None], size, mode="nearest-exact")[0, 0].long().clamp(0, 11)
    thermal = pseudo_thermal(luma, classes, gen).clamp(0, 1)
    return _shown(thermal, luma, models), torch.tensor(OBJECT_OF_CLASS)[classes].to(torch.uint8).numpy()


# ---------------------------------------------------------------------- crops


def draw_crop(pool: StreetPool, plan: SegmenterPlan, gen: Generator) -> tuple[Tensor, Tensor]:
    """A crop of a frame, shown as one of KINDS: luma (h, w) in [0, 1] and objects (h, w)."""
    (pictures, real), kind = pool.draw(plan, gen), KINDS[integer(0, len(KINDS) - 1, gen)]
    objects = torch.from_numpy(pictures.objects)
    rows, cols = objects.shape
    scale = plan.smallest * (plan.largest / plan.smallest) ** uniform(0, 1, gen)
    take = min(round(plan.height / scale), rows), min(round(plan.width / scale), cols)
    top, left = integer(0, rows - take[0], gen), integer(0, cols - take[1], gen)
    seen = (objects == 1).nonzero()
    if len(seen) and uniform(0, 1, gen) < plan.people:
        y, x = seen[integer(0, len(seen) - 1, gen)].tolist()
        top = min(max(y - integer(0, take[0] - 1, gen), 0), rows - take[0])
        left = min(max(x - integer(0, take[1] - 1, gen), 0), cols - take[1])
    window = slice(top, top + take[0]), slice(left, left + take[1])
    visible, infrared, shown = (
        torch.from_numpy(pictures.images[k][window].copy()).float() / 255
        for k in (0, 1, STORED.index(kind) if kind in STORED else 0)
    )
    if kind in ("infrared", "mixture") and not real:
        infrared = with_structure(infrared, visible, uniform(-0.6, 0.9, gen))
        shown = infrared
    if kind == "mixture":
        share = (0.5 + 0.35 * smooth_field(*take, uniform(20, 120, gen), gen)).clamp(0, 1)
        shown = share * infrared + (1 - share) * visible
    size = plan.height, plan.width
    luma = F.interpolate(shown[None, None], size, mode="bilinear", antialias=True)[0, 0]
    objects = F.interpolate(objects[window][None, None].float(), size, mode="nearest-exact")[0, 0].long()
    if uniform(0, 1, gen) < 0.5:
        luma, objects = luma.flip(-1), objects.flip(-1)
    return altered(luma, gen), objects


def with_structure(infrared: Tensor, visible: Tensor, share: float) -> Tensor:
    """A pseudo-thermal image with a share of the visible one's detail (H, W), of either sign: in real ones, parts of a
    thing differ in their heat.
    """
    coarse = F.avg_pool2d(visible[None, None], 15, 1, 7, count_include_pad=False)[0, 0]
    return (infrared + share * (visible - coarse)).clamp(0, 1)


def altered(luma: Tensor, gen: Generator) -> Tensor:
    """Luma (H, W) in [0, 1] as another camera and another light would give it."""
    x = luma.clamp(0, 1)
    if uniform(0, 1, gen) < 0.05:
        x = 1 - x
    x = x**2 ** uniform(-1, 1, gen)
    x = x * (uniform(0.15, 0.5, gen) if uniform(0, 1, gen) < 0.15 else uniform(0.6, 1.15, gen))
    x = x + uniform(-0.05, 0.15, gen)
    if uniform(0, 1, gen) < 0.3:
        x = x * (1 + uniform(0.05, 0.3, gen) * smooth_field(x.shape[0], x.shape[1], uniform(40, 120, gen), gen))
    if uniform(0, 1, gen) < 0.3:
        x = convolve(x[None], defocus_kernel(uniform(0.5, 2.0, gen), True))[0]
    if uniform(0, 1, gen) < 0.5:
        x = x + uniform(0.004, 0.05, gen) * torch.randn(x.shape, generator=gen)
    return x.clamp(0, 1)


# ---------------------------------------------------------------------- the run


def train_segmenter(
    plan: SegmenterPlan,
    data_root: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains a segmenter and writes model.safetensors, config.json, README.md (card), log.jsonl and last.pt.

    Args:
        plan: every choice of the run.
        data_root: folder with camvid/images and camvid/labels.
        out: folder to write; the pool goes to segmenter-pool beside it.
        resume: resumes from last.pt in `out`, to the bit.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a plan that cannot be run, missing images, or a last.pt of another plan.
    """
    if min(plan.frames, plan.tests, plan.steps, plan.batch) < 1 or plan.height % 16 or plan.width % 16:
        raise FusionError(
            f"{plan.frames} and {plan.tests} frames, {plan.steps} steps of {plan.batch}, crops of "
            f"{plan.width}x{plan.height}: give 1 or more, and sides that are multiples of 16"
        )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pool = StreetPool(plan, Path(data_root), out.parent / "segmenter-pool", log)
    torch.set_flush_denormal(True)
    torch.manual_seed(plan.seed)
    gen = torch.Generator().manual_seed(plan.seed)
    net = Segmenter(SegmenterConfig()).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    ema = Ema(net, plan.ema)
    weights = torch.tensor([1.0, plan.person_weight, plan.vehicle_weight])
    key = {"recipe": json.dumps([asdict(plan), pool.key], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": net, "optimiser": optimiser}
    loop = Loop(out, key, parts, ema, gen, steps=plan.steps, resume=resume, save_every=100, log=log)
    for step in loop.steps():
        set_rate(optimiser, warm_cosine(plan.lr, plan.warmup, step, plan.steps))
        crops = [draw_crop(pool, plan, gen) for _ in range(plan.batch)]
        luma, objects = torch.stack([x for x, _ in crops])[:, None], torch.stack([y for _, y in crops])
        loss = F.cross_entropy(net(luma), objects, weights, ignore_index=IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        ema.update(net, step)
        loop.record(step, {"loss": float(loss.detach())})
    net.load_state_dict(ema.shadow)
    net.eval().half().float().save_pretrained(out)
    _card(out, plan, pool, net, loop.seconds)
    log((out / "README.md").read_text())
    return out


@torch.inference_mode()
def held_out_iou(net: Segmenter, pool: StreetPool) -> dict[str, list[float]]:
    """Kind -> IoU of person and of vehicle over all held-out frames, each pixel the likeliest class."""
    found: dict[str, list[float]] = {}
    for place, kind in enumerate(STORED):
        both, either = torch.zeros(2), torch.zeros(2)
        for index in range(pool.count, pool.count + pool.held_out):
            truth = torch.from_numpy(pool.objects[index])
            best = net(torch.from_numpy(pool.images[index, place].copy())[None, None].float() / 255)[0].argmax(0)
            for k in range(len(OBJECTS)):
                here, there = (best == k + 1) & (truth != IGNORED), truth == k + 1
                both[k] += (here & there).sum()
                either[k] += (here | there).sum()
        found[kind] = (both / either.clamp_min(1)).tolist()
    return found


def _card(out: Path, plan: SegmenterPlan, pool: StreetPool, net: Segmenter, seconds: float) -> None:
    intro = (
        f"Marks people and vehicles for `anyfuse bench --section downstream`; trained with `anyfuse train segmenter "
        f"--seed {plan.seed}`; {parameter_counts(net)[0]:,} parameters; licence Apache-2.0."
    )
    lines = [
        f"- data: {pool.count} frames of CamVid with pseudo-thermal images and fusions of both, pool `{pool.key[:16]}`",
        f"- {plan.steps} steps of {plan.batch} crops, seed {plan.seed}, {seconds / 60:.0f} minutes without the pool",
        hardware(torch.device("cpu")),
        "",
        f"IoU on {pool.held_out} held-out frames:",
        "",
        "| shown | " + " | ".join(OBJECTS) + " |",
        "| --- | ---: | ---: |",
        *(f"| {k} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for k, values in held_out_iou(net, pool).items()),
    ]
    write_card(out, "Segmenter of people and vehicles", intro, lines, plan)
