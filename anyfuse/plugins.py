"""What other packages add: models, metrics, readers and losses, found by entry points.

A package names its parts in its pyproject.toml, and nothing is written here:

    [project.entry-points."anyfuse.models"]
    gain = "my_package:gain"

Entry points are looked for when a table is listed, or asked for a name that it lacks. A part that does not load is
named in one line on stderr, and the rest works. A name that anyfuse has itself is refused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from .errors import FusionError

GROUPS = ("anyfuse.models", "anyfuse.metrics", "anyfuse.readers", "anyfuse.losses")

V = TypeVar("V")
_LOG = logging.getLogger("anyfuse.plugins")
_said: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Plugin:
    """An entry point that was looked at. `problem`: why it cannot be used, one line; '': it is in use."""

    group: str
    name: str
    package: str  # and its version
    problem: str = ""


FOUND: dict[tuple[str, str, str], Plugin] = {}
"""By group, name and package, in the order in which they were loaded."""


def first_line(error: BaseException) -> str:
    """The kind and the first line of an error, as 'ImportError: no module named x'."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def complain(group: str, name: str, text: str) -> None:
    """One line on stderr about a part, once in a process, whatever it says then; a program that uses `logging` gets it
    under 'anyfuse.plugins'.
    """
    if (group, name) not in _said:
        _said.add((group, name))
        _LOG.warning("anyfuse: %s", " ".join(text.split()))


def load_group(group: str, accept: Callable[[str, Any], V], taken: Callable[[str], bool]) -> dict[str, V]:
    """What the installed packages add to a group, by name.

    Args:
        group: in GROUPS.
        accept: makes an entry of a name and of the object that the entry point names; FusionError: it is no such part.
        taken: whether a name is in use already.

    Returns:
        The entries that work. `FOUND` has all of them, `complain` names those that do not.
    """
    out: dict[str, V] = {}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        package = _package(point)
        problem = ""
        if taken(point.name) or point.name in out:
            problem = "another part has this name; rename it"
        else:
            try:
                out[point.name] = accept(point.name, point.load())
            except KeyboardInterrupt:
                raise
            except FusionError as error:
                problem = str(error)
            except BaseException as error:  # foreign code: whatever it does, even sys.exit, the rest works on
                problem = f"does not load ({first_line(error)}); update or uninstall {package.split()[0]}"
        FOUND[group, point.name, package] = Plugin(group, point.name, package, problem)
        if problem:
            kind = group.removeprefix("anyfuse.")[:-1]
            complain(group, f"{point.name} of {package}", f"{kind} '{point.name}' of {package}: {problem}")
    return out


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value.partition(":")[0]


class Extended(dict[str, V]):
    """A table of our own entries, and of those that other packages add to a group.

    Ours are there at once. Those of others are loaded when the table is listed, or asked for a name that it lacks.

    Args:
        own: our entries.
        group: in GROUPS.
        accept: as in `load_group`.
    """

    def __init__(self, own: dict[str, V], group: str, accept: Callable[[str, Any], V]) -> None:
        super().__init__(own)
        self.own = tuple(own)
        self._group, self._accept = group, accept
        self._lock, self._done = threading.RLock(), False

    def load(self) -> None:
        """Loads what other packages add, the first time that it is called."""
        with self._lock:
            if self._done:
                return
            self._done = True  # before: a part may list the table while it loads
            self.update(load_group(self._group, self._accept, super().__contains__))

    def __missing__(self, name: str) -> V:
        self.load()
        if super().__contains__(name):
            return super().__getitem__(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        self.load()
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of a name, or `default`."""
        return self[name] if name in self else default  # noqa: SIM401  this is get

    def __iter__(self) -> Iterator[str]:
        self.load()
        return super().__iter__()

    def __len__(self) -> int:
        self.load()
        return super().__len__()

    def keys(self) -> Any:
        """As of a dict."""
        self.load()
        return super().keys()

    def items(self) -> Any:
        """As of a dict."""
        self.load()
        return super().items()

    def values(self) -> Any:
        """As of a dict."""
        self.load()
        return super().values()


def listed() -> list[Plugin]:
    """Every part of another package that was looked at so far."""
    return list(FOUND.values())
