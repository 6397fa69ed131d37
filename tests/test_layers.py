"""Who may import whom: read from the imports themselves, at load and inside functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "anyfuse"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("engine_choice",),
    ("arrays",),
    ("control", "runtime", "device", "weights", "native", "plugins"),
    ("image",),
    ("io", "losses", "metrics", "align"),
    ("language",),
    ("degradation",),
    ("data",),
    ("models",),
    ("engines",),
    ("filemaps",),
    ("tiling", "canvas", "options", "held", "doctor", "hub"),
    ("budget", "unused"),
    ("result", "prepare"),
    ("pipeline", "stages"),
    ("pansharpening",),
    ("fuser",),
    ("api",),
    ("jobs", "training"),
    ("serve", "video"),
    ("benchmark",),
    ("cli",),
    ("__init__", "__main__"),
)
"""From the ground up. A module imports from its own layer and from those below."""

BACKWARD = {("anyfuse.control", "anyfuse.language.api")}
"""One door: words become Controls in language/, and two documented names, `Control.embedding` and
`control.parse_instruction`, lead there. It is imported when they are called."""

ALIASES = {
    "anyfuse.estimate",
    "anyfuse.data.degrade",
    "anyfuse.models.omnigen",
    "anyfuse.models.tita_released",
    "anyfuse.training.words",
}
"""Documented earlier places of modules: they import what took their place, and nothing imports them."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("anyfuse", *path.relative_to(PACKAGE).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(module: str, lazy: bool) -> Iterator[str]:
    """Modules of the package that a module imports; lazy: also inside functions and for types alone."""
    path = MODULES[module]
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module":
            first = node.args[0]
            if isinstance(first, ast.Constant) and first.value in MODULES:
                yield str(first.value)
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)
        if not isinstance(node, ast.ImportFrom):
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
            if name in MODULES and name != module:
                yield name


def layer(module: str) -> int:
    parts = module.split(".")
    room = "__init__" if len(parts) == 1 else parts[1]
    return next(k for k, names in enumerate(LAYERS) if room in names)


def test_every_room_has_a_layer() -> None:
    assert not [m for m in MODULES if m not in ALIASES and not any(layer(m) == k for k in range(len(LAYERS)))]


def test_imports_go_down() -> None:
    upward = {
        (module, name)
        for module in MODULES
        if module not in ALIASES
        for name in imports(module, lazy=True)
        if layer(name) > layer(module)
    }
    assert upward == BACKWARD


@pytest.mark.parametrize("lazy", [False, True])
def test_no_circles(lazy: bool) -> None:
    graph = {m: {n for n in imports(m, lazy) if (m, n) not in BACKWARD} for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for name in graph[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_nothing_imports_an_alias() -> None:
    assert not [(m, n) for m in MODULES for n in imports(m, lazy=True) if n in ALIASES]


def test_models_know_nothing_of_files_and_training() -> None:
    """A network can be read, and used elsewhere, without the rest."""
    apart = (
        "anyfuse.io",
        "anyfuse.training",
        "anyfuse.api",
        "anyfuse.fuser",
        "anyfuse.pipeline",
        "anyfuse.cli",
        "anyfuse.data",
    )
    allowed = {
        ("anyfuse.models.registry", "anyfuse.io.atomic"),
        ("anyfuse.models.unifusion.fetch", "anyfuse.io.atomic"),
    }
    found = {
        (m, n) for m in MODULES if m.startswith("anyfuse.models") for n in imports(m, lazy=True) if n.startswith(apart)
    }
    assert found <= allowed


def test_one_argument_a_line_in_docstrings() -> None:
    """A wrapped line at the level of arguments would be read as one, and lost on the API page."""
    wrong = []
    for module, path in MODULES.items():
        for indent, block in re.findall(r"^( *)(?:Args|Raises):\n((?:\1    .*\n)+)", path.read_text(), re.MULTILINE):
            wrong += [
                f"{module}: {line.strip()}"
                for line in block.splitlines()
                if re.match(rf"{indent}    \S", line) and not re.match(r" *\*{0,2}\w+(, \*{0,2}\w+)*:", line)
            ]
    assert not wrong


def test_no_file_has_more_than_450_lines() -> None:
    assert not [m for m, path in MODULES.items() if len(path.read_text().splitlines()) > 450]


def test_no_function_has_more_than_60_lines() -> None:
    """Without its signature and docstring."""
    long = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                long += [f"{module}.{node.name}: {lines}"] if lines > 60 else []
    assert not long
