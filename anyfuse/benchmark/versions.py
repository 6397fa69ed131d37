"""Which definition of a metric, and which code of a model, a table was made with: a hash of the code that defines it,
without docstrings and comments.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec, resolve_name

from ..metrics import METRICS
from ..version import __version__

PACKAGE = "anyfuse.metrics"
MODEL_CODE = ("anyfuse.models.", "anyfuse.image.", "anyfuse.degradation.")
"""Packages that the code of a model is followed into: what they hold decides on pixels."""
AROUND = ("anyfuse.pipeline", "anyfuse.tiling", "anyfuse.canvas")
"""Modules that decide on the pixels of every model."""


def metric_versions(names: Iterable[str]) -> dict[str, str]:
    """name -> 8 hex digits over its module, the metrics modules that this one imports, and the grey rules. Of a metric
    of another package, over all modules of that package that it imports.
    """
    out = {}
    for name in names:
        modules = modules_of(METRICS[name].function.__module__) | {f"{PACKAGE}.grey"}
        digest = hashlib.sha256()
        for module in sorted(modules):
            digest.update(f"{module}\n{_code(module)}\n".encode())
        out[name] = digest.hexdigest()[:8]
    return out


def modules_of(module: str) -> set[str]:
    """The module and all modules of the metrics package that it imports, directly or not."""
    modules: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        modules.add(name)
        if not name.startswith(f"{PACKAGE}."):
            home = f"{name.partition('.')[0]}."
            waiting += _imported(name, (home, f"{PACKAGE}."))
            continue
        for node in ast.walk(ast.parse(_source(name))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                waiting.append(f"{PACKAGE}.{node.module}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
                waiting.append(str(node.module))
    return modules


def code_of(source: str) -> str:
    """The syntax tree of Python source as text; docstrings, comments and layout leave no trace, nor does Python's
    version.
    """
    return _tree_text(ast.parse(source))


def model_version(model: type) -> str:
    """8 hex digits over anyfuse's version, the module of a model, the modules of MODEL_CODE that it imports, directly
    or not, and those AROUND it. Of a class without source, as one typed in, the name counts.
    """
    digest = hashlib.sha256(f"anyfuse {__version__} {model.__qualname__}".encode())
    for module in sorted(model_modules(model.__module__) | set(AROUND)):
        digest.update(f"{module}\n{_code(module)}\n".encode())
    return digest.hexdigest()[:8]


def model_modules(module: str) -> set[str]:
    """The module and all modules of MODEL_CODE that it imports, at load or inside functions, directly or not; of
    another package's module, also those of that package.
    """
    own = () if module.startswith("anyfuse.") else (f"{module.partition('.')[0]}.",)
    modules: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in modules:
            modules.add(name)
            waiting += _imported(name, MODEL_CODE + own)
    return modules


def _imported(module: str, below: tuple[str, ...]) -> tuple[str, ...]:
    """Names below these packages that a module imports, each as a module and as a part of one; those that are no
    modules are left out.
    """
    try:
        tree = ast.parse(_source(module))
    except (OSError, TypeError, ImportError):
        return ()
    package = str(import_module(module).__package__)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if name.startswith(below) and _is_module(name))


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # below a module that is no package
        return False


def _code(module: str) -> str:
    """`code_of` a module; '' where its source is not there."""
    try:
        return code_of(_source(module))
    except (OSError, TypeError, ImportError):
        return ""


@cache
def _source(module: str) -> str:
    return inspect.getsource(import_module(module))


def _tree_text(node: object) -> str:
    if isinstance(node, list):
        return "[" + ",".join(_tree_text(n) for n in node if not _is_text(n)) + "]"
    if isinstance(node, ast.AST):
        fields = ((k, v) for k, v in ast.iter_fields(node) if v is not None and v != [])
        return f"{type(node).__name__}({','.join(f'{k}={_tree_text(v)}' for k, v in fields)})"
    return repr(node)


def _is_text(node: object) -> bool:
    """A statement that is a string alone: a docstring, or the text below an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
