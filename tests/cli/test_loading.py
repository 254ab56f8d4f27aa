"""Commands that take seconds to start say so at once; mistakes that can be told without PyTorch are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shallowdeep.cli import loading
from shallowdeep.cli.loading import SlowImports, loading_shown
from shallowdeep.progress import LOADING

if TYPE_CHECKING:
    from tests.conftest import Shell

SCRIPT = """
import sys
from shallowdeep.cli.main import run
status = run(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(status)
"""
OTHER = "--out names another directory"
RUN = [sys.executable, "-c", SCRIPT]


def started(*arguments: str) -> tuple[int, str, list[str]]:
    """Status, standard output and lines of standard error of a fresh process; the last tells if torch was imported."""
    done = subprocess.run([*RUN, *arguments], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_a_slow_command_says_so_before_anything_else() -> None:
    """On standard error, in a line of its own; standard output has the result alone."""
    status, output, errors = started("models", "--json")
    assert (status, output[0]) == (0, "{")
    assert (errors[0], errors[-1]) == ("Loading ...", "True")


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("datasets",)])
def test_others_do_not(arguments: tuple[str, ...]) -> None:
    """Help and lists that need no PyTorch."""
    assert started(*arguments)[2] == ["False"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "nowhere"), "Expected a saved network with model.json in nowhere, found none"),
        (("calibrate", "nowhere", "--budget", "1"), "Expected a saved network with model.json in nowhere, found none"),
        (("export", "nowhere", "--out", "x"), "Expected a saved network with model.json in nowhere, found none"),
        (("audit", "slowdown", "nowhere"), "Expected a saved network with model.json in nowhere, found none"),
        (("analyze", "nowhere"), "Expected a run's directory or an npz file of predictions, nowhere does not exist"),
        (("report", "nowhere"), "Expected a run's directory or an npz file of predictions, nowhere does not exist"),
        (("train", "--out", "x"), "Expected data in the command line or by --data, got none"),
        (
            ("demo", "--out", f"{__file__}/x"),
            f"Expected to write to {__file__}/x, which may not be written ({__file__} is no directory); {OTHER}",
        ),
    ],
)
def test_mistakes_are_told_without_torch(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """One line, at once."""
    done = subprocess.run([*RUN, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"shallowdeep: {message}", "False"]


@pytest.mark.parametrize(
    "command",
    [("train", "--data", "mnist5k", "--model", "resnet20"), ("demo",), ("export", "run"), ("evaluate", "run"),
     ("report", "run"), ("analyze", "run"), ("bench", "bundle"), ("audit", "backdoor", "--quick"),
     ("audit", "slowdown", "--quick"), ("audit", "suspects", "--quick")],
)  # fmt: skip
def test_every_output_that_cannot_be_made_is_told(shell: Shell, workplace: Path, command: tuple[str, ...]) -> None:
    """Before any work, by what stands in the way."""
    (workplace / "file").touch()
    (workplace / "run").mkdir()
    (workplace / "run/model.json").touch()
    status, output, errors = shell(*command, "--out", "file/x")
    assert (status, output) == (2, "")
    assert errors == (
        f"shallowdeep: Expected to write to file/x, which may not be written ({workplace / 'file'} is no directory); "
        "--out names another directory\n"
    )


def test_one_note_for_all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first slow package that is installed is told, no other, and none that is missing."""
    shown: list[str] = []
    monkeypatch.setattr(LOADING, "show", shown.append)
    monkeypatch.setattr(loading, "SLOW", frozenset({"no_such_package"}))
    with loading_shown():
        assert sum(isinstance(finder, SlowImports) for finder in sys.meta_path) == 1
        with pytest.raises(ModuleNotFoundError):
            __import__("no_such_package")
    assert not any(isinstance(finder, SlowImports) for finder in sys.meta_path)
    assert shown == []
    monkeypatch.setattr(loading, "SLOW", frozenset({"json", "csv"}))
    finder = SlowImports()
    assert [finder.find_spec(name) for name in ("this", "json", "csv")] == [None] * 3
    assert shown == ["Loading ..."]
