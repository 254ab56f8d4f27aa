"""A batch at a time gives what a loop over images would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from shallowdeep.data.augmentation import AUGMENTATIONS, Augmentation, Draw, augment, draw, get_augmentation
from shallowdeep.errors import ConfigurationError, UnknownNameError


def images(count: int = 16, size: int = 12) -> Tensor:
    """Return random images, channels last as splits deliver them."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    return pixels.permute(0, 3, 1, 2)


def numbers(augmentation: Augmentation, count: int = 16, size: int = 12, seed: int = 0) -> Draw:
    """Return the random numbers of one batch."""
    return draw(augmentation, count, size, torch.Generator().manual_seed(seed))


def slow_crop_and_flip(batch: Tensor, rows: Draw, padding: int) -> np.ndarray:
    """Return the windows, pixel by pixel."""
    source = batch.numpy()
    result = np.zeros_like(source)
    size = source.shape[2]
    for index in range(len(source)):
        top, left = (int(value) - padding for value in rows.offsets[index])
        for y in range(size):
            for x in range(size):
                column = size - 1 - x if rows.flips[index] else x
                if 0 <= top + y < size and 0 <= left + column < size:
                    result[index, :, y, x] = source[index, :, top + y, left + column]
    return result


def slow_recolour(batch: Tensor, rows: Draw) -> np.ndarray:
    """Return the recoloured images, one at a time, in double precision before rounding."""
    weights = np.array([0.299, 0.587, 0.114])
    results = []
    for image, factors in zip(batch.numpy().astype(float), rows.jitter.double().numpy(), strict=True):
        values = np.clip(image * factors[0], 0, 255)
        mean = np.tensordot(weights, values, 1).mean()
        values = np.clip(mean + (values - mean) * factors[1], 0, 255)
        grey = np.tensordot(weights, values, 1)
        results.append(np.clip(grey + (values - grey) * factors[2], 0, 255))
    return np.stack(results)


@pytest.mark.parametrize(("flip", "padding"), [(True, 3), (False, 3), (True, 0), (False, 11)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_crop_and_flip_equal_a_loop(flip: bool, padding: int, contiguous: bool) -> None:
    """Whatever the memory format; what lies outside is black."""
    augmentation = Augmentation(flip=flip, crop_padding=padding)
    batch = images().contiguous() if contiguous else images()
    rows = numbers(augmentation)
    result = augment(batch, rows, augmentation)
    assert (result.numpy() == slow_crop_and_flip(batch, rows, padding)).all()
    assert result.dtype == torch.uint8


def test_jitter_equals_a_loop() -> None:
    """Brightness, contrast, saturation, in this order, within half a grey level."""
    augmentation = Augmentation(flip=False, crop_padding=0, jitter=0.4)
    rows = numbers(augmentation)
    result = augment(images(), rows, augmentation).numpy().astype(float)
    assert np.abs(result - slow_recolour(images(), rows)).max() <= 0.51


def test_a_slice_of_the_draw_gives_a_slice_of_the_result() -> None:
    """Two devices see what one would."""
    augmentation = AUGMENTATIONS["tiny-imagenet"]
    rows = numbers(augmentation)
    whole = augment(images(), rows, augmentation)
    halves = [augment(images()[cut], rows[cut], augmentation) for cut in (slice(0, 7), slice(7, 16))]
    assert torch.equal(whole, torch.cat(halves))


def test_nothing_changes_without_augmentation_and_the_input_never_does() -> None:
    """The preset "none" is the identity."""
    batch = images()
    assert torch.equal(augment(batch, numbers(AUGMENTATIONS["none"]), AUGMENTATIONS["none"]), batch)
    before = batch.clone()
    augment(batch, numbers(AUGMENTATIONS["tiny-imagenet"]), AUGMENTATIONS["tiny-imagenet"])
    assert torch.equal(batch, before)


def test_draws_cover_their_ranges() -> None:
    """Half of the images are flipped, every offset occurs, factors stay within their bounds."""
    rows = numbers(Augmentation(flip=True, crop_padding=2, jitter=0.2), count=4000)
    assert 0.45 < rows.flips.float().mean() < 0.55
    assert set(rows.offsets.flatten().tolist()) == {0, 1, 2, 3, 4}
    assert 0.8 <= rows.jitter.min() < 0.81
    assert 1.19 < rows.jitter.max() <= 1.2


def test_switching_one_thing_off_leaves_the_others_alone() -> None:
    """All numbers are drawn, used or not."""
    with_flip, without = (numbers(Augmentation(flip=flip, crop_padding=3)) for flip in (True, False))
    assert torch.equal(with_flip.offsets, without.offsets)
    assert not without.flips.any()


def test_presets_scale_with_the_image() -> None:
    """An eighth of the side for photographs, whatever the size."""
    assert get_augmentation("cifar", 32).crop_padding == 4
    assert get_augmentation("standard", 224).crop_padding == 28
    assert get_augmentation("tiny-imagenet", 64) == AUGMENTATIONS["tiny-imagenet"]
    assert get_augmentation("digits", 32) == Augmentation(flip=False, crop_padding=2)
    with pytest.raises(UnknownNameError, match="name of a preset of augmentation, got 'cifa'; nearest: cifar"):
        get_augmentation("cifa", 32)


def test_nonsense_is_refused() -> None:
    """Values out of range, and a draw for another batch."""
    with pytest.raises(ConfigurationError, match="at least 0 pixels, got -1"):
        Augmentation(crop_padding=-1)
    with pytest.raises(ConfigurationError, match=r"jitter in \[0, 1\), got 1.0"):
        Augmentation(jitter=1.0)
    with pytest.raises(ConfigurationError, match="crop padding below 4 pixels, got 4"):
        numbers(Augmentation(crop_padding=4), size=4)
    with pytest.raises(ConfigurationError, match="random numbers for 16 images, got 3"):
        augment(images(), numbers(Augmentation(), count=3), Augmentation())
