"""What is made of a sentence that the grammar (grammar.py) and the network (network.py) have both read.

Where both agree, it is that. Where they differ, the network counts if it is very sure. What the grammar cannot read
counts as the network reads it, if that is sure enough; else the answer is an error, with a question back where the
network has a guess. A text that is too long for the network is read by the grammar alone.
"""

from __future__ import annotations

from dataclasses import replace

from ..control import STRENGTH_WORDS, Control
from ..errors import FusionError
from .lexicon import DEGRADATION_WORDS
from .network import Reading, reading_network
from .segments import NotUnderstoodError

TAKEN = 0.5
"""Probability from which the network's reading counts where the grammar has none."""
OVERRULED = 0.9
"""Probability from which it counts against the grammar's reading."""
REFUSED = 0.97
"""Probability of being out of scope from which the grammar's reading is refused."""
ASKED = 0.1
"""Probability from which a reading is worth a question back."""


def judged(text: str, grammar: Control | FusionError) -> Control:
    """The meaning of a sentence; `grammar`: its reading by the grammar, or its error.

    Raises:
        FusionError: the grammar's error, with a question back where there is a guess.
    """
    network = reading_network()
    if not network.fits(text):
        if isinstance(grammar, FusionError):
            raise grammar
        return grammar
    reading = network.read([text])[0]
    sure = reading.scope * reading.sure
    if isinstance(grammar, FusionError):
        if sure >= (TAKEN if isinstance(grammar, NotUnderstoodError) else OVERRULED):
            return reading.control
        raise asked_back(grammar, reading)
    if replace(grammar, keep=()) == reading.control or sure < OVERRULED:
        return grammar
    return reading.control


def asked_back(error: FusionError, reading: Reading) -> FusionError:
    """The error, with a question about what is likeliest meant in front of what can be asked for."""
    if reading.control.empty or reading.scope < 0.5 or reading.scope * reading.sure < ASKED:
        return error
    head, _, rest = str(error).partition(": ask for")
    asked = f"did you mean '{in_words(reading.control)}'?"
    return type(error)(f"{head}; {asked} Ask for{rest}" if rest else f"{head}; {asked}")


def in_words(control: Control) -> str:
    """A Control in plain English that is read as the same."""
    degrees = {value: f" {name}" for name, value in STRENGTH_WORDS.items()}
    parts = []
    for name, where in control.degradations.items():
        noun = DEGRADATION_WORDS[name][0].split(" | ")[0]
        for source, strength in where.items():
            place = "" if source == "all" else f" in the {source} image"
            parts.append(f"remove the{degrees.get(strength, '')} {noun}{place}")
    for tone in control.tone:
        much = "much " if tone.endswith(("++", "--")) else ""
        if tone.startswith("LIGHT"):
            parts.append(f"make it {much}{'brighter' if '+' in tone else 'darker'}")
        else:
            parts.append("more contrast" if "+" in tone else "less contrast")
    parts += [f"highlight the {name}" + (f" in {colour}" if colour else "") for name, colour in control.segment.items()]
    if control.task:
        parts.append(f"fuse the {TASKS_IN_WORDS[control.task]}")
    return ", ".join(parts)


TASKS_IN_WORDS = {
    "ivf": "infrared and the visible image",
    "mef": "exposures",
    "mff": "focus stack",
    "mif": "medical images",
}
