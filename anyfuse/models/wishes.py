"""What a model is asked to repair, as numbers: for each of two sources the strength of every degradation.

The paper of MMAIF gives the network the vector of a sentence. A vector of ours tells two sentences of three apart at best (docs/language.md), and what
was understood is a Control anyway, so its numbers go in: nothing is lost between the reader and the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..control import Control
from ..data.degrade import Plan
from ..language.lexicon import DEGRADATIONS

WIDTH = 1 + 2 * len(DEGRADATIONS)
"""The first number is 1 wherever the wish is known, also that there is nothing to repair; all are 0 where it is not."""
SAID = {"gaussian_blur": "blur", "gaussian_noise": "noise", "dark_stripes": "stripes", "bright_stripes": "stripes"}
"""Operations of data/degrade.py that go by another name in words."""
MEANT = {"noise": ("noise", "sensor_noise")}
"""Repairs that go under the first one's number: the menus of training have no sensor noise."""
LEVELS = (0.25, 0.5, 1.0)


def wish_vector(control: Control, order: Sequence[int]) -> Tensor:
    """(31,): the repairs that a Control asks of two sources, none where it asks for none. order: place in the user's list of the model's first and second source.

    'infrared' is the model's first source and 'visible' its second, as stack.order_of_roles gives them.
    """
    vector = torch.zeros(WIDTH)
    vector[0] = 1
    for place, (role, given) in enumerate(zip(("infrared", "visible"), order, strict=True)):
        for k, name in enumerate(DEGRADATIONS):
            if name == "sensor_noise":
                continue
            wheres = [control.degradations.get(n, {}) for n in MEANT.get(name, (name,))]
            named = ("all", role, ("first", "second")[given])
            vector[1 + place * len(DEGRADATIONS) + k] = max(where.get(n, 0.0) for where in wheres for n in named)
    return vector


def plan_vectors(plans: Sequence[tuple[Plan, ...]]) -> Tensor:
    """(B, 31): what was done to the sources of B pairs, as a user would say it.

    A strength is, in a third of the pairs each, what it was; the nearest of 0.25, 0.5 and 1, as in words; 0.5, as of a user who names none. Of some pairs
    the sources are not told apart. Draws from torch's global generator.
    """
    out = torch.zeros(len(plans), WIDTH)
    for row, pair in zip(out, plans, strict=True):
        way, both = int(torch.randint(3, ())), bool(torch.rand(()) < 0.3)
        for place, plan in enumerate(pair):
            for step in plan:
                k = DEGRADATIONS.index(SAID.get(step.op, step.op))
                level = (step.strength, min(LEVELS, key=lambda v: abs(v - step.strength)), 0.5)[way]
                for at in (0, 1) if both else (place,):
                    row[1 + at * len(DEGRADATIONS) + k] = max(level, float(row[1 + at * len(DEGRADATIONS) + k]))
        row[0] = 1
    return out
