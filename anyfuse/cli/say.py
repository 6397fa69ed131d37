"""`anyfuse say`: how an instruction is understood."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..control import DEFAULT_STRENGTH, STRENGTH_WORDS, Control
from ..language.instruction import parse_instruction


def say(
    words: Annotated[
        list[str], typer.Argument(help="The instruction, in plain English or in tags (docs/language.md).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how an instruction is understood, and its tags."""
    control = parse_instruction(" ".join(words))
    print(json.dumps(control.as_dict(), indent=1) if as_json else describe(control))


def describe(control: Control) -> str:
    """A line for each part of the request, the tags last."""
    lines = [f"fuse: {control.task}"] if control.task else []
    for name, where in control.degradations.items():
        for source, strength in where.items():
            place = "" if source == "all" else f" in the {source} image"
            lines.append(f"repair: {name}{place}, {_level(strength)} ({strength:g})")
    lines += [f"tone: {tone}" for tone in control.tone]
    lines += [f"highlight: {name}" + (f" in {colour}" if colour else "") for name, colour in control.segment.items()]
    lines += [f"keep: {thing}" for thing in control.keep]
    return "\n".join([*(lines or ["no request beyond fusion"]), f"tags: {control}"])


def _level(strength: float) -> str:
    names = {DEFAULT_STRENGTH: "usual", **{value: name for name, value in STRENGTH_WORDS.items()}}
    return names.get(strength, "as given")
