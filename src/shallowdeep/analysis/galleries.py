"""Pictures of overthinking: samples, what every exit answers for them, and where it looks."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.analysis.gradcam import exit_maps, overlay
from shallowdeep.analysis.overthinking import last_early_right
from shallowdeep.analysis.samples import (
    Indices,
    destructive_samples,
    simple_and_complex,
    wasteful_samples,
)
from shallowdeep.data.image_rules import CHANNELS
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import max_probability
from shallowdeep.sdn.network import ShallowDeepNetwork

Pixels = NDArray[np.uint8]
FetchesSamples = Callable[[Indices], NDArray[Any]]
"""Some samples, given by (n,) integers in [0, N): images (n, S, S, 3) uint8, or (n,) texts as objects."""

_AXES = 4  # of images


@dataclass(frozen=True)
class ExitAnswer:
    """What one exit answers for a sample.

    Attributes:
        exit: its name.
        answer: name of the class.
        right: whether that is the label; None where it is not known.
        confidence: max softmax, in [0, 1]; None where it is not known.
    """

    exit: str
    answer: str
    right: bool | None
    confidence: float | None


@dataclass(frozen=True)
class HeatMap:
    """Where the network looks, laid over a sample's image.

    Attributes:
        caption: at which exit, and for which answer.
        image: PNG bytes.
    """

    caption: str
    image: bytes


@dataclass(frozen=True)
class GallerySample:
    """One sample of a gallery.

    Attributes:
        image: PNG or JPEG bytes; None where there are none.
        label: name of the true class; None where it is not known.
        answers: E of them, in the order of the exits.
        maps: none, or one for each exit that is explained.
        caption: what is to be seen.
        text: itself, where it is a text; else None.
    """

    image: bytes | None
    label: str | None
    answers: tuple[ExitAnswer, ...]
    maps: tuple[HeatMap, ...]
    caption: str
    text: str | None = None


@dataclass(frozen=True)
class Gallery:
    """Samples that show one thing.

    Attributes:
        title: a few words.
        text: one sentence.
        kind: ``destructive``, ``wasteful`` or ``simple-complex``.
        samples: what is shown.
    """

    title: str
    text: str
    kind: str
    samples: tuple[GallerySample, ...]


class Galleries(NamedTuple):
    """What is to be shown, and why it is less than could be.

    Args:
        galleries: those that have samples.
        note: a sentence on maps that could not be made, or None.
    """

    galleries: tuple[Gallery, ...]
    note: str | None


def galleries(
    network: ShallowDeepNetwork | None,
    pred: ExitPredictions,
    images: FetchesSamples | None,
    *,
    class_names: Sequence[str],
    exit_names: Sequence[str],
    preprocessing: Preprocessing | None,
    count: int = 12,
) -> Galleries:
    """Return galleries of destructive, of wasteful, and of simple against complex samples; those without any left out.

    Destructive samples come with Grad-CAM maps of the last early exit that was right and of the final exit, each for
    its own answer, where network, images and preprocessing are given and the network is convolutional.

    Args:
        network: that made the predictions, or None.
        pred: predictions of all exits on one split.
        images: fetches the split's images or texts, or None for galleries without them.
        class_names: C of them.
        exit_names: E of them.
        preprocessing: what turns the images into the network's input, or None.
        count: samples in a gallery, at most.

    Raises:
        DataError: other images come back than were asked for.
    """
    shown = _Shown(pred, images, class_names, exit_names)
    destructive, note = _destructive(shown, count, network, preprocessing)
    found = [destructive, _wasteful(shown, count), _simple_and_complex(shown, count)]
    return Galleries(tuple(gallery for gallery in found if gallery.samples), note)


class _Shown:
    """Predictions, names and images in the form that galleries hold."""

    def __init__(
        self,
        pred: ExitPredictions,
        images: FetchesSamples | None,
        class_names: Sequence[str],
        exit_names: Sequence[str],
    ) -> None:
        self.pred, self.images, self.class_names, self.exit_names = pred, images, class_names, exit_names
        self.labels = to_numpy(pred.labels)  # (N,)
        self.answers = to_numpy(pred.logits).argmax(axis=-1)  # (E, N)
        self.correct = self.answers == self.labels
        self.right_at = last_early_right(self.correct)  # (N,)
        self.confidence = to_numpy(max_probability(pred.logits))  # (E, N)

    def pixels(self, samples: Indices) -> Pixels | None:
        """(n, H, W, C) uint8 of some samples; None where there are no images or no samples."""
        if self.images is None or not len(samples):
            return None
        pixels = self.images(samples)
        if pixels.dtype == object:
            return None
        if (
            pixels.dtype != np.uint8
            or pixels.shape[:1] != samples.shape
            or pixels.ndim != _AXES
            or pixels.shape[3] not in CHANNELS
        ):
            raise DataError(
                f"Expected {len(samples)} uint8 images (H, W, 1, 3 or 4), got {pixels.dtype} {pixels.shape}"
            )
        return pixels

    def texts(self, samples: Indices) -> list[str | None]:
        """Some samples as texts; None each where they are none."""
        found = self.images(samples) if self.images is not None and len(samples) else None
        return [None] * len(samples) if found is None or found.dtype != object else found.tolist()

    def entries(
        self,
        samples: Indices,
        captions: Sequence[str],
        pixels: Pixels | None,
        maps: Sequence[Sequence[HeatMap]] | None = None,
    ) -> tuple[GallerySample, ...]:
        """A gallery's ``samples``."""
        texts = self.texts(samples) if pixels is None else [None] * len(samples)
        return tuple(
            GallerySample(
                image=None if pixels is None else _png(pixels[place]),
                label=self.class_names[self.labels[sample]],
                answers=tuple(self._answer(exit_, sample) for exit_ in range(self.pred.exits)),
                maps=() if maps is None else tuple(maps[place]),
                caption=captions[place],
                text=texts[place],
            )
            for place, sample in enumerate(samples)
        )

    def _answer(self, exit_: int, sample: int) -> ExitAnswer:
        return ExitAnswer(
            exit=self.exit_names[exit_],
            answer=self.class_names[self.answers[exit_, sample]],
            right=bool(self.correct[exit_, sample]),
            confidence=float(self.confidence[exit_, sample]),
        )


