"""A learned descriptor in place of the doubled angles of edges: trained, and measured in the whole search.

    python experiments/alignment_descriptor.py --data DATA --out descriptor.safetensors [--minutes 30]
    python experiments/alignment_descriptor.py --data DATA --weights descriptor.safetensors

A network of few weights turns luma and its field into six planes. It begins as the field itself. It learns from blocks
of aligned pairs of two sensors or exposures under synthetic motions: a cross-entropy over the shifts of each block.
No pair of the tables of `alignment.py` is trained on. The hash of the list of training files is printed.

Measured on known motions and on landmarks, as in `alignment.py`: the field; the network in its place; and the network
only where the field gives no sure answer. Pairs of different scenes are tried, too.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import alignment as base
import torch
from alignment_sets import KNOWN, at640, luma, pairs_of
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anyfuse.align import estimate as search
from anyfuse.align import match
from anyfuse.align.estimate import Alignment, Scene, estimate_scenes
from anyfuse.align.field import field
from anyfuse.align.match import Blocks
from anyfuse.align.sampling import grid_sample
from anyfuse.align.transform import apply, coordinates, warp
from anyfuse.image.filters import box
from anyfuse.image.random import uniform
from anyfuse.io.read import read_image

PAIRS = {
    "roadscene": ("train/ivif/vis", "train/ivif/ir"),
    "llvip": ("train/ivif-llvip/vis", "train/ivif-llvip/ir"),
    "near infrared": ("train/nir-epfl/vis", "train/nir-epfl/ir"),
    "pet": ("train/mif/pet-mri/mri", "train/mif/pet-mri/pet"),
}
BRACKETS = ("mef-hdrps", "mef-empa", "mef-merianos")
HELD = 40  # pairs of each set that the tables use, and that are not trained on
CROP, REACH, STRIDE = 128, 8, 36  # pixels
SHARPNESS = 25.0  # of the softmax over the scores of shifts


class Descriptor(nn.Module):
    """Luma (B, 1, H, W) and its field (B, 2, H, W) -> planes (B, 6, H, W); as the field before training."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(width, 6, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, plane: Tensor, edges: Tensor) -> Tensor:
        mean = box(plane, 7)
        spread = (box(plane.square(), 7) - mean.square()).clamp_min(0).sqrt()
        local = (plane - mean) / (spread + 0.02)
        out = self.head(self.body(torch.cat([edges, local, spread.add(1e-3).log() / 3 + 1], 1)))
        return out + nn.functional.pad(edges, (0, 0, 0, 0, 0, 4))


