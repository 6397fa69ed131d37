"""An instruction to restore, as numbers: for each of two sources the strength of every degradation.

The paper gives its network the vector of a sentence. Our sentence vectors tell at most two sentences of three apart
(docs/language.md). What was understood is a Control anyway, so its numbers go in, and nothing is lost on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...arrays import Tensor, torch
from ...control import DEGRADATIONS, Control
from ...degradation.plan import COVERED_BY

WIDTH = 1 + 2 * len(DEGRADATIONS)
"""Numbers of an instruction. The first one is 1 for every known instruction, also to restore nothing; all are 0 where
there is no instruction.
"""


def instruction_vector(control: Control, order: Sequence[int]) -> Tensor:
    """(31,): the restoration that a Control asks of two sources.

    order: place in the user's list of the model's first and second source. 'infrared' is the model's first source and
    'visible' its second, as image.roles.find_roles gives them.
    """
    vector = torch.zeros(WIDTH)
    vector[0] = 1
    for place, (role, given) in enumerate(zip(("infrared", "visible"), order, strict=True)):
        for k, name in enumerate(DEGRADATIONS):
            if name == "sensor_noise":
                continue
            by_source = [control.degradations.get(n, {}) for n in COVERED_BY.get(name, (name,))]
            named = ("all", role, ("first", "second")[given])
            strength = max(each.get(n, 0.0) for each in by_source for n in named)
            vector[1 + place * len(DEGRADATIONS) + k] = strength
    return vector
