"""What a process loads, and what it sets for its threads."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

SHOW = "import os, sys; from anyfuse import Fuser; print(os.environ.get('GOMP_SPINCOUNT'))"


def answer(code: str, **environment: str) -> str:
    """What a fresh interpreter prints, without this process's settings of threads."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def processor_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_command_line_loads_no_torch_before_it_is_needed() -> None:
    assert answer("import sys, anyfuse.cli.main; print('torch' in sys.modules)") == "False"


def test_help_costs_less_than_half_of_loading_torch() -> None:
    processor_seconds("-m", "anyfuse", "--help")  # compiles what is not compiled yet
    assert processor_seconds("-m", "anyfuse", "--help") < processor_seconds("-c", "import torch") / 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["default", "own count", "own policy"],
)
def test_waiting_threads_do_not_spin_for_long(environment: dict[str, str], expected: str) -> None:
    assert answer(SHOW, **environment) == expected
