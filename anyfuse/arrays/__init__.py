"""The library that computes with images: PyTorch, or NumPy where a process fuses without PyTorch.

Every module that a fusion needs takes `torch`, `F`, `nn` and `Tensor` from here. They are PyTorch's own where PyTorch
is installed. Without it they are stand-ins on NumPy arrays (`tensor.py`, `functions.py`, `functional.py`): they have
the functions that reading, colour, tiles and the default model need, under PyTorch's names. Every other function of
PyTorch is there by name, and says in one line that it needs PyTorch (`absent.py`).

`engine_choice.py` says which of the two it is. That is settled once, when this package is first imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine_choice import settle

WITH_TORCH = settle()
"""Whether arrays are PyTorch's tensors in this process."""

if TYPE_CHECKING or WITH_TORCH:
    import torch
    import torch.nn.functional as F
    from torch import Generator, Tensor, nn
else:
    from . import functional as F
    from . import functions as torch
    from . import layers as nn
    from .functions import Generator
    from .tensor import Tensor

__all__ = ["WITH_TORCH", "F", "Generator", "Tensor", "nn", "torch"]
