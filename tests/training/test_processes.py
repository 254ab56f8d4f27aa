"""Two processes and one give the same weights, on a network without BatchNorm."""

from __future__ import annotations

import multiprocessing
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.texts import write_model, write_reviews

from shallowdeep.cli.main import run

CHILD = """
import os

os.environ.update(
    RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, OMP_NUM_THREADS="1"
)
from shallowdeep.cli.main import run

raise SystemExit(run(arguments))
"""


def command(workplace: Path, out: str, *arguments: str) -> list[str]:
    """A `train` command on the tiny images."""
    model = [] if "--init" in arguments else ["--model", "tiny_nets:plain"]
    data = ["--data", str(workplace / "images"), "--batch-size", "16", "--precision", "fp32"]
    return ["train", *data, *model, *arguments, "--out", out]


def largest_difference(one: str, other: str) -> float:
    """Between the weights of two runs."""
    a, b = (load_file(Path(directory) / "model.safetensors") for directory in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def in_two_processes(workplace: Path, arguments: list[str], status: int = 0) -> None:
    """Run a command in two processes that know of each other by what a launcher would set; both end with a status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = workplace / "child.py"
    script.write_text(CHILD)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shallowdeep.workflows.train", "shallowdeep.cli.main"])
    children = [
        context.Process(target=runpy.run_path, args=(str(script), {"rank": rank, "port": port, "arguments": arguments}))
        for rank in (0, 1)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        child.kill()
    assert [child.exitcode for child in children] == [status, status]


def test_accelerate_launch_gives_the_weights_of_one_process(workplace: Path) -> None:
    """`accelerate launch` with two processes trains `joint` to the same weights within 1e-5 and prints one document."""
    arguments = ("--recipe", "joint", "--exits", "2", "--epochs", "3")
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"]
    done = subprocess.run(
        [*launch, "-m", "shallowdeep", *command(workplace, "two", *arguments), "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"out"') == 1
    assert done.stderr.count("joint epoch 3/3") == 1
    assert run(command(workplace, "one", *arguments)) == 0
    assert largest_difference("one", "two") < 1e-5


@pytest.mark.parametrize("budget", ["1", "0"], ids=["cached", "through the backbone"])
def test_two_processes_train_the_same_internal_classifiers(workplace: Path, budget: str) -> None:
    """`ic-only` in two processes gives the same weights within 1e-5, with cached features and without."""
    assert run(command(workplace, "start", "--recipe", "backbone", "--epochs", "1")) == 0
    heads = ("--recipe", "ic-only", "--init", "start", "--trust", "--epochs", "3", "--views", "2")
    arguments = (*heads, "--exits", "2", "--cache-budget", budget)
    in_two_processes(workplace, command(workplace, "two", *arguments))
    assert run(command(workplace, "one", *arguments)) == 0
    assert largest_difference("one", "two") < 1e-5


def test_two_processes_train_the_same_transformer(workplace: Path) -> None:
    """On texts, of which each process has its half of every batch, padded to that half's longest."""
    model = write_model(workplace / "model", dropout=0.0)
    data = write_reviews(workplace / "reviews", 200)
    arguments = ["train", "--data", str(data), "--model", f"hf:{model}", "--recipe", "joint", "--epochs", "2"]
    arguments += ["--exits", "2", "--batch-size", "16", "--precision", "fp32", "--out"]
    in_two_processes(workplace, [*arguments, "two"])
    assert run([*arguments, "one"]) == 0
    assert largest_difference("one", "two") < 1e-5


def test_a_loss_that_breaks_in_one_process_stops_both(workplace: Path) -> None:
    """Neither waits for the other's gradients, and no weights are saved."""
    (workplace / "poison-1").touch()
    arguments = ["train", "--data", str(workplace / "images"), "--model", "tiny_nets:fragile", "--recipe", "joint"]
    in_two_processes(workplace, [*arguments, "--exits", "2", "--batch-size", "16", "--out", "broken"], status=2)
    assert not Path("broken/model.safetensors").exists()
