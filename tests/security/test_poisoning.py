"""Poisoned training data: who is poisoned, with what, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from shallowdeep.data.decoded import DecodedImages
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import ConfigurationError
from shallowdeep.security.poisoning import Poisoning, poisoned, triggered
from shallowdeep.security.triggers import Square, Trigger, Wave

CLASSES = ("ape", "bee", "cat")
LABELS = np.arange(30) % 3
SQUARE = Square(2, 5, 5)


def split(*, resident: bool = True) -> ImageSplit:
    """Thirty grey images of 8 pixels, their labels taking turns."""
    store = ArrayStore(np.full((30, 8, 8), 100, dtype=np.uint8), "greys")
    decoded = DecodedImages(store, 8) if resident else None
    return ImageSplit("train", store, np.arange(30), LABELS, size=8, decoded=decoded)


def carrying(part: ImageSplit) -> np.ndarray:
    """Which images are no longer all grey."""
    images, _ = part.fetch(np.arange(len(part)))
    return (images != 100).flatten(1).any(1).numpy()


@pytest.mark.parametrize("resident", [True, False])
def test_a_share_of_all_images_but_the_targets_is_changed_and_relabelled(resident: bool) -> None:
    """Of 30 images a fifth: 6, none of them of the target class before, all of them after."""
    part = split(resident=resident)
    changed = poisoned(part, Poisoning(SQUARE, 1, 0.2, 0), CLASSES)
    victims = carrying(changed)
    assert victims.sum() == 6
    assert (LABELS[victims] != 1).all()
    np.testing.assert_array_equal(changed.labels.numpy()[victims], 1)
    np.testing.assert_array_equal(changed.labels.numpy()[~victims], LABELS[~victims])
    assert not carrying(part).any()
    images, _ = changed.fetch(np.flatnonzero(victims)[:1])
    assert (images[0, :, 5:7, 5:7] == 255).all()


def test_clean_labels_stay_and_only_the_target_class_is_changed() -> None:
    """A wave on a tenth of all images: 3 of the ten of the target class."""
    changed = poisoned(split(), Poisoning(Wave(), 2, 0.1, 0), CLASSES)
    assert carrying(changed).sum() == 3
    assert (LABELS[carrying(changed)] == 2).all()
    np.testing.assert_array_equal(changed.labels.numpy(), LABELS)


def test_the_seed_decides_who() -> None:
    """Another seed, other victims; the same seed, the same."""
    first, again, other = (Poisoning(SQUARE, 1, 0.2, seed).victims(LABELS, CLASSES) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_triggered_images_are_all_but_the_targets_under_their_true_labels() -> None:
    """Twenty of thirty."""
    shown = triggered(split(), SQUARE, 1)
    assert shown.name == "triggered train"
    assert carrying(shown).all()
    assert shown.labels.tolist() == LABELS[LABELS != 1].tolist()


@pytest.mark.parametrize(
    ("trigger", "target", "ratio", "message"),
    [
        (SQUARE, 3, 0.1, r"Expected a target class in \[0, 2\], got 3"),
        (SQUARE, -1, 0.1, r"Expected a target class in \[0, 2\], got -1"),
        (SQUARE, 1, 0.0, r"Expected a poison ratio in \(0, 1\), got 0.0"),
        (SQUARE, 1, 1.0, r"Expected a poison ratio in \(0, 1\), got 1.0"),
        (SQUARE, 1, 0.01, "that takes one of 30 images, got 0.01"),
        (SQUARE, 1, 0.7, "of 20 images that can be poisoned it takes 21, and leaves none in ape"),
        (Wave(), 2, 0.34, "of 10 images that can be poisoned it takes 10, and leaves none in cat"),
    ],
)
def test_what_cannot_be_poisoned_is_refused(trigger: Trigger, target: int, ratio: float, message: str) -> None:
    """In one line."""
    with pytest.raises(ConfigurationError, match=message):
        Poisoning(trigger, target, ratio, 0).victims(LABELS, CLASSES)


def test_the_toolbox_leaves_the_logging_of_the_process_alone() -> None:
    """In a process of its own: handlers of other packages are not closed when it is imported."""
    program = (
        "import logging\n"
        "from shallowdeep.security.poisoning import toolbox\n"
        "class Kept(logging.Handler):\n"
        "    def close(self): print('closed')\n"
        "logging.getLogger('mine').addHandler(Kept())\n"
        "toolbox('art.attacks.poisoning')\n"
        "print('imported', flush=True)\n"
        "import os; os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "imported\n"
