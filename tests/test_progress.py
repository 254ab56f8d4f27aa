"""Bars on a terminal, lines elsewhere, and silence."""

from __future__ import annotations

import sys
from io import StringIO

import pytest
from rich.console import Console
from tests.recorder import Recorder

from shallowdeep.progress import LOADING, SILENT, TerminalProgress, shown


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[TerminalProgress, StringIO]:
    """A progress that draws to a string."""
    drawn = StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **_: Console(file=drawn, force_terminal=True, color_system=None, highlight=False),
    )
    return TerminalProgress(), drawn


def test_bars_of_reading_do_not_disturb_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images read in the middle of a training have a bar of their own, which goes when they are read."""
    progress, _ = on_a_terminal(monkeypatch)
    with progress:
        with progress.start("reading train", "images", 128) as reading:
            reading.advance(64)
            reading.advance(64)
        assert not progress._drawing.tasks
        training = progress.start("joint", "steps", 10, 4)
        training.advance(1, "loss 1.0")
        reading = progress.start("reading tune", "images", 20)
        reading.advance(5)
        training.advance()
        first, second = progress._drawing.tasks
        assert (first.completed, first.total, first.fields["note"]) == (6, 10, "")
        assert (second.completed, second.total, second.description) == (5, 20, "reading tune (images)")
        reading.finish()
        assert [task.completed for task in progress._drawing.tasks] == [6]
        training.finish()
        training.finish()  # twice is once
    assert progress._drawing.tasks == []


def test_without_a_terminal_a_line_a_minute_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside a long epoch a log shows life, and no more than that."""
    clock = [100.0]
    monkeypatch.setattr("shallowdeep.progress.time.monotonic", lambda: clock[0])
    with TerminalProgress() as progress, progress.start("joint", "steps", 4000) as bar:
        for second in range(150):
            clock[0] = 100.0 + second
            bar.advance(10, "epoch 1/3 loss 2.100")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit(", ", 1)[0] for line in lines] == [
        "joint (steps): 610 of 4,000 (15 %), epoch 1/3 loss 2.100",
        "joint (steps): 1,210 of 4,000 (30 %), epoch 1/3 loss 2.100",
    ]
    assert lines[-1].endswith((" min left", "under a minute left"))


def test_users_choose_bars_silence_or_their_own() -> None:
    """True draws, False does not, anything else is taken as it is."""
    own = Recorder()
    with shown(True) as drawn, shown(False) as silent, shown(own) as given:
        assert isinstance(drawn, TerminalProgress)
        assert silent is SILENT
        assert given is own


class Terminal(StringIO):
    """A string that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.mark.parametrize("first", ["a bar", "a message"])
def test_a_note_stands_until_something_else_is_told(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """On a terminal it is erased once, by whatever comes first."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    LOADING.show("Loading ...")
    with TerminalProgress() as progress:
        assert screen.getvalue() == "Loading ..."  # nothing is to be told yet
        if first == "a bar":
            progress.start("reading", "images", 2)
        else:
            progress.say("hello")
    after = screen.getvalue().removeprefix("Loading ...")
    assert after.startswith("\r\x1b[2K")
    LOADING.clear()
    assert screen.getvalue() == f"Loading ...{after}"  # once is enough


def test_elsewhere_the_note_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A log has it once; other processes than the first have none."""
    LOADING.show("Loading ...")
    LOADING.clear()
    assert capsys.readouterr().err == "Loading ...\n"
    monkeypatch.setenv("RANK", "1")
    LOADING.show("Loading ...")
    assert capsys.readouterr().err == ""
