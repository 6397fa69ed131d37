"""Which model does what an instruction asks for."""

from __future__ import annotations

from dataclasses import replace

from ..control import Control

DEFAULT = "anyfuse"
RESTORES = "mmaif"
CONTROLS = "ditfuse"


def restoration(control: Control) -> Control:
    """What a restoring model is asked for: the repairs, the task, and what to preserve."""
    return replace(control, tone=(), segment={})


def appearance(control: Control) -> Control:
    """What comes after restoration: light, contrast, and classes to highlight."""
    return Control(tone=control.tone, segment=control.segment, text=control.text)


def asks_for_both(control: Control) -> bool:
    """Whether one model cannot do it: repairs, and light, contrast or classes."""
    return bool(control.degradations) and bool(control.tone or control.segment)


def model_for(control: Control) -> str:
    """The model of an instruction where the user names none; of one that asks for both, the first of the two."""
    if control.degradations:
        return RESTORES
    return CONTROLS if control.tone or control.segment else DEFAULT
