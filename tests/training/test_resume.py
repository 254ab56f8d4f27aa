"""A run killed at any moment goes on to the weights, bit for bit, that an uninterrupted one gives."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shallowdeep.cli.main import run
from shallowdeep.training.state import save_state

LIMIT = 60  # seconds after which a child that does nothing fails the test

JOINT = ("--recipe", "joint", "--exits", "2", "--epochs", "4")
BEST = ("--recipe", "best", "--exits", "2", "--epochs", "4", "--optimizer", "muon", "--distillation", "0.3")
BACKBONE = ("--recipe", "backbone", "--epochs", "4")
IC_ONLY = ("--recipe", "ic-only", "--exits", "2", "--epochs", "4", "--views", "2")


@pytest.fixture(scope="module")
def children() -> Any:  # noqa: ANN401 - multiprocessing's context, a class without a public name
    """Processes forked from one that has imported torch and done nothing with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shallowdeep.workflows.train", "shallowdeep.cli.main"])
    return context


@pytest.fixture
def killed(children: Any, workplace: Path) -> Callable[..., bool]:  # noqa: ANN401 - see `children`
    """Start a training in a child, and kill it (SIGKILL) as soon as a condition holds."""

    def start_and_kill(moment: Callable[[], bool], *arguments: object) -> bool:
        (workplace / "delay").write_text("0.03")
        child = children.Process(target=run, args=([str(argument) for argument in arguments],))
        child.start()
        deadline = time.monotonic() + LIMIT
        while child.is_alive() and not moment() and time.monotonic() < deadline:
            time.sleep(0.002)
        alive = bool(child.is_alive())
        child.kill()
        child.join()
        (workplace / "delay").unlink()
        return alive

    return start_and_kill


