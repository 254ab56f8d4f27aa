"""Arguments of ``train`` that take over a RUN's backbone without mixing its splits."""

from __future__ import annotations

from pathlib import Path

from shallowdeep.data.sources.registry import DATASET_NAMES
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.paths import shown

_CUT_BY = {
    "seed": "--seed", "calibration_fraction": "--calibration-fraction", "test_fraction": "--test-fraction",
}  # fmt: skip


def init_arguments(run: Path, config: TrainConfig, recipe: str) -> list[str]:
    """Arguments of ``train`` for the backbone of a run on the same split of the same data; not quoted.

    Args:
        run: whose backbone is taken over.
        config: its settings, with ``data`` where that is now. Settings at their defaults are left out.
        recipe: of the new training.
    """
    data = shown(config.data)
    if data != config.data and data in DATASET_NAMES:
        data = f"./{data}"  # a folder that is called as a dataset
    found = ["--init", str(run), "--recipe", recipe, "--data", data]
    default = TrainConfig(data=config.data)
    for name, option in _CUT_BY.items():
        if getattr(config, name) != getattr(default, name):
            found += [option, str(getattr(config, name))]
    return [*found, "--skip-bad-images"] if config.skip_bad_images else found
