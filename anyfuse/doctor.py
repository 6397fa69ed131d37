"""What this installation is, and what it uses: `anyfuse doctor`."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import Any

from . import native
from .arrays import WITH_TORCH, torch
from .engine_choice import ONNX_COMMAND, TORCH_COMMAND, VARIABLE, is_installed, resolve
from .errors import FusionError
from .plugins import GROUPS
from .version import __version__
from .weights import cache_folder, package_folder


def examine() -> dict[str, Any]:
    """Facts by name, plain values: versions, processor, kernels, GPU, folders, extras."""
    return {
        "anyfuse": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads" if WITH_TORCH else _no_torch(),
        "onnxruntime": _installed("onnxruntime") or f"not installed: {ONNX_COMMAND}",
        "engine": _engine(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernels": _kernels(),
        "gpu": _gpu(),
        "weights": str(package_folder("anyfuse").parent),
        "cache": f"{cache_folder()}{'' if cache_folder().is_dir() else ' (not there yet)'}",
        "allocator": "as the system has it" if os.environ.get("ANYFUSE_KEEP_MEMORY") == "0" else "keeps freed memory",
        "plugins": _plugins(),
        "extras": _extras(),
    }


def as_text(facts: dict[str, Any]) -> str:
    """One fact a line."""
    lines = {**facts, "extras": ", ".join(f"{name} {word}" for name, word in facts["extras"].items())}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def _engine() -> str:
    """What a fusion without --engine uses, or why there is none."""
    try:
        name = resolve("auto", WITH_TORCH)
    except FusionError as error:
        return f"none: {error}"
    return f"{name}{'' if WITH_TORCH else ', for the default model'}"


def _no_torch() -> str:
    if is_installed("torch"):
        return f"left out of this process by {VARIABLE}={os.environ.get(VARIABLE)}"
    return f"not installed: {TORCH_COMMAND}"


def _installed(package: str) -> str:
    """Its version; '' where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    return torch.backends.cpu.get_cpu_capability() if WITH_TORCH else platform.machine()


def _kernels() -> str:
    found = native.kernels()
    if found is None:
        return f"not used: {native.why_not()}"
    kind = {1: "any processor", 3: "AVX2", 4: "AVX-512"}[found.level]
    return f"used, for {kind}, {'with' if found.threaded else 'without'} OpenMP"


def _gpu() -> str:
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
    return "none that torch can use" if WITH_TORCH else "none: --engine onnx computes on the CPU"


def _plugins() -> str:
    """What other packages add, and why a part of them is not in use."""
    points = [point for group in GROUPS for point in entry_points(group=group)]
    if not points:
        return "none"
    packages = [p.dist.name if p.dist is not None else p.value for p in points]
    kinds = [p.group.removeprefix("anyfuse.") for p in points]
    return ", ".join(f"{k}: {p.name} ({name})" for k, p, name in zip(kinds, points, packages, strict=True))


def _extras() -> dict[str, str]:
    """Extra -> 'yes', or which packages it lacks."""
    try:
        wanted = requires("anyfuse") or []
    except PackageNotFoundError:
        return {"extras": "unknown, since anyfuse is not installed"}
    needs: dict[str, list[str]] = {}
    for line in wanted:
        name, _, rule = line.partition(";")
        _, quoted, extra = rule.partition("extra ==")
        if quoted and not name.strip().startswith("anyfuse[") and extra.strip().strip("\"'") not in ("dev", "docs"):
            needs.setdefault(extra.strip().strip("\"'"), []).append(_bare(name))
    return {name: _lacking(packages) for name, packages in needs.items()}


def _bare(requirement: str) -> str:
    """'rawpy>=0.24' -> 'rawpy'"""
    for mark in "<>=!~[ (":
        requirement = requirement.partition(mark)[0]
    return requirement.strip()


def _lacking(packages: list[str]) -> str:
    missing = []
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                missing.append(package)
    return f"(lacks {', '.join(missing)})" if missing else "yes"