def epochs_done(directory: str) -> int:
    """Lines of a run's history."""
    path = Path(directory) / "history.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def same_weights(one: str, other: str) -> bool:
    """Whether two runs saved the same bits under the same names."""
    a, b = (load_file(Path(directory) / "model.safetensors") for directory in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def command(workplace: Path, out: str, *arguments: str) -> list[str]:
    """A `train` command on the tiny images, with the network that a file can slow down."""
    model = [] if "--init" in arguments else ["--model", "tiny_nets:hindered"]
    data = ["--data", str(workplace / "images"), "--batch-size", "16", "--threads", "1"]  # bits depend on their number
    return ["train", *data, *model, *arguments, "--out", out, "--resume"]


@pytest.mark.parametrize("arguments", [BACKBONE, JOINT, BEST], ids=["backbone", "joint", "best"])
def test_killed_in_two_epochs(killed: Callable[..., bool], workplace: Path, arguments: tuple[str, ...]) -> None:
    """Killed in the second epoch and in the third, it ends where the uninterrupted run does."""
    for epoch in (1, 2):
        assert killed(lambda epoch=epoch: epochs_done("killed") == epoch, *command(workplace, "killed", *arguments))
    assert not Path("killed/model.json").exists()
    assert run(command(workplace, "killed", *arguments)) == 0
    assert run(command(workplace, "whole", *arguments)) == 0
    assert same_weights("killed", "whole")
    assert epochs_done("killed") == epochs_done("whole") == 4
    assert sorted(p.name for p in Path("killed").iterdir()) == sorted(p.name for p in Path("whole").iterdir())


def test_killed_while_internal_classifiers_train(killed: Callable[..., bool], workplace: Path) -> None:
    """Killed while features are cached and after an epoch of heads, `ic-only` ends where the uninterrupted run does."""
    assert run(command(workplace, "start", *BACKBONE)) == 0
    arguments = (*IC_ONLY, "--init", "start", "--trust")
    assert killed(Path("killed/features-train.bin").exists, *command(workplace, "killed", *arguments))
    killed(lambda: epochs_done("killed") >= 1, *command(workplace, "killed", *arguments))
    assert run(command(workplace, "killed", *arguments)) == 0
    assert run(command(workplace, "whole", *arguments)) == 0
    assert same_weights("killed", "whole")
    assert not list(Path("killed").glob("features-*"))


def test_killed_in_both_phases(killed: Callable[..., bool], workplace: Path) -> None:
    """Killed in the backbone's phase and in the heads', a run of two phases ends where the uninterrupted one does."""
    arguments = (*IC_ONLY, "--train-backbone")
    assert killed(lambda: epochs_done("killed") == 2, *command(workplace, "killed", *arguments))
    assert killed(lambda: epochs_done("killed") >= 16, *command(workplace, "killed", *arguments))
    assert run(command(workplace, "killed", *arguments)) == 0
    assert run(command(workplace, "whole", *arguments)) == 0
    assert same_weights("killed", "whole")
    assert epochs_done("killed") == epochs_done("whole") == 20


def test_killed_in_every_part_of_mixed(killed: Callable[..., bool], workplace: Path) -> None:
    """Killed in the backbone's phase, between the phases and in the joint one, it ends as the uninterrupted run."""
    arguments = ("--recipe", "mixed", "--exits", "2", "--epochs", "5", "--cascade")
    for epoch in (1, 3, 4):  # three for the backbone, two joint ones
        assert killed(lambda epoch=epoch: epochs_done("killed") == epoch, *command(workplace, "killed", *arguments))
    assert run(command(workplace, "killed", *arguments)) == 0
    assert run(command(workplace, "whole", *arguments)) == 0
    assert same_weights("killed", "whole")
    phases = [json.loads(line)["phase"] for line in Path("whole/history.jsonl").read_text().splitlines()]
    assert phases == ["backbone"] * 3 + ["joint"] * 2


def test_killed_at_any_moment(killed: Callable[..., bool], workplace: Path) -> None:
    """Killed again and again, after ever longer times, a run loses nothing but time."""
    patience = 0.1
    while True:
        limit = time.monotonic() + patience
        if not killed(lambda limit=limit: time.monotonic() > limit, *command(workplace, "killed", *JOINT)):
            break
        patience *= 1.3
    assert run(command(workplace, "killed", *JOINT)) == 0
    assert run(command(workplace, "whole", *JOINT)) == 0
    assert same_weights("killed", "whole")


def test_what_a_kill_leaves_half_written_does_no_harm(workplace: Path, killed: Callable[..., bool]) -> None:
    """Temporary files and a history shorter than the state are mended when the run goes on."""
    assert killed(lambda: epochs_done("killed") == 2, *command(workplace, "killed", *JOINT))
    Path("killed/.training.safetensors.0123abcd.safetensors").write_bytes(b"half a sta")
    Path("killed/.tmpabcdef").write_bytes(b"half a sta")
    Path("killed/history.jsonl").write_text("")
    assert run(command(workplace, "killed", *JOINT)) == 0
    assert run(command(workplace, "whole", *JOINT)) == 0
    assert same_weights("killed", "whole")
    assert epochs_done("killed") == 4
    assert not [path.name for path in Path("killed").iterdir() if path.name.startswith(".")]


def test_killed_in_the_final_save(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the last epoch and before the network is saved, a run only has to save it."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shallowdeep.training.run.write_network", stop)
        assert run(command(workplace, "killed", *JOINT)) == 130
    assert run(command(workplace, "killed", *JOINT)) == 0
    assert run(command(workplace, "whole", *JOINT)) == 0
    assert same_weights("killed", "whole")


def test_resuming_keeps_the_number_of_cached_views(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are as many as the run began with; where they no longer fit it stops instead of training otherwise."""
    assert run(command(workplace, "start", *BACKBONE)) == 0
    arguments = command(workplace, "killed", *IC_ONLY, "--init", "start", "--trust")

    def save_and_stop(*values: Any) -> None:  # noqa: ANN401 - passed on
        save_state(*values)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shallowdeep.training.run.save_state", save_and_stop)
        assert run(arguments) == 130
    with monkeypatch.context() as patch:
        patch.setattr("shallowdeep.training.caching.plan_cache", lambda *_, **__: None)
        assert run(arguments) == 2
    assert run(arguments) == 0