def _destructive(
    shown: _Shown, count: int, network: ShallowDeepNetwork | None, preprocessing: Preprocessing | None
) -> tuple[Gallery, str | None]:
    """The gallery of samples that an early exit had right and the final one has wrong, and the note on its maps."""
    samples = destructive_samples(shown.pred, count)
    total = int(((shown.right_at >= 0) & ~shown.correct[-1]).sum())
    pixels, maps, note = shown.pixels(samples), None, None
    if network is not None and pixels is not None and preprocessing is not None:
        maps, note = _maps(network, shown, samples, pixels, preprocessing)
    captions = [
        f"Right at {shown.exit_names[k]}, {shown.class_names[answer]} at the end"
        for k, answer in zip(shown.right_at[samples], shown.answers[-1, samples], strict=True)
    ]
    gallery = Gallery(
        title="Right early, wrong at the end",
        text=f"Of {total:,} samples that an early exit had right and the final exit has wrong, "
        "the ones it was surest of, at most a third of them of one class.",
        kind="destructive",
        samples=shown.entries(samples, captions, pixels, maps),
    )
    return gallery, note


def _wasteful(shown: _Shown, count: int) -> Gallery:
    """The gallery of samples that the first exit and the final one have right."""
    samples = wasteful_samples(shown.pred, count)
    total, first = int((shown.correct[0] & shown.correct[-1]).sum()), shown.exit_names[0]
    return Gallery(
        title="Right at once, and computed to the end",
        text=f"Of {total:,} samples that {first} has right at {100 * float(shown.pred.costs[0]):.0f} % of the "
        "backbone's cost, and the final exit too, the surest of each class.",
        kind="wasteful",
        samples=shown.entries(samples, [f"Right at {first} and at the end"] * len(samples), shown.pixels(samples)),
    )


def _simple_and_complex(shown: _Shown, count: int) -> Gallery:
    """The gallery of one class's samples that the first exit has right, and that a late exit is the first to."""
    half = max(1, count // 2)
    pair = simple_and_complex(shown.pred, half)
    samples = np.concatenate([pair.simple, pair.complex])
    name = "" if pair.label is None else shown.class_names[pair.label]
    firsts = shown.correct[:, samples].argmax(axis=0)
    captions = [f"{'Complex' if k else 'Simple'}: first right at {shown.exit_names[k]}" for k in firsts]
    return Gallery(
        title=f"Simple and complex: {name}",
        text=f"Samples of {name} that {shown.exit_names[0]} has right, and samples of it that no exit has right "
        "before one of the last.",
        kind="simple-complex",
        samples=shown.entries(samples, captions, shown.pixels(samples)),
    )


def _maps(
    network: ShallowDeepNetwork,
    shown: _Shown,
    samples: Indices,
    pixels: Pixels,
    preprocessing: Preprocessing,
) -> tuple[list[list[HeatMap]], str | None]:
    """Maps of each sample at the early exit that was right and at the final one, and the note on those refused."""
    device = next(network.parameters()).device
    inputs = preprocessing.normalize(torch.tensor(pixels, device=device).permute(0, 3, 1, 2))
    last, right_at = shown.pred.exits - 1, shown.right_at[samples]
    found: list[list[HeatMap]] = [[] for _ in samples]
    refused: dict[str, str] = {}
    for exit_ in [*np.unique(right_at), last]:
        places = np.arange(len(samples)) if exit_ == last else np.flatnonzero(right_at == exit_)
        answers = shown.answers[exit_, samples[places]]
        where = "the end" if exit_ == last else shown.exit_names[exit_]
        try:
            heats = exit_maps(network, inputs[torch.from_numpy(places)], int(exit_), torch.from_numpy(answers))
        except ConfigurationError as error:
            refused[where] = str(error)
            continue
        for place, answer, heat in zip(places, answers, heats.cpu().numpy(), strict=True):
            caption = f"at {where}, for {shown.class_names[answer]!r}"
            found[place].append(HeatMap(caption, _png(overlay(_colours(pixels[place]), heat))))
    if not refused:
        return found, None
    which = f" at {', '.join(refused)}" if any(found) else ""
    return found, f"No Grad-CAM maps{which}: {next(iter(refused.values()))}."


def _png(pixels: Pixels) -> bytes:
    """An image (H, W, C) uint8 as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(_colours(pixels)).save(buffer, format="png")
    return buffer.getvalue()


def _colours(pixels: Pixels) -> Pixels:
    """An image (H, W, C) of one, three or four channels as (H, W, 3), alpha left out."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
