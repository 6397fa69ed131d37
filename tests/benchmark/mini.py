"""A small data set and the command line, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import scene, to8

from anyfuse.cli import main
from anyfuse.io.write import write_image


def make_data(root: Path) -> Path:
    """A small infrared-visible set: three pairs of 96x72."""
    for index in range(3):
        write_image(root / "ir" / f"{index}.png", to8(scene(72, 96, index)))
        write_image(root / "vis" / f"{index}.png", to8(scene(72, 96, 20 + index, 3)))
    return root


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a call that must end with exit code 2."""
    code, _, err = run(capsys, *arguments)
    assert code == 2, err
    assert err.count("\n") == 1, err
    return err
