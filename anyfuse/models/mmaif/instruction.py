"""What a model is asked to repair, as numbers: for each of two sources the strength of every degradation.

The paper of MMAIF gives the network the vector of a sentence. A vector of ours tells two sentences of three apart at
best (docs/language.md), and what was understood is a Control anyway, so its numbers go in: nothing is lost between the
reader and the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...control import DEGRADATIONS, Control
from ...degradation.plan import MEANT

WIDTH = 1 + 2 * len(DEGRADATIONS)
"""The first number is 1 wherever the wish is known, also that there is nothing to repair; all are 0 where it is not."""


def wish_vector(control: Control, order: Sequence[int]) -> Tensor:
    """(31,): the repairs that a Control asks of two sources, none where it asks for none. order: place in the user's
    list of the model's first and second source.

    'infrared' is the model's first source and 'visible' its second, as image.stack.order_of_roles gives them.
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
