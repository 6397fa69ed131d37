"""What is made of a sentence that the grammar (grammar.py) and the network (network.py) have both read.

Where both agree, it is that, unless it asks for an answer and orders nothing. Where they differ, the network counts if
it is very sure. What the grammar cannot read counts as the network reads it, if that is sure enough; else the answer is
an error, with a question back where the network has a guess. What the network holds for out of scope beyond doubt is
refused. A text that is too long for the network is read by the grammar alone. The probabilities below were chosen on
sentences that the network had not learned from.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..control import STRENGTH_WORDS, Control
from ..errors import FusionError
from .lexicon import noun_of
from .network import Reading, reading_network
from .segments import NotUnderstoodError, RegionError, cannot

IN_SCOPE = 0.96
"""Probability of being in scope from which the network's reading counts where the grammar has none."""
TAKEN = 0.7
"""Probability of the reading itself from which it counts there."""
OVERRULED = 0.9
"""Probability from which it counts against the grammar's reading."""
OVERRULED_KNOWN = 0.975
"""The same where the lexicon has every word of the sentence; colours and strengths are then the grammar's alone."""
REASONED = 0.95
"""Probability from which it counts where the grammar takes a part of the image to be meant."""
NOTHING = 0.995
"""Probability from which it counts that nothing is asked for."""
REFUSED = 0.99
"""Probability of being out of scope from which the grammar's reading is refused."""
ORDER = re.compile(
    r"\b(?:first\w*|second\w*|1st|2nd|\w*[12]|ii?|one|two|left\w*|right\w*|former|latter|earlier|later|initial|"
    r"opening|closing|leading|primary|last|top|bottom|"
    r"(?:image|picture|input|photo|frame|shot|file|pic|view|source) (?:b|a(?= *(?:$|[.,;:]|is|has|was|and))))\b",
    re.IGNORECASE,
)
"""Words of which one is there where an image is named by its place in the order."""
ASKED = 0.3
"""Probability from which a reading is worth a question back."""
QUESTION = re.compile(
    r"\W*(?:(?:so|and|but|well|hi|hey|hello|now|ok|okay|excuse me)\b\W*)*"
    r"(?:is|are|was|were|does|do|did|has|have|how|what|what's|why|where|when|which|who|should|tell me|explain|measure|"
    r"count|rate|check|(?:would|will) (?:it|that|this|\w+ing)|(?:can|could|would) you (?:see|tell|say|explain))\b",
    re.IGNORECASE,
)
"""How sentences begin that ask for an answer. The network says whether they are orders."""


TASKS_IN_WORDS = {
    "ivf": "infrared and the visible image",
    "mef": "exposures",
    "mff": "focus stack",
    "mif": "medical images",
}


def judged(text: str, grammar: Control | FusionError, known: bool = False) -> Control:
    """The meaning of a sentence.

    Args:
        text: the sentence.
        grammar: its reading by the grammar, or its error.
        known: whether the lexicon has every word of it.

    Raises:
        FusionError: the grammar's error, with a question back where there is a guess; or the sentence is out of scope.
    """
    network = reading_network()
    if not network.fits(text):
        if isinstance(grammar, FusionError):
            raise grammar
        return grammar
    reading = network.read([text])[0]
    found, sure = reading.control, reading.scope * reading.sure
    if _names_an_order(found) and not ORDER.search(text):
        sure = 0.0
    least = NOTHING if found.empty else 0.0
    if isinstance(grammar, FusionError):
        open_to = isinstance(grammar, NotUnderstoodError | RegionError)  # else it is a contradiction
        least = max(least, REASONED if isinstance(grammar, RegionError) else TAKEN)
        if open_to and reading.scope >= IN_SCOPE and sure >= least:
            return found
        raise asked_back(grammar, reading)
    if reading.scope < 0.5 and QUESTION.match(text):
        raise cannot(" ".join(text.lower().split()))
    if replace(grammar, keep=()) == found or any(len(where) > 1 for where in grammar.degradations.values()):
        return grammar  # a fault of two images with a strength each is more than the network can say
    least = max(least, OVERRULED)
    if found.empty and (grammar.tone or grammar.segment):
        return grammar  # what is over, or not wanted, are faults
    if known:
        least = 2.0 if _in_outline(grammar) == _in_outline(found) else max(least, OVERRULED_KNOWN)
    if sure >= least:
        return replace(found, keep=tuple(k for k in grammar.keep if k.split()[0] not in found.degradations))
    if 1 - reading.scope >= REFUSED:
        raise cannot(" ".join(text.lower().split()))
    return grammar


def _in_outline(control: Control) -> Control:
    """A request without strengths, what is to be kept, and the colours of what is to be marked."""
    faults = {name: dict.fromkeys(where, 1.0) for name, where in control.degradations.items()}
    return replace(control, degradations=faults, keep=(), segment=dict.fromkeys(control.segment))


def _names_an_order(control: Control) -> bool:
    return any(source in ("first", "second") for where in control.degradations.values() for source in where)


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
        noun = noun_of(name)
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
