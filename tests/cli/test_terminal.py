"""Progress on a terminal, silence elsewhere, and what an interruption or a closed pipe does."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import Training
from typer.main import get_command

from shallowdeep.__main__ import main
from shallowdeep.cli import main as program
from shallowdeep.cli.main import run
from shallowdeep.cli.terminal import note_skipped, show
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
    lines = [line for line in errors.splitlines() if not line.startswith("Other programs keep")]  # on a busy machine
    beginning = "shallowdeep: interrupted; this goes on after the last whole epoch: shallowdeep "
    assert lines[-1] == f"{beginning}{' '.join(command[3:])} --resume"
    assert lines[0] == "Loading ..."
    assert lines[1].startswith("Only 9 steps from random weights: the network may stay near chance")
    assert lines[2].startswith("4 images kept for promises (certify)")
    assert all(line.startswith("joint epoch") for line in lines[3:-1])
    (workplace / "delay").unlink()
    told = shlex.split(lines[-1].removeprefix(beginning))
    done = subprocess.run([*command[:3], *told], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "joint epoch 1/" not in done.stderr
    assert "joint epoch 3/" in done.stderr


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("train --out a --overwrite", "; this goes on after the last whole epoch: shallowdeep train --out a --resume"),
        (
            "train --resume --out 'a b'",
            "; this goes on after the last whole epoch: shallowdeep train --out 'a b' --resume",
        ),
        (
            "audit backdoor --quick",
            "; this goes on after the last whole epoch: shallowdeep audit backdoor --quick --resume",
        ),
        ("evaluate train", ""),
        ("audit", ""),
        ("", ""),
    ],
)
def test_only_what_can_be_resumed_is_told_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, told: str
) -> None:
    """The command that goes on is the one that was typed, with --resume instead of --overwrite."""

    class Interrupted:
        def main(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    commands = iter([Interrupted(), get_command(program.app)])
    monkeypatch.setattr("shallowdeep.cli.main.get_command", lambda _: next(commands))
    assert program.run(shlex.split(typed)) == 130
    assert capsys.readouterr().err == f"shallowdeep: interrupted{told}\n"


@pytest.mark.parametrize(("count", "more"), [(0, None), (10, None), (12, "  and 2 more; skipped.txt names all")])
def test_the_first_ten_images_that_were_left_out_are_named(
    workplace: Path, capsys: pytest.CaptureFixture[str], count: int, more: str | None
) -> None:
    """The file names all, where there is one; a count without names is told too."""
    (workplace / "skipped.txt").touch()
    names = [f"[{number}].png" for number in range(count)]
    note_skipped(names, Path("skipped.txt"))
    lines = capsys.readouterr().err.splitlines()
    expected = [f"Bad images left out: {count}", *(f"  {name}" for name in names[:10]), *([more] if more else [])]
    assert lines == (expected if count else [])
    note_skipped([], Path("skipped.txt"), 3)
    assert capsys.readouterr().err == "Bad images left out: 3\n"
    note_skipped(["a.png"] * 11, Path("nowhere.txt"))
    assert capsys.readouterr().err.splitlines()[-1] == "  and 1 more; --json names all"


NAMES = ("photo [copy].png", "[red]photo[bold].png", "a :smile: b.png", "日本語.png", "naïve Å.png")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_any_file_name_is_shown_on_any_terminal(trained: Training, workplace: Path, encoding: str) -> None:
    """In tables, JSON and errors: as it is, or with escapes where the encoding has no such letter."""
    trained("run", "--recipe", "joint", "--exits", "2", "--epochs", 1)
    assert run(["calibrate", "run", "--threshold", "0.9", "--trust"]) == 0
    assert run(["export", "run", "--out", "bundle", "--trust"]) == 0
    good = next((workplace / "images" / "test").rglob("*.png")).read_bytes()
    for name in NAMES:
        (workplace / name).write_bytes(good)
        (workplace / f"bad {name}").write_bytes(b"junk")
    command = [sys.executable, "-m", "shallowdeep", "predict", "bundle", *NAMES, *(f"bad {name}" for name in NAMES)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    for more in ([], ["--json"]):
        done = subprocess.run([*command, *more], capture_output=True, env=environment, timeout=120, check=False)
        assert done.returncode == 1
        output, errors = done.stdout.decode(encoding), done.stderr.decode(encoding)
        assert "Traceback" not in errors
        for name in NAMES:
            shown = name.encode(encoding, "backslashreplace").decode(encoding)
            assert f"bad {shown}" in errors
            if not more:
                assert shown in output
        if more:
            assert [entry["file"] for entry in json.loads(output)["predictions"]] == list(NAMES)


def test_a_reader_that_goes_away_is_no_error() -> None:
    """A result nobody reads ends with what shells report for a broken pipe, and without a word."""
    command = [sys.executable, "-m", "shallowdeep", "datasets", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")
