"""Which definition of a metric a table was made with: a hash of the code that defines it, without docstrings and
comments.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable
from functools import cache
from importlib import import_module

from ..metrics import METRICS

PACKAGE = "anyfuse.metrics"


def metric_versions(names: Iterable[str]) -> dict[str, str]:
    """name -> 8 hex digits over its module, the metrics modules that this one imports, and the grey rules."""
    out = {}
    for name in names:
        modules = modules_of(METRICS[name].function.__module__) | {f"{PACKAGE}.grey"}
        digest = hashlib.sha256()
        for module in sorted(modules):
            digest.update(f"{module}\n{code_of(_source(module))}\n".encode())
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
