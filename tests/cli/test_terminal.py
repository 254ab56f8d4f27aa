"""Progress on a terminal, silence elsewhere, and what an interruption or a closed pipe does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shallowdeep.__main__ import main
from shallowdeep.cli.terminal import show
from shallowdeep.progress import TerminalProgress


def test_ctrl_c_while_the_program_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interruption inside the first import ends with status 130 and without a traceback."""

    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "shallowdeep.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "shallowdeep.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "shallowdeep: interrupted\n"


def test_only_the_first_of_many_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second process of a launcher prints neither notes nor results."""
    for rank, spoken in (("1", ""), ("0", '{\n  "a": 1\n}\n')):
        monkeypatch.setenv("RANK", rank)
        TerminalProgress().say("hello")
        show({"a": 1}, "a table", as_json=True)
        captured = capsys.readouterr()
        assert captured.out == spoken
        assert bool(captured.err) is bool(spoken)


def test_ctrl_c_is_one_line_and_the_run_goes_on_later(workplace: Path) -> None:
    """Interrupted in the second epoch: status 130, one line, no traceback; --resume ends the training."""
    (workplace / "delay").write_text("0.2")
    command = [sys.executable, "-m", "shallowdeep", "train", "--data", "images", "--model", "tiny_nets:hindered"]
    command += ["--recipe", "joint", "--exits", "2", "--epochs", "3", "--batch-size", "16", "--out", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + 60
        while not Path("run/history.jsonl").exists() and time.monotonic() < limit:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    lines = errors.splitlines()
    assert (
        lines[-1] == "shallowdeep: interrupted; a run that has begun goes on with --resume, after its last whole epoch"
    )
    assert lines[0].startswith("Only 9 steps from random weights: the network may stay near chance")
    assert all(line.startswith("joint epoch") for line in lines[1:-1])
    (workplace / "delay").unlink()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "joint epoch 1:" not in done.stderr
    assert "joint epoch 3:" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    """A result nobody reads ends with what shells report for a broken pipe, and without a word."""
    command = [sys.executable, "-m", "shallowdeep", "datasets", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")
