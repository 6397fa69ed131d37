"""Reads the tags of DiTFuse's prompts back, for tests of what prompts say."""

from __future__ import annotations

from anyfuse.control import CLASSES, SUBTASKS, TONES, Control


def control_of(text: str) -> Control:
    """The Control that the tags of a prompt mean."""
    words = text.split(" . ", maxsplit=1)[0].split()
    task = next((SUBTASKS[w[1:-1]] for w in words if w[1:-1] in SUBTASKS), None)
    tone = tuple(w[1:-1] for w in words if w[1:-1] in TONES)
    return Control(task, tone=tone, segment={w: None for w in words if w in CLASSES})
