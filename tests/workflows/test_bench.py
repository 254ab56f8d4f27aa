"""The images that a bundle is timed on are real ones, of the split that its network has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.made_run import TRUSTING

from shallowdeep.calibration.objective import Objective
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import ConfigurationError, OutputError
from shallowdeep.inference.bundle import Bundle
from shallowdeep.workflows.bench import bench_bundle, real_images
from shallowdeep.workflows.calibrate import calibrate_run
from shallowdeep.workflows.export import export_run


@pytest.fixture
def bundle(made_run: Path, workplace: Path) -> Bundle:
    """Of the run, with a policy."""
    calibrate_run(made_run, Objective(budget=0.6), context=TRUSTING)
    return export_run(made_run, workplace / "bundle", context=TRUSTING)


def test_they_are_the_test_split_normalised(bundle: Bundle) -> None:
    """Each of the twelve once, in another order than class by class; the same order every time."""
    images, name = real_images(bundle, None)
    splits = load_dataset("images", image_size=16, seed=0, calibration_fraction=0.5)
    pixels, _ = splits.test.fetch(np.arange(12))
    expected = splits.preprocessing.normalize(pixels).numpy()
    assert name == "images"
    assert sorted(map(bytes, images)) == sorted(map(bytes, expected))
    assert not np.array_equal(images, expected)
    assert np.array_equal(real_images(bundle, None)[0], images)


def test_other_data_is_taken_whole(bundle: Bundle) -> None:
    """A folder without a test part gives all of its images; other classes are refused."""
    assert len(real_images(bundle, "others")[0]) == 30
    Path("others/train/azure").rename("others/train/zebra")
    with pytest.raises(ConfigurationError, match="zebra"):
        real_images(bundle, "others")


def test_a_directory_that_cannot_be_written_is_told_first(bundle: Bundle, workplace: Path) -> None:
    """Before minutes of measuring."""
    (workplace / "file").write_text("")
    with pytest.raises(OutputError, match="which may not be written"):
        bench_bundle(
            bundle.path, data=None, batch_sizes=[1], rounds=1, threads=1, out=workplace / "file/deeper",
            context=TRUSTING,
        )  # fmt: skip
