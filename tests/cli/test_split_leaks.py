"""No image that a network was trained on may be among those it is evaluated by."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Shell = Callable[..., tuple[int, str, str]]
Training = Callable[..., dict[str, Any]]
SPLIT = "Expected images split as start was trained on it, got another split"


def refused(shell: Shell, *arguments: object) -> str:
    """The one line of a command that must end with status 2."""
    status, output, errors = shell(*arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    return errors


def test_a_backbone_is_not_taken_over_on_another_split_of_its_data(
    trained: Training, shell: Shell, workplace: Path
) -> None:
    """Another seed or fraction on the same images is refused; the same split, and other data, are not."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    heads = ("train", "--data", "images", "--init", "start", "--trust", "--recipe", "ic-only", "--out", "heads")
    assert SPLIT in refused(shell, *heads, "--seed", 1)
    assert SPLIT in refused(shell, *heads, "--calibration-fraction", 0.3)
    assert "split as start was trained on it" in refused(
        shell, *heads[:2], workplace / "images", *heads[3:], "--seed", 1
    )
    trained("heads", "--init", "start", "--trust", "--recipe", "ic-only", "--epochs", 1)
    shutil.copytree("images", "elsewhere")
    status, _, _ = shell(*heads[:2], "elsewhere", *heads[3:-1], "moved", "--seed", 1, "--epochs", 1)
    assert status == 0


def test_changed_images_are_noticed(trained: Training, shell: Shell) -> None:
    """A run is neither evaluated nor resumed on a folder that has gained an image since: the cut would differ."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    shutil.copy("images/train/azure/000.png", "images/train/azure/zzz.png")
    assert SPLIT in refused(shell, "evaluate", "start", "--trust")
    Path("start/model.json").unlink()  # as if it had not come to its end
    assert SPLIT in refused(shell, "train", "--out", "start", "--resume", "--trust")


def test_replaced_images_are_noticed(trained: Training, shell: Shell) -> None:
    """Another copy of the data, with the same labels in the same places, does not pass for the old one."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    shutil.copy("images/train/brick/001.png", "images/train/brick/004.png")
    replaced = "Expected the images that start was trained on in images, got others with the same labels"
    assert replaced in refused(shell, "evaluate", "start", "--trust")
    heads = ("train", "--data", "images", "--init", "start", "--trust", "--recipe", "ic-only", "--out", "heads")
    assert replaced in refused(shell, *heads)