def training_pairs(data: Path) -> list[list[tuple[Path, Path]]]:
    """The pairs of each set that no table uses."""
    sets = []
    for name, folders in PAIRS.items():
        held = set() if name == "pet" else {one for _, one, _ in pairs_of(data, folders, HELD)}
        sets.append([(one, two) for _, one, two in pairs_of(data, folders, 10**6) if one not in held])
    brackets = []
    for name in BRACKETS:
        for folder in sorted(p for p in (data / "train" / name).iterdir() if p.is_dir()):
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".png"})
            files.sort(key=lambda p: read_image(p).brightness)
            brackets += [(files[0], files[-1]), (files[0], files[len(files) // 2])]
    return [*sets, brackets]


def loaded(pairs: list[tuple[Path, Path]], name: int) -> list[tuple[Tensor, Tensor]]:
    """Lumas of at most 640 pixels, brought together by the search where it is sure of a movement."""
    out = []
    for one, two in pairs:
        a, b = (at640(read_image(p)) for p in (one, two))
        if a.shape == b.shape and min(a.shape) > CROP + 16:
            answer = estimate_scenes(Scene(a, None), Scene(b, None)) if name < 3 else None
            if answer is not None and answer.kind != "none":
                b = warp(b[None], answer.matrix, *a.shape, "bicubic")[0][0].clamp(0, 1)
            out.append((a, b))
    return out


def motion_of_crop(gen: torch.Generator) -> Tensor:
    """A small similarity of a crop: up to 2 degrees, 4 % and 6 pixels."""
    turn, scale = math.radians(uniform(-2, 2, gen)), uniform(0.96, 1.04, gen)
    matrix, centre = torch.eye(3, dtype=torch.float64), (CROP - 1) / 2
    matrix[:2, :2] = scale * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = torch.tensor([centre, centre], dtype=torch.float64)
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle
    matrix[:2, 2] += torch.tensor([uniform(-6, 6, gen), uniform(-6, 6, gen)])
    return matrix


def crops(sets: list[list[tuple[Tensor, Tensor]]], gen: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Two crops (CROP, CROP) of a pair, the second one moved, and the matrix from the first to the second."""

    def drawn(count: int) -> int:
        return int(torch.randint(count, (), generator=gen))

    pairs = sets[drawn(len(sets))]
    a, b = pairs[drawn(len(pairs))]
    if drawn(2):
        a, b = b, a
    factor = uniform(max(0.25, (CROP + 16) / min(a.shape)), 1.0, gen)
    size = [max(CROP + 16, round(v * factor)) for v in a.shape]
    a, b = (nn.functional.interpolate(x[None, None], size, mode="bilinear", antialias=True)[0, 0] for x in (a, b))
    top, left = drawn(size[0] - CROP), drawn(size[1] - CROP)
    motion = motion_of_crop(gen)
    place = torch.eye(3, dtype=torch.float64)
    place[0, 2], place[1, 2] = left, top
    # the second crop shows at q what b shows at place(motion^-1 q): the first shows it at motion^-1 q
    where = coordinates(place @ torch.linalg.inv(motion), CROP, CROP)
    grid = (where + 0.5) * torch.tensor([2.0 / size[1], 2.0 / size[0]]) - 1
    planes = grid_sample(b[None, None], grid[None].float(), mode="bicubic", padding_mode="border")[0]
    one, two = a[top : top + CROP, left : left + CROP], planes[0].clamp(0, 1)
    if drawn(2):
        one, two = one.flip(0), two.flip(0)
        flip = torch.tensor([[1.0, 0, 0], [0, -1, CROP - 1], [0, 0, 1]], dtype=torch.float64)
        motion = flip @ motion @ flip
    one, two = (x.clamp(0, 1) ** uniform(0.6, 1.6, gen) for x in (one, two))
    noise = torch.randn(CROP, CROP, generator=gen) * uniform(0, 0.02, gen)
    return one, two + noise, motion


def slices(planes: Tensor, rows: Tensor, cols: Tensor, size: int) -> Tensor:
    """`match._cut` by slices, whose gradient takes a hundredth of the time of that of a view of windows."""
    strips = [planes[:, :, row : row + size] for row in rows.tolist()]
    return torch.stack([torch.stack([s[..., col : col + size] for col in cols.tolist()], 2) for s in strips], 2)


def loss_of(planes_a: Tensor, planes_b: Tensor, motion: Tensor, edges: Tensor) -> tuple[Tensor, int, int]:
    """Cross-entropy over the shifts of the blocks, and how many of how many are found within 1.5 pixels."""
    blocks = Blocks(planes_a, 48, STRIDE, REACH)
    scores = blocks.scores(planes_b[None])[0].flatten(0, 1)  # (K, span, span)
    truth = apply(motion, blocks.centres.double()) - blocks.centres.double()
    span = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    far = (span[None, None, :] - truth[:, 0, None, None]) ** 2 + (span[None, :, None] - truth[:, 1, None, None]) ** 2
    goal = torch.exp(-far / (2 * 0.7**2)).flatten(1).float()
    ends = blocks.block / 2
    own = Blocks(edges, 48, STRIDE, REACH).own
    inside = (truth.abs().amax(1) < REACH - 1) & (own > 0.1 * own.mean())
    inside &= (blocks.centres >= ends - 1).all(1)
    if not bool(inside.any()):
        return planes_a.sum() * 0, 0, 0
    goal = goal[inside] / goal[inside].sum(1, keepdim=True)
    logits = SHARPNESS * scores.flatten(1)[inside]
    loss = -(goal * logits.log_softmax(1)).sum(1)
    best = far.flatten(1)[inside].gather(1, logits.argmax(1, keepdim=True))
    return loss.clamp_max(8).mean(), int((best < 1.5**2).sum()), int(inside.sum())


def train(data: Path, out: Path, minutes: float, seed: int = 0) -> None:
    """Trains by Adam for some minutes of processor time, and writes the weights."""
    listed = training_pairs(data)
    names = "\n".join(str(p.relative_to(data)) for pairs in listed for pair in pairs for p in pair)
    print(f"training files: sha256 {hashlib.sha256(names.encode()).hexdigest()[:16]}", flush=True)
    sets = [loaded(pairs, k) for k, pairs in enumerate(listed)]
    print("pairs:", [len(one) for one in sets], flush=True)
    match._cut = slices
    torch.manual_seed(seed)
    gen, model = torch.Generator().manual_seed(seed), Descriptor()
    print("weights:", sum(p.numel() for p in model.parameters()), flush=True)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    start, step, seen = time.process_time(), 0, [0.0, 0.0, 0.0, 0.0]
    while (share := (time.process_time() - start) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        drawn = [crops(sets, gen) for _ in range(4)]
        edges = torch.stack([field(x) for one in drawn for x in one[:2]])
        planes = model(torch.stack([x for one in drawn for x in one[:2]])[:, None], edges)
        parts = [loss_of(planes[2 * k], planes[2 * k + 1], one[2], edges[2 * k]) for k, one in enumerate(drawn)]
        loss = torch.stack([part[0] for part in parts]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        seen = [seen[0] + float(loss.detach()), seen[1] + 1, *(seen[k + 1] + sum(p[k] for p in parts) for k in (1, 2))]
        if step % 200 == 0:
            print(f"step {step}: loss {seen[0] / seen[1]:.3f}, blocks found {seen[2] / seen[3]:.3f}", flush=True)
            seen = [0.0] * 4
            save_file(model.state_dict(), out)
    save_file(model.state_dict(), out)
    print(f"{step} steps", flush=True)


@contextmanager
def learned(model: Descriptor) -> Iterator[None]:
    """Within it the search uses the network in place of the field."""

    def planes(plane: Tensor, valid: Tensor | None = None) -> Tensor:
        with torch.inference_mode():
            found = model(plane[None, None], field(plane, valid)[None])[0]
        inside = 1.0 if valid is None else -nn.functional.max_pool2d(-valid[None, None], 9, 1, 4)[0, 0]
        return (found * inside).clone()

    def under(fields: Tensor, matrices: Tensor, height: int, width: int, bend: Tensor | None = None) -> Tensor:
        grid = torch.stack([coordinates(m, height, width) for m in matrices])
        grid = (grid + 0.5) * torch.tensor([2.0 / fields.shape[2], 2.0 / fields.shape[1]]) - 1
        return grid_sample(fields[None].expand(len(matrices), -1, -1, -1), grid)

    before = search.field, search.field_under
    search.field, search.field_under = planes, under
    try:
        yield
    finally:
        search.field, search.field_under = before


def methods(model: Descriptor) -> dict[str, base.Method]:
    """The field, the network, and the network where the field is not sure."""

    def network(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
        with learned(model):
            return base.ours(a, b, valid)

    def both(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
        answer = base.ours(a, b, valid)
        return answer if answer.trusted else network(a, b, valid)

    return {"field": base.ours, "network": network, "field, then network": both}


def measure(data: Path, model: Descriptor, count: int) -> None:
    """Shares below 1 and 2 pixels, pairs that become worse, seconds; and pairs of different scenes."""
    tried = methods(model)
    print(
        f"| < 1, < 2 px, worse, seconds | pairs | {' | '.join(tried)} |\n|---|---:{'|---:' * len(tried)}|", flush=True
    )
    for name in (*base.TRUTH[:3], *KNOWN):
        cells, pairs = [], 0
        for method in tried.values():
            if name in KNOWN:
                found = base.known(pairs_of(data, KNOWN[name], HELD)[:: max(1, HELD // count)], method)
            else:
                found = base.landmarks(data / "align" / name, method)
            pairs = len(found)
            shares = ", ".join(f"{100 * sum(f.error < limit for f in found) / pairs:.0f}" for limit in (1, 2))
            worse, seconds = sum(f.error > f.before + 0.5 for f in found), sum(f.seconds for f in found) / pairs
            cells.append(f"{shares} %, {worse}, {seconds:.1f}")
        print(f"| {name} | {pairs} | {' | '.join(cells)} |", flush=True)
    strangers(data, tried["network"])


def strangers(data: Path, method: Callable[[Tensor, Tensor, Tensor | None], Alignment], count: int = 6) -> None:
    """Pairs of different scenes that the network accepts."""
    taken = tried = 0
    for name, folders in KNOWN.items():
        found = pairs_of(data, folders, count)
        for k, (_, one, _) in enumerate(found if "LLVIP" not in name else ()):
            a, b = luma(one, 640), luma(found[(k + 1) % len(found)][2], 640)
            if a.shape == b.shape:
                tried += 1
                taken += method(a, b, None).kind != "none"
    print(f"Different scenes: {taken} of {tried} accepted by the network", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="train, and write the weights here")
    parser.add_argument("--weights", type=Path, help="measure these weights")
    parser.add_argument("--minutes", type=float, default=30, help="processor time of the training")
    parser.add_argument("--count", type=int, default=10, help="pairs of each set of known motions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.out is not None:
        train(args.data, args.out, args.minutes)
    if args.weights is not None:
        model = Descriptor()
        model.load_state_dict(load_file(args.weights))
        measure(args.data, model.eval(), args.count)


if __name__ == "__main__":
    main()
