"""How well instructions are read: python experiments/language.py [--count 300] [--encoders built-in,minilm]

First table: share of texts whose whole Control is exact, and share refused, per kind of request, on phrasings that
nothing was trained on.

    templates   sentences from held-out templates, words of the lexicon: what a user of the package meets
    typos       the same with one slip of the fingers, in texts of six words and more
    one word    known templates, one word of the text a held-out synonym; the reader has the known part of the lexicon
                only
    all words   every word that has held-out synonyms is one of them; the same reader

Row 'other': out of scope, held-out templates and sentences; there 'exact' is 'refused'. Second table: instructions
written by hand. Third: the vectors of text encoders, by a linear map to the labels (language/encoder.py), trained on
known prompts; exact: all labels right.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from anyfuse.control import Control
from anyfuse.data.prompts import KINDS, Prompt, draw, typo
from anyfuse.data.sentences import meanings, rows
from anyfuse.errors import FusionError
from anyfuse.language.encoder import labels_of, load_encoder
from anyfuse.language.instruction import parse_instruction

SETS = {
    "templates": ("held_out", "known", False, "all"),
    "typos": ("held_out", "known", True, "all"),
    "one word": ("known", "one", False, "known"),
    "all words": ("known", "held_out", False, "known"),
}
"""Name -> part of the templates, part of the synonyms, with a typo, part of the lexicon that the reader has."""
HAND = Path(__file__).resolve().parents[1] / "tests" / "data"


def understood(text: str, *, learned: bool, words: str) -> Control | None:
    try:
        return parse_instruction(text, learned=learned, words=words)
    except FusionError:
        return None


def drawn(name: str, kind: str, count: int) -> list[Prompt]:
    """`count` prompts of a set and kind, always the same ones."""
    templates, synonyms, slips, _ = SETS[name]
    rng = random.Random(f"{name} {kind}")
    if kind == "other":
        synonyms = "held_out" if name == "templates" else synonyms
    found: list[Prompt] = []
    while len(found) < count:
        prompt = draw(rng, kind, templates, synonyms)
        if slips and len(prompt.text.split()) < 6:
            continue
        found.append(Prompt(typo(prompt.text, rng), prompt.control, prompt.kind) if slips else prompt)
    return found


def table_of_kinds(count: int) -> None:
    for learned in (True, False):
        print(
            f"\n{'built-in reader' if learned else 'the same without the network'}: exact / refused in %, {count} "
            "texts a cell\n"
        )
        print("| kind | " + " | ".join(SETS) + " |\n| --- |" + " ---: |" * len(SETS))
        sums = {name: [0.0, 0.0] for name in SETS}
        for kind in (*KINDS, "other"):
            cells = []
            for name, (_, _, _, words) in SETS.items():
                prompts = drawn(name, kind, count)
                got = [understood(p.text, learned=learned, words=words) for p in prompts]
                exact = sum(g == p.control for g, p in zip(got, prompts, strict=True)) / count
                refused = sum(g is None for g in got) / count
                cells.append(f"{100 * exact:.1f} / {100 * refused:.1f}")
                if kind != "other":
                    sums[name][0] += exact / len(KINDS)
                    sums[name][1] += refused / len(KINDS)
            print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)
        print("| mean but other | " + " | ".join(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in sums.values()) + " |")


def table_of_hand() -> None:
    print("\nwritten by hand: exact of all\n\n| file | with the network | without |\n| --- | ---: | ---: |")
    for path in sorted(HAND.glob("instructions*.json")):
        rows = [(say, None if want is None else parse_instruction(want)) for say, want in json.loads(path.read_text())]
        cells = [
            f"{sum(understood(say, learned=learned, words='all') == want for say, want in rows)} of {len(rows)}"
            for learned in (True, False)
        ]
        print(f"| {path.name} | {' | '.join(cells)} |")


TYPED = Path(__file__).resolve().parents[1] / "tests" / "language"
SETS_APART = {
    "first, development": ("outside.tsv", slice(0, None, 2)),
    "first, held out": ("outside.tsv", slice(1, None, 2)),
    "second, held out": ("second-held-out.tsv", slice(None)),
    "third, held out": ("third-held-out.tsv", slice(None)),
    "turns, held out": ("turns-held-out.tsv", slice(None)),
}
"""Name -> file of tests/language and its rows."""


def typed(path: Path) -> list[tuple[str, str, list[Control | None]]]:
    """Sentences written without sight of the grammar: kind, text, and the readings that are right."""
    return [(kind, text, meanings(want)) for kind, text, want in rows(path.read_text(), 3)]


def compared(control: Control | None, second: bool) -> Control | None:
    """What is compared; but of the first set requests to keep are not."""
    return replace(control, keep=()) if second and control is not None else control


def table_of_typed(wrong_ones: bool, files: list[Path]) -> None:
    print("\nsentences written without sight of the grammar: right / refused / misread in silence, of all\n")
    print("| set | in scope | out of scope, refused |\n| --- | ---: | ---: |")
    sets = {name: (TYPED / file, part) for name, (file, part) in SETS_APART.items()}
    if files:
        sets = {path.stem: (path, slice(None)) for path in files}
    for name, (path, part) in sets.items():
        if not path.exists():
            continue
        counts = {"in": [0, 0, 0], "out": [0, 0, 0]}
        second = path.name != "outside.tsv"
        for _, text, wanted in typed(path)[part]:
            got = understood(text, learned=True, words="all")
            right = any(compared(got, second) == compared(want, second) for want in wanted)
            counts["out" if wanted == [None] else "in"][0 if right else 1 if got is None else 2] += 1
            if wrong_ones and not right:
                print(f"- {text}: {got}")
        inside, out = counts["in"], counts["out"]
        print(f"| {name} | {' / '.join(map(str, inside))} of {sum(inside)} | {out[0]} of {sum(out)} |")


def table_of_vectors(encoders: list[str], count: int) -> None:
    print(
        "\nvectors, linear map to labels: exact in %\n\n| encoder | D | ms a text | known | templates | typos | all "
        "words |\n" + "| --- |" + " ---: |" * 6
    )
    for name in encoders:
        try:
            encoder = load_encoder(name)
        except FusionError as error:
            print(f"| {name} | not here: {error} |")
            continue
        rng = random.Random(0)
        kinds = (*KINDS, "other")
        training = [draw(rng, kinds[k % len(kinds)]) for k in range(20 * count)]
        start = time.perf_counter()
        x = torch.cat([encoder.encode([p.text for p in training[k : k + 64]]) for k in range(0, len(training), 64)])
        seconds = (time.perf_counter() - start) / len(training)
        y = torch.tensor([labels_of(p.control) for p in training])
        mean, std = x.mean(0), x.std(0).clamp_min(1e-4)
        probe = torch.nn.Linear(x.shape[1], y.shape[1])
        optimiser = torch.optim.AdamW(probe.parameters(), lr=0.02, weight_decay=1e-4)
        generator = torch.Generator().manual_seed(0)
        for step in range(1500):
            for group in optimiser.param_groups:
                group["lr"] = 0.02 * (1 - step / 1500)
            rows = torch.randint(0, len(x), (256,), generator=generator)
            loss = F.binary_cross_entropy_with_logits(probe((x[rows] - mean) / std), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        fresh = [draw(random.Random(f"known {k}"), kinds[k % len(kinds)]) for k in range(2 * count)]
        sets = [
            fresh,
            *([p for kind in kinds for p in drawn(s, kind, count // 4)] for s in ("templates", "typos", "all words")),
        ]
        cells = []
        for prompts in sets:
            with torch.no_grad():
                found = probe((encoder.encode([p.text for p in prompts]) - mean) / std) > 0
            goals = torch.tensor([labels_of(p.control) for p in prompts]) > 0.5
            cells.append(f"{100 * float((found == goals).all(1).float().mean()):.1f}")
        print(f"| {name} | {x.shape[1]} | {1000 * seconds:.2f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--encoders", default="built-in,minilm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--outside",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="only sentences written apart: of these files (kind, text, meaning), or those of tests/language",
    )
    parser.add_argument("--wrong", action="store_true", help="print which of them are read wrongly")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table_of_typed(options.wrong, options.outside or [])
    if options.outside is not None:
        return
    table_of_kinds(options.count)
    table_of_hand()
    table_of_vectors(options.encoders.split(","), options.count)


if __name__ == "__main__":
    main()
