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
    """The one line of a command that must end with status 2, whether or not it had to load something first."""
    status, output, errors = shell(*arguments)
    errors = errors.removeprefix("Loading ...\n")
    assert (status, output, errors.count("\n")) == (2, "", 1)
    return errors


def test_a_backbone_is_not_taken_over_on_another_split_of_its_data(
    trained: Training, shell: Shell, workplace: Path
) -> None:
    """Another seed or fraction on the same images is refused, also of a copy; the same split or other data is not."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    heads = ("train", "--data", "images", "--init", "start", "--trust", "--recipe", "ic-only", "--out", "heads")
    assert SPLIT in refused(shell, *heads, "--seed", 1)
    assert SPLIT in refused(shell, *heads, "--calibration-fraction", 0.3)
    assert "split as start was trained on it" in refused(
        shell, *heads[:2], workplace / "images", *heads[3:], "--seed", 1
    )
    trained("heads", "--init", "start", "--trust", "--recipe", "ic-only", "--epochs", 1)
    other = "split as start was trained on it, got another split"
    shutil.copytree("images", "elsewhere")
    for place in ("elsewhere", "moved"):
        assert f"Expected {place} {other}" in refused(shell, *heads[:2], place, *heads[3:-1], "again", "--seed", 1)
        Path("elsewhere").rename("moved") if place == "elsewhere" else shutil.rmtree("images")
    assert f"Expected moved {other}" in refused(shell, *heads[:2], "moved", *heads[3:-1], "again", "--seed", 1)
    for place, seed in (("moved", 0), ("others", 1)):
        status, _, errors = shell(*heads[:2], place, *heads[3:-1], f"on-{place}", "--seed", seed, "--epochs", 1)
        assert status == 0, errors


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
