"""Which engine a process uses, and whether PyTorch is loaded for it. Nothing large is imported here.

torch   the network and all arrays are PyTorch's
onnx    ONNX Runtime computes the network of the default model. Arrays are NumPy's where PyTorch is not installed,
        or where this is the engine of the whole process: `anyfuse fuse --engine onnx`, or ANYFUSE_ENGINE=onnx
auto    torch where PyTorch is installed, else onnx
"""

from __future__ import annotations

import importlib.util
import os
import sys

from .errors import FusionError

ENGINES = ("auto", "torch", "onnx")
VARIABLE = "ANYFUSE_ENGINE"
TORCH_COMMAND = 'pip install "anyfuse[torch]"'
ONNX_COMMAND = "pip install onnxruntime"


def is_installed(package: str) -> bool:
    """Whether a package can be imported; nothing is imported to find that out."""
    try:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None  # a folder of that name is no package
    except ValueError:  # it is half imported
        return package in sys.modules


def check_engine(name: str) -> str:
    """The name of an engine; FusionError for another one."""
    if name not in ENGINES:
        raise FusionError(f"--engine {name}: give {', '.join(ENGINES)}")
    return name


def use_for_process(name: str) -> None:
    """Makes an engine that of this process; for the command line, before anything computes.

    Raises:
        FusionError: there is no such engine, or its package is not installed.
    """
    if check_engine(name) != "auto":
        check_package(name)
        if f"{__package__}.arrays" not in sys.modules:  # else it is settled, and later calls choose for themselves
            os.environ[VARIABLE] = name  # child processes use it too


def check_package(name: str) -> None:
    """Raises FusionError where the package behind 'torch' or 'onnx' is not installed."""
    if name == "torch" and not is_installed("torch"):
        raise FusionError(f"--engine torch needs PyTorch: {TORCH_COMMAND}")
    if name == "onnx" and not is_installed("onnxruntime"):
        raise FusionError(f"--engine onnx needs ONNX Runtime: {ONNX_COMMAND}")


def settle() -> bool:
    """Whether this process computes with PyTorch."""
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in ENGINES:
        raise FusionError(f"{VARIABLE}={wanted}: give {', '.join(ENGINES)}")
    return is_installed("torch") and (wanted != "onnx" or "torch" in sys.modules)


def resolve(name: str, with_torch: bool) -> str:
    """'torch' or 'onnx': what an engine's name means where arrays are or are not PyTorch's.

    Raises:
        FusionError: there is no such engine, or it cannot be used in this process.
    """
    if check_engine(name) == "auto":
        name = os.environ.get(VARIABLE) or "auto"
    if name == "auto":
        name = "torch" if with_torch else "onnx"
    if name == "onnx" and not is_installed("onnxruntime"):
        remedy = ONNX_COMMAND if with_torch else f"{ONNX_COMMAND}, or {TORCH_COMMAND}"
        raise FusionError(f"--engine onnx needs ONNX Runtime: {remedy}")
    if name == "torch" and not with_torch:
        check_package("torch")
        raise FusionError(f"--engine torch: {VARIABLE}=onnx keeps PyTorch out of this process; unset it")
    return name


def lacks_torch(what: str) -> FusionError:
    """The error for what only PyTorch can do."""
    if is_installed("torch"):
        return FusionError(f"{what} needs PyTorch: use --engine torch")
    return FusionError(f"{what} needs PyTorch: {TORCH_COMMAND}")
