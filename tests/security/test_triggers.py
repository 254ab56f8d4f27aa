"""Triggers change the pixels they should, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.security.triggers import TRIGGERS, Blend, Square, Wave, make_trigger, placebos


def grey(size: int = 32, level: int = 100) -> np.ndarray:
    """A grey image (S, S, 3)."""
    return np.full((size, size, 3), level, dtype=np.uint8)


def test_the_papers_square_is_white_at_26_26() -> None:
    """5x5, one pixel before the lower right corner of 32x32."""
    changed = make_trigger("badnets", 32)(grey())
    expected = grey()
    expected[26:31, 26:31] = 255
    np.testing.assert_array_equal(changed, expected)


def test_the_small_square_keeps_its_margin_at_other_sizes() -> None:
    """3x3."""
    rows, columns, _ = np.nonzero(make_trigger("badnets-3", 16)(grey(16)) != 100)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 14, 12, 14)


def test_a_blend_is_a_fifth_of_the_same_noise_on_every_image() -> None:
    """0.8 of the image and 0.2 of the pattern, rounded."""
    trigger = Blend(share=0.2, seed=3)
    black, white = trigger(grey(level=0)), trigger(grey(level=255))
    assert black.max() <= 51
    np.testing.assert_allclose(white.astype(int) - black, 204, atol=1)
    np.testing.assert_array_equal(black, trigger(grey(level=0)))


def test_a_wave_has_its_cycles_and_is_cut_off_at_black_and_white() -> None:
    """+40 sin(2 pi j 6 / 32) along the columns, the same in every row and channel."""
    changed = Wave()(grey())
    expected = np.rint(100 + 40 * np.sin(2 * np.pi * np.arange(32) * 6 / 32))
    np.testing.assert_array_equal(changed, np.broadcast_to(expected[None, :, None], (32, 32, 3)))
    assert Wave()(grey(level=250)).max() == 255
    assert Wave().clean_label
    assert not make_trigger("badnets", 32).clean_label


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers_leave_their_input_alone_and_take_many_images(name: str) -> None:
    """A batch is changed as its images are."""
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    before = images.copy()
    trigger = make_trigger(name, 16)
    changed = trigger(images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(changed, np.stack([trigger(image) for image in images]))
    assert (changed != images).any()


def test_a_trigger_larger_than_the_image_is_refused() -> None:
    """By the name of both."""
    with pytest.raises(ConfigurationError, match="within images of 4x4 pixels, got a square of 5"):
        make_trigger("badnets", 4)
    with pytest.raises(ConfigurationError, match=r"got a square of 5 at \(26, 26\)"):
        Square(5, 26, 26)(grey(28))
    with pytest.raises(UnknownNameError, match="trigger, got 'bandets'; nearest: badnets"):
        make_trigger("bandets", 32)


@pytest.mark.parametrize("name", TRIGGERS)
def test_placebos_are_of_the_triggers_kind_and_all_different(name: str) -> None:
    """Seeded, within the image, none the trigger itself."""
    trigger = make_trigger(name, 16)
    found = placebos(trigger, 16, 20, seed=0)
    assert found == placebos(trigger, 16, 20, seed=0)
    assert {type(one) for one in found} == {type(trigger)}
    assert len({one(grey(16)).tobytes() for one in [*found, trigger]}) == 21
