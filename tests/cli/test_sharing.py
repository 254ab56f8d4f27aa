"""The command line shares the processor: fewer threads beside others, unless the user says how many."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shallowdeep.cli import sharing
from shallowdeep.cli.sharing import TorchThreads, processor_shared
from shallowdeep.machine import THREAD_VARIABLES
from shallowdeep.processor_load import Reading

BEGUN = Reading(0.0, 0.0, 0.0)


def environment(**more: str) -> dict[str, str]:
    """The variables of this process without those looked at here."""
    return {**{name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}, **more}


def printed(program: str, **more: str) -> list[str]:
    """Words that a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment(**more)
    )
    return done.stdout.split()


def chosen(monkeypatch: pytest.MonkeyPatch, *, cores: int, available: int, busy: float) -> dict[str, str]:
    """The variables that are set when torch is about to be imported on such a machine."""
    monkeypatch.setattr(sharing, "schedulable_cores", lambda: cores)
    monkeypatch.setattr(sharing, "available_cores", lambda: available)
    monkeypatch.setattr(sharing, "reading", lambda: Reading(10 * busy, 0.0, 10.0))
    variables: dict[str, str] = {}
    finder = TorchThreads(BEGUN, variables)
    assert finder.find_spec("numpy") is None
    assert variables == {}
    assert finder.find_spec("torch") is None
    return variables


def test_a_free_machine_is_left_to_torch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is set, nothing said."""
    assert chosen(monkeypatch, cores=4, available=4, busy=0.2) == {}
    assert capsys.readouterr().err == ""


def test_beside_others_there_are_fewer_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line that tells why, and how to have all."""
    assert chosen(monkeypatch, cores=2, available=2, busy=1.0) == dict.fromkeys(THREAD_VARIABLES, "1")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Other programs keep 1.0 of 2 cores busy: PyTorch computes with 1 thread (--threads 2 takes all)"


def test_a_quota_limits_torch_silently(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It would take a thread for each core that it sees."""
    assert chosen(monkeypatch, cores=8, available=3, busy=0.0) == dict.fromkeys(THREAD_VARIABLES, "3")
    assert capsys.readouterr().err == ""


def test_torch_computes_with_what_was_chosen() -> None:
    """In a program that has a quota of one core, with the real torch."""
    program = """
import sys
from shallowdeep import machine
machine._granted_quota = lambda: 1
machine.schedulable_cores = lambda: 2
from shallowdeep.cli import sharing
sharing.schedulable_cores = lambda: 2
with sharing.processor_shared(["train"]):
    import torch
print(torch.get_num_threads())
"""
    assert printed(program) == ["1"]


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["train", "--threads", "2"], {}),
        (["train", "--threads=2"], {}),
        (["train"], {"OMP_NUM_THREADS": "2"}),
        (["train"], {"WORLD_SIZE": "2"}),
    ],
)
def test_a_number_of_threads_that_was_given_stands(arguments: list[str], variables: dict[str, str]) -> None:
    """By the option, by the environment, and in one of several processes: nobody looks at the load."""
    before = list(sys.meta_path)
    given = dict(variables)
    with processor_shared(arguments, given):
        assert sys.meta_path == before
    assert given == variables


def test_the_load_is_looked_at_while_the_program_is_loaded() -> None:
    """By a finder that is gone afterwards."""
    before, given = list(sys.meta_path), {"PATH": "/bin"}
    with processor_shared(["train"], given):
        assert len(sys.meta_path) == len(before) + 1
    assert given == {"PATH": "/bin"}
    assert sys.meta_path == before


def test_the_program_looks_before_torch_is_there_and_the_library_never() -> None:
    """Importing the package, its command line too, changes no variable and no finder."""
    program = """
import os, sys
before, finders = dict(os.environ), list(sys.meta_path)
import shallowdeep, shallowdeep.machine, shallowdeep.cli.main as main
assert (dict(os.environ), sys.meta_path) == (before, finders)
main.main = lambda: print(type(sys.meta_path[0]).__name__, "torch" in sys.modules)
from shallowdeep.__main__ import main as program
program()
"""
    assert printed(program) == ["TorchThreads", "False"]
