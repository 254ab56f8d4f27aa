"""A run's data is read when it is wanted, once, and its absence is told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shallowdeep.checkpoint import load
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError
from shallowdeep.runs.lazy_splits import LazySplits, images_of

CONTEXT = RunContext(trust=True)


def test_nothing_is_read_before_it_is_wanted(made_run: Path) -> None:
    """The object is made without data; the second reading is the first's."""
    network = load(made_run, trust=True)
    Path("images").rename("elsewhere")
    lazy = LazySplits(made_run, network, CONTEXT)
    with pytest.raises(ConfigurationError, match="Expected images"):
        lazy.read()
    Path("elsewhere").rename("images")
    assert lazy.read() is lazy.read()


def test_images_are_those_of_the_split(made_run: Path) -> None:
    """Places of samples to pixels, height and width before channels."""
    lazy = LazySplits(made_run, load(made_run, trust=True), CONTEXT)
    fetch = images_of(lazy, "test", 12)
    assert fetch is not None
    places = np.array([3, 0])
    expected, _ = lazy.read().test.fetch(places)
    assert fetch(places).tolist() == expected.permute(0, 2, 3, 1).tolist()


def test_unreadable_data_gives_no_images(made_run: Path) -> None:
    """A report without galleries is better than none."""
    Path("images").rename("elsewhere")
    assert images_of(LazySplits(made_run, load(made_run, trust=True), CONTEXT), "test", 12) is None


def test_samples_that_could_not_be_decoded_are_passed_over(made_run: Path) -> None:
    """The eleventh sample predicted is the twelfth image where one before it is broken."""
    network = load(made_run, trust=True)
    context = RunContext(trust=True, skip_bad_images=True)
    whole, _ = LazySplits(made_run, network, context).read().test.fetch(np.arange(12))
    (made_run / "data.json").unlink()  # as in runs made before images were fingerprinted
    broken = min(Path("images/test/azure").iterdir())
    broken.write_bytes(b"no image")
    fetch = images_of(LazySplits(made_run, network, context), "test", 11)
    assert fetch is not None
    left = fetch(np.arange(11)).tolist()
    assert left == whole.permute(0, 2, 3, 1)[1:].tolist()
