"""What a recipe is: every choice of a training run as a value. The recipes themselves are in recipes.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ..data.batches import DataSet
from ..errors import FusionError

REAL_AND_NATURAL = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("mif", ("mif/ct-mri/ct", "mif/ct-mri/mri")),
    DataSet("mif", ("mif/pet-mri/pet", "mif/pet-mri/mri")),
    DataSet("mif", ("mif/spect-mri/spect", "mif/spect-mri/mri")),
    DataSet("natural", ("natural",)),
)


@dataclass(frozen=True)
class StrategySettings:
    """What a strategy lets a recipe choose; each strategy that has settings defines a subclass beside itself.

    Fields are numbers, booleans or texts with a default. `--set options.NAME=VALUE` changes one.
    """


Kind = TypeVar("Kind", bound=StrategySettings)


@dataclass(frozen=True)
class Recipe:
    """A training run in full; `anyfuse train NAME --set FIELD=VALUE` changes a field."""

    model: str  # name in models.registry.MODELS
    tasks: dict[str, int]  # task -> crops per step
    losses: dict[str, dict[str, float]]  # task -> loss name -> weight
    steps: int = 1800  # updates of the weights, 1 or more
    crop: int = 128  # pixels
    stacks: int = 4  # every so many steps a batch holds 3 to 5 inputs instead of two; 0: never
    one_task: bool = False  # each step sees one task, drawn evenly, instead of all
    lr: float = 1.5e-3  # after the warm-up
    warmup: int = 200  # steps with a rising rate
    weight_decay: float = 1e-2  # of matrices and kernels with adamw, of all weights with adam; 0 or more
    clip: float = 1.0  # largest norm of the gradients; 0: any
    ema: float = 0.998  # decay of averaged weights
    seed: int = 0  # of weights, batches and orders
    strategy: str = "plain"  # name in strategies.table.STRATEGIES
    options: StrategySettings | None = None  # settings of the strategy; None: its defaults
    schedule: Literal["cosine", "constant"] = "cosine"  # cosine to lr/50, or constant
    optimiser: Literal["adamw", "adam"] = "adamw"  # betas 0.9 and 0.98, or PyTorch's
    config: dict[str, Any] = field(default_factory=dict)  # changes of the model's configuration
    start: str = ""  # folder of a trained model of the same architecture to start from; empty: fresh weights
    autocast: bool = False  # steps run in bfloat16; weights and optimiser stay float32
    shard: bool = False  # several processes: each keeps a part of the weights (FSDP2); strategies of DiTFuse
    sets: tuple[DataSet, ...] = field(default=REAL_AND_NATURAL)  # where the crops come from
    varied: bool = False  # data as other cameras would give them, with statistics of whole images
    lens: bool = False  # of varied data: focus stacks with the large blur and the even light of real ones

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise FusionError(f"lr {self.lr:g}: give more than 0")
        if not 0 <= self.ema < 1:
            raise FusionError(f"ema {self.ema:g}: give 0 or more, less than 1")
        if min(self.weight_decay, self.clip, self.warmup, self.stacks) < 0:
            raise FusionError("weight_decay, clip, warmup and stacks: give 0 or more")

    def settings(self, kind: type[Kind]) -> Kind:
        """The settings of the strategy.

        Args:
            kind: the class that the strategy, or its pool, takes.

        Returns:
            `options`, or the defaults of `kind` where it is None.

        Raises:
            FusionError: `options` are those of another strategy.
        """
        if self.options is None:
            return kind()
        if not isinstance(self.options, kind):
            raise FusionError(
                f"strategy '{self.strategy}' takes {kind.__name__} as options, not {type(self.options).__name__}"
            )
        return self.options
