"""The one exception that means 'the user can fix this': its text is a single line with file, number and remedy."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

_PYTHON = {
    "overwrite": "overwrite=True",
    "resize reference": "resize=True",
    "weights-out": "save_weights",
    "mask-out": "save_masks",
    "explain": "explain=True",
}
"""What Python calls an option of the command line, where it is another word."""
_FLAG = re.compile(r"(?<![\w-])--(resize reference|[a-z][a-z-]*[a-z])")
_names_options = [False]
T = TypeVar("T")
P = ParamSpec("P")


class FusionError(ValueError):
    """A mistake in the input of a user: the command line prints the text alone and exits with code 2.

    Texts name the options of the command line. What Python calls is marked by `names_arguments`.
    """


class MemoryLimitError(FusionError):
    """Less memory is allowed than a set of images takes at this moment."""


def in_python(text: str) -> str:
    """The text with the names of arguments in place of options: `max_memory` for `--max-memory`."""
    return _FLAG.sub(lambda m: _PYTHON.get(m[1], m[1].replace("-", "_")), text)


def names_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Marks a public function: its errors name arguments of Python, unless the command line calls it."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return function(*args, **options)
        except FusionError as error:
            if _names_options[0]:
                raise
            text = in_python(str(error))
            if text == str(error):
                raise
            raise type(error)(text) from None

    return call


@contextlib.contextmanager
def options_named() -> Iterator[None]:
    """Lets errors name options of the command line, as its user typed them."""
    before, _names_options[0] = _names_options[0], True
    try:
        yield
    finally:
        _names_options[0] = before
