"""What a command tells to run next can be pasted into a shell, and works."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shallowdeep.cli.next_command import next_command
from shallowdeep.runs.config import read_config

Shell = Callable[..., tuple[int, str, str]]
Training = Callable[..., dict[str, Any]]


def told(text: str) -> list[str]:
    """The arguments of the command in the last line of what a command said."""
    last = text.splitlines()[-1]
    assert "Next: shallowdeep " in last
    return shlex.split(last.split("Next: shallowdeep ")[1])


def test_arguments_are_quoted() -> None:
    """Trust comes last; without data or trust nothing is added."""
    assert next_command("export", Path("my run"), "--out", "BUNDLE", trust=False) == (
        "shallowdeep export 'my run' --out BUNDLE"
    )
    assert next_command("calibrate", "run", trust=True, data="~/my [images]") == (
        "shallowdeep calibrate run --data '~/my [images]' --trust"
    )


def test_each_command_tells_one_that_works(shell: Shell, workplace: Path) -> None:
    """From a backbone to a calibrated network with code of the user's own, on a split of another seed."""
    assert workplace.is_dir()
    train = ("train", "--data", "images", "--model", "tiny_nets:plain", "--recipe", "backbone", "--epochs", 1,
             "--batch-size", 16, "--seed", 5, "--calibration-fraction", 0.4, "--out", "a [b] c")  # fmt: skip
    status, output, errors = shell(*train)
    assert status == 0, errors
    assert output.splitlines()[-1] == "Saved in a [b] c. Next: shallowdeep evaluate 'a [b] c' --trust"
    status, _, errors = shell(*told(output))
    assert status == 0
    assert told(errors) == [
        "train", "--init", "a [b] c", "--recipe", "ic-only", "--data", "images", "--seed", "5",
        "--calibration-fraction", "0.4", "--out", "RUN", "--trust",
    ]  # fmt: skip
    status, output, errors = shell(*told(errors), "--epochs", 1, "--batch-size", 16)
    assert status == 0, errors
    status, _, errors = shell(*told(output))
    assert (status, told(errors)) == (0, ["calibrate", "RUN", "--budget", "0.5", "--trust"])
    status, _, errors = shell(*told(errors))
    assert status == 0, errors


def test_moved_data_is_named_again(shell: Shell, trained: Training, workplace: Path) -> None:
    """Where the run's own data was named; of other data the place that nobody knows stays open."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    trained("run", "--recipe", "joint", "--exits", 2, "--epochs", 1)
    config = read_config(workplace / "run" / "config.toml")
    assert config.data == str(workplace / "images")
    calibrated = ["calibrate", "run", "--budget", "0.5"]
    status, _, errors = shell("evaluate", "run", "--data", "others", "--trust")
    assert (status, told(errors)) == (0, [*calibrated, "--trust"])  # the run's own is where it was
    Path("images").rename("moved images")
    for data, named in (("moved images", "moved images"), ("others", "DATA")):
        status, _, errors = shell("evaluate", "run", "--data", data, "--trust")
        assert (status, told(errors)) == (0, [*calibrated, "--data", named, "--trust"])
        status, _, errors = shell("evaluate", "start", "--data", data, "--trust")
        assert status == 0
        assert told(errors)[5:7] == ["--data", named]
        if named != "DATA":
            assert shell(*told(errors), "--epochs", 1, "--batch-size", 16)[0] == 0
            assert shell(*calibrated, "--data", named, "--trust")[0] == 0


def test_networks_of_this_package_need_no_trust(shell: Shell, workplace: Path) -> None:
    """Then it is not asked for."""
    assert workplace.is_dir()
    status, output, _ = shell("train", "--data", "images", "--model", "resnet20", "--recipe", "backbone", "--epochs", 1,
                              "--image-size", 16, "--out", "run")  # fmt: skip
    assert (status, told(output)) == (0, ["evaluate", "run"])
    status, _, errors = shell(*told(output))
    assert status == 0
    assert told(errors) == ["train", "--init", "run", "--recipe", "ic-only", "--data", "images", "--out", "RUN"]
