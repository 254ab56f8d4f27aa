"""Progress on a terminal, silence elsewhere, and what an interruption or a closed pipe does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from shallowdeep.__main__ import main
from shallowdeep.cli import terminal
from shallowdeep.cli.terminal import TerminalObserver, show


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[TerminalObserver, StringIO]:
    """An observer that draws to a string."""
    drawn = StringIO()
    monkeypatch.setattr(
        terminal, "notes", lambda: Console(file=drawn, force_terminal=True, color_system=None, highlight=False)
    )
    return TerminalObserver(), drawn


def test_bars_of_reading_do_not_disturb_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images read in the middle of a training have a bar of their own, which goes when they are read."""
    observer, _ = on_a_terminal(monkeypatch)
    tasks = observer._progress.tasks
    with observer:
        observer.data("train", 64, 128)
        observer.data("train", 128, 128)
        assert not observer._progress.tasks
        observer.started("joint", "steps", 10, 4)
        observer.advanced(1, "loss 1.0")
        observer.data("tune", 5, 20)
        observer.advanced(1)
        training, reading = observer._progress.tasks
        assert (training.completed, training.total, training.fields["note"]) == (6, 10, "")
        assert (reading.completed, reading.total, reading.description) == (5, 20, "reading tune (images)")
        observer.data("test", 1, 2)
        observer.data("test", 2, 2)
        assert [task.completed for task in observer._progress.tasks] == [6]
        observer.started("predicting", "images", 7, 0)
        assert [task.total for task in observer._progress.tasks] == [7]
    assert tasks == []


def test_an_epoch_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, accuracies in per cent and seconds."""
    observer, drawn = on_a_terminal(monkeypatch)
    record = {"phase": "joint", "epoch": 2, "loss": 0.51234, "tune_accuracy": [0.5, 0.987], "seconds": 12.3}
    observer.epoch_ended(record)
    assert drawn.getvalue().strip() == "joint epoch 2: loss 0.5123, tune accuracy % 50.0 98.7 (12 s)"


def test_without_a_terminal_a_line_a_minute_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside a long epoch a log shows life, and no more than that."""
    clock = [100.0]
    monkeypatch.setattr("shallowdeep.cli.terminal.time.monotonic", lambda: clock[0])
    with TerminalObserver() as observer:
        observer.started("joint", "steps", 4000, 0)
        for second in range(150):
            clock[0] = 100.0 + second
            observer.advanced(10, "epoch 1/3 loss 2.100")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", about")[0] for line in lines] == [
        "joint (steps): 610 of 4,000, epoch 1/3 loss 2.100",
        "joint (steps): 1,210 of 4,000, epoch 1/3 loss 2.100",
    ]
    assert "min left" in lines[-1]


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
        TerminalObserver().said("hello")
        show({"a": 1}, "a table", as_json=True)
        captured = capsys.readouterr()
        assert captured.out == spoken
        assert bool(captured.err) is bool(spoken)


def test_ctrl_c_is_one_line_and_the_run_goes_on_later(workplace: Path) -> None:
    """Interrupted in the second epoch: status 130, one line, no traceback; --resume ends the training."""
    (workplace / "delay").write_text("0.05")
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
    assert all(line.startswith("joint epoch") for line in lines[:-1])
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
