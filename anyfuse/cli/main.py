"""The command line: joins the commands (one file each) and turns errors into one line."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Collection
from importlib import import_module
from typing import Annotated, Any

import typer

from ..engine_choice import VARIABLE, lacks_torch
from ..errors import FusionError, options_named
from ..io.atomic import one_line
from ..runtime import keep_memory, yield_threads
from ..version import __version__

COMMANDS = {
    "fuse": "fuse",
    "stack": "presets",
    "hdr": "presets",
    "thermal": "presets",
    "medical": "presets",
    "align": "align",
    "video": "video",
    "say": "say",
    "estimate": "estimate",
    "models": "models",
    "train": "train",
    "push": "push",
    "score": "score",
    "bench": "bench",
    "degrade": "degrade",
    "export": "export",
    "doctor": "doctor",
    "serve": "serve",
}
"""Command -> the file here that has a function of that name."""
GROUPS = {"backbone": ("weights", "app"), "codec": ("weights", "codec"), "data": ("data", "app")}
GROUPS |= {"datasets": ("datasets", "app")}
"""Group of commands -> file and name of its own app."""
WITHOUT_TORCH = ("fuse", "align", "stack", "hdr", "thermal", "medical", "models", "doctor")
"""Commands that ANYFUSE_ENGINE counts for; the others always use PyTorch."""

Version = Annotated[bool, typer.Option("--version", help="Print the version and stop.")]


def root(version: Version = False) -> None:  # no docstring: it would take the place of the help text above
    if version:
        print(f"anyfuse {__version__}")
        raise typer.Exit


def joined(names: Collection[str]) -> typer.Typer:
    """The command line with some of the commands. Building all of them takes a fifth of a second."""
    app = typer.Typer(
        add_completion=True,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Fuse any images of one scene: infrared + visible, HDR brackets, focus stacks, medical; any number, size "
        "and bit depth.",
    )
    app.callback(invoke_without_command=True)(root)
    for name, file in COMMANDS.items():
        if name in names:
            app.command()(getattr(import_module(f".{file}", __package__), name))
    for name, (file, own) in GROUPS.items():
        if name in names:
            app.add_typer(getattr(import_module(f".{file}", __package__), own), name=name)
    return app


def __getattr__(name: str) -> Any:
    """`app`: the command line with all commands."""
    if name != "app":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return joined([*COMMANDS, *GROUPS])


def main(argv: list[str] | None = None) -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    keep_memory()
    yield_threads()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that half-written files are removed
    prepare_streams(argv)
    try:
        with options_named():
            first = (sys.argv[1:] if argv is None else argv)[:1]
            if first and first[0] not in WITHOUT_TORCH:
                os.environ.pop(VARIABLE, None)
            names = first if first and first[0] in COMMANDS else [*COMMANDS, *GROUPS]
            sys.exit(joined(names)(argv, prog_name="anyfuse", standalone_mode=False) or 0)
    except FusionError as error:
        fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", 130)
    except RecursionError:
        fail("a file is nested too deeply to be read; give another one", 2)
    except MemoryError:
        fail("out of memory: give --max-memory, or smaller images", 2)
    except OSError as error:  # our own output: the reader went away, or there is no room for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"cannot go on: {error.strerror or error}", 1)
    except Exception as error:  # errors of the parser have no class that all versions of typer share; others go on
        unusual(error)
        raise


def unusual(error: Exception) -> None:
    """Ends with one line where an error is the user's; others go on."""
    usage = getattr(error, "format_message", None)  # of the command line's parser
    if type(error).__name__ == "NoArgsIsHelpError" and usage is not None:  # `anyfuse` or `anyfuse data` alone
        print(usage())
        sys.exit(0)
    if usage is not None:
        text = usage().replace("Value error, ", "").rstrip(".")
        fail(f"{text}. See --help.", 2)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "torch":
        fail(str(lacks_torch("this command")), 2)
    if isinstance(error, RuntimeError) and "memory" in str(error).lower():
        fail("out of memory: give --max-memory, or --device cpu", 2)


READERS = ("fuse", "stack", "hdr", "thermal", "medical", "align", "score", "degrade", "estimate", "bench", "video")
"""Commands that read images of others."""


def prepare_streams(argv: list[str] | None) -> None:
    """Lets names of files be printed that are no text, and C libraries print nothing."""
    if argv is None and sys.argv[1:2] and sys.argv[1] in READERS:
        silence_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence_libraries() -> None:
    """Sends what C libraries print themselves, as 'libpng error', to nowhere: our own line says what is wrong."""
    try:
        if sys.stderr.fileno() != 2:
            return
        own = open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding)  # noqa: SIM115  it stays open
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        sys.stderr = own
    except (OSError, ValueError, AttributeError):  # no stderr at all
        return


def fail(message: str, code: int) -> Any:
    """One line on stderr, and out."""
    print(f"anyfuse: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
