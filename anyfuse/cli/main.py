"""The command line: joins the commands (one file each) and turns errors into one line."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import Annotated, Any

import typer

from ..errors import FusionError, options_named
from ..io.atomic import one_line
from ..runtime import keep_memory, yield_threads
from ..version import __version__
from .align import align
from .bench import bench
from .data import app as data
from .datasets import app as datasets
from .degrade import degrade
from .doctor import doctor
from .estimate import estimate
from .export import export
from .fuse import fuse
from .models import models
from .presets import hdr, medical, stack, thermal
from .push import push
from .say import say
from .score import score
from .serve import serve
from .train import train
from .video import video
from .weights import app as backbone
from .weights import codec

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fuse any images of one scene: infrared + visible, HDR brackets, focus stacks, medical; any number, size and "
    "bit depth.",
)
PRESETS = (stack, hdr, thermal, medical)
OTHERS = (align, video, say, estimate, models, train, push, score, bench, degrade, export, doctor, serve)
for command in (fuse, *PRESETS, *OTHERS):
    app.command()(command)
app.add_typer(backbone, name="backbone")
app.add_typer(codec, name="codec")
app.add_typer(data, name="data")
app.add_typer(datasets, name="datasets")

Version = Annotated[bool, typer.Option("--version", help="Print the version and stop.")]


@app.callback(invoke_without_command=True)
def root(version: Version = False) -> None:  # no docstring: it would take the place of the help text above
    if version:
        print(f"anyfuse {__version__}")
        raise typer.Exit


def main(argv: list[str] | None = None) -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    keep_memory()
    yield_threads()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that half-written files are removed
    prepare_streams(argv)
    try:
        with options_named():
            sys.exit(app(argv, prog_name="anyfuse", standalone_mode=False) or 0)
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
        usage = getattr(error, "format_message", None)  # of the command line's parser
        if usage is not None:
            text = usage().replace("Value error, ", "").rstrip(".")
            fail(f"{text}. See --help.", 2)
        if isinstance(error, RuntimeError) and "memory" in str(error).lower():
            fail("out of memory: give --max-memory, or --device cpu", 2)
        raise


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
