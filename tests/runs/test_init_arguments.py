"""How a run's backbone is taken over on the split it was trained on."""

from __future__ import annotations

from pathlib import Path

from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.init_arguments import init_arguments


def test_only_what_is_no_default_is_named(workplace: Path) -> None:
    """Data is named as it can be typed again: from the working directory, and no folder as a dataset."""
    run = Path("runs/a")
    plain = init_arguments(run, TrainConfig(data="mnist5k"), "ic-only")
    assert plain == ["--init", "runs/a", "--recipe", "ic-only", "--data", "mnist5k"]
    config = TrainConfig(
        data=str(workplace / "images"), seed=2, calibration_fraction=0.3, test_fraction=0.5, skip_bad_images=True
    )
    assert init_arguments(run, config, "joint") == [
        "--init", "runs/a", "--recipe", "joint", "--data", "images", "--seed", "2", "--calibration-fraction", "0.3",
        "--test-fraction", "0.5", "--skip-bad-images",
    ]  # fmt: skip
    assert init_arguments(run, TrainConfig(data=str(workplace / "cifar10")), "joint")[-1] == "./cifar10"
