"""A small finished run, for tests of what reads one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import NETWORKS, write_images

from shallowdeep.artifacts import CONFIG
from shallowdeep.context import RunContext
from shallowdeep.runs.config import TrainConfig, read_config, write_config
from shallowdeep.workflows.train import train_run

TRUSTING = RunContext(trust=True)
EXITS, TEST, TRAIN = 3, 12, 30  # of the run


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, trained once for all tests."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "tiny_nets.py").write_text(NETWORKS)
    write_images(folder / "images", "train", 60)
    write_images(folder / "images", "test", 12)
    config = TrainConfig(
        data="images", model="tiny_nets:plain", recipe="joint", fractions=(1 / 3, 2 / 3), epochs=2, batch_size=16,
        calibration_fraction=0.5,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        train_run(config, Path("run"), context=TRUSTING)
    return folder / "run"


@pytest.fixture
def made_run(workplace: Path, kept_run: Path) -> Path:
    """`run` in the working directory: two internal classifiers, two epochs, half of the images held out."""
    shutil.copytree(kept_run, workplace / "run")
    config = replace(read_config(workplace / "run" / CONFIG), data=str(workplace / "images"))
    write_config(config, workplace / "run")  # as if it had been trained there
    return workplace / "run"
