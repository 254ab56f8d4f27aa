"""Galleries: who is shown with what words, pictures and maps."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from shallowdeep.analysis.galleries import Galleries, galleries
from shallowdeep.analysis.gradcam import exit_maps, overlay
from shallowdeep.analysis.samples import Indices
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.documents import plain
from shallowdeep.errors import DataError
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork

SIZE = 8
PREPROCESSING = Preprocessing(SIZE, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
PIXELS = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3)).astype(np.uint8)
LABELS = [0, 1, 2, 2, 2, 0, 1]
ANSWERS = [
    [0, 0, 2, 2, 0, 1, 1],  # at the first exit
    [1, 1, 2, 2, 0, 1, 1],
    [1, 2, 2, 1, 2, 1, 1],  # at the end: 0, 1 and 3 are destructive, 2 and 6 wasteful, 4 is complex
]
SURE = [[3, 1, 5, 1, 1, 1, 2], [1, 2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]]


def predictions() -> ExitPredictions:
    """Seven samples of three classes at three exits."""
    logits = np.zeros((3, 7, 3), dtype=np.float32)
    for k, row in enumerate(ANSWERS):
        logits[k, np.arange(7), row] = SURE[k]
    return ExitPredictions(logits, np.array(LABELS), np.array([0.25, 0.6, 1.1]))


def fetch(samples: Indices) -> NDArray[np.uint8]:
    """Images of some samples."""
    return PIXELS[samples]


def made(network: ShallowDeepNetwork | None = None, count: int = 12, **changes: Any) -> Galleries:  # noqa: ANN401
    """Galleries of those samples."""
    settings: dict[str, Any] = {
        "class_names": ["cat", "dog", "horse"],
        "exit_names": ["one", "two", "final"],
        "preprocessing": PREPROCESSING,
    }
    images = changes.pop("images", fetch)
    return galleries(network, changes.pop("pred", predictions()), images, **settings | changes, count=count)


def decoded(png: bytes) -> NDArray[np.uint8]:
    """Pixels of a PNG file."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


class Tokens(nn.Module):
    """Patches as a token sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        x = torch.tanh(self.first(self.patches(x).flatten(2).transpose(1, 2)))
        output: Tensor = self.head(torch.tanh(self.second(x)).mean(1))
        return output


def network_of(backbone: nn.Module, at: list[str] | None = None) -> ShallowDeepNetwork:
    """With two internal classifiers."""
    torch.manual_seed(0)
    return convert(backbone, torch.zeros(1, 3, SIZE, SIZE), fractions=(0.4, 0.7), at=at)


def convolutional() -> ShallowDeepNetwork:
    """Three blocks and a head."""
    torch.manual_seed(0)
    layers = [layer for before in (3, 4, 4) for layer in (nn.Conv2d(before, 4, 3, padding=1), nn.ReLU(inplace=True))]
    return network_of(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))


def test_galleries_by_hand() -> None:
    """Three galleries with these samples in this order, and what is said of them."""
    found, note = made(images=None)
    assert note is None
    assert [gallery.kind for gallery in found] == ["destructive", "wasteful", "simple-complex"]
    shown = [[sample.caption for sample in gallery.samples] for gallery in found]
    assert shown[0] == [
        "Right at one, dog at the end",
        "Right at two, horse at the end",
        "Right at two, dog at the end",
    ]
    assert shown[1] == ["Right at one and at the end"] * 2
    assert shown[2] == [*["Simple: first right at one"] * 2, "Complex: first right at final"]
    assert [[sample.label for sample in gallery.samples] for gallery in found] == [
        ["cat", "dog", "horse"],
        ["horse", "dog"],
        ["horse"] * 3,
    ]
    assert found[0].text.startswith("Of 3 samples that an early exit had right")
    assert found[1].text.startswith("Of 2 samples that one has right at 25 % of the backbone's cost")
    assert found[2].title == "Simple and complex: horse"
    assert all(not s.maps and s.image is None for gallery in found for s in gallery.samples)
    first = found[0].samples[0].answers
    assert [answer.exit for answer in first] == ["one", "two", "final"]
    assert [answer.answer for answer in first] == ["cat", "dog", "dog"]
    assert [answer.right for answer in first] == [True, False, False]
    assert first[0].confidence == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    assert json.loads(json.dumps([asdict(gallery) for gallery in found])) == plain(
        found
    )  # Python's own types throughout


def test_images_are_those_of_the_samples() -> None:
    """Each picture is its sample's, pixel by pixel; without a network there are no maps and nothing to note."""
    found, note = made()
    assert note is None
    for gallery, samples in zip(found, ([0, 1, 3], [2, 6], [2, 3, 4]), strict=True):
        for sample, index in zip(gallery.samples, samples, strict=True):
            assert sample.image is not None
            assert np.array_equal(decoded(sample.image), PIXELS[index])
            assert sample.maps == ()


def test_destructive_maps() -> None:
    """Each has the map of its last right exit for the label, and of the end for the answer there."""
    network = convolutional()
    found, note = made(network)
    assert note is None
    for sample, index, early in zip(found[0].samples, (0, 1, 3), (0, 1, 1), strict=True):
        label, answer = LABELS[index], ANSWERS[-1][index]
        names = ("cat", "dog", "horse")
        expected = [f"at {('one', 'two')[early]}, for {names[label]!r}", f"at the end, for {names[answer]!r}"]
        assert [one.caption for one in sample.maps] == expected
        image = PREPROCESSING.normalize(torch.tensor(PIXELS[index : index + 1]).permute(0, 3, 1, 2))
        for one, exit_, class_ in zip(sample.maps, (early, 2), (label, answer), strict=True):
            heat = exit_maps(network, image, exit_, torch.tensor([class_]))[0].numpy()
            picture = decoded(one.image).astype(int)
            assert np.abs(picture - overlay(PIXELS[index], heat)).max() <= 1  # batches round otherwise
    assert all(not sample.maps for gallery in found[1:] for sample in gallery.samples)
    maps = [one.image for sample in found[0].samples for one in sample.maps]
    assert len(set(maps)) > 3


def test_token_network_is_noted() -> None:
    """Galleries come with pictures, without maps, and one sentence says why."""
    found, note = made(network_of(Tokens()))
    assert note is not None
    assert note.startswith("No Grad-CAM maps: Expected a convolutional network for Grad-CAM, got tokens at ")
    assert note.endswith(".")
    assert all(s.image is not None and s.maps == () for gallery in found for s in gallery.samples)


def test_missing_captum_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a missing extra."""
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    found, note = made(convolutional())
    assert note is not None
    assert "pip install 'shallowdeep[report]'" in note
    assert found[0].samples[0].maps == ()


def test_maps_refused_at_one_exit() -> None:
    """Where one exit reads vectors, the others have their maps and the note names it."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 999), nn.ReLU(), nn.Linear(999, 3),
    )  # fmt: skip
    network = network_of(backbone, at=["_1", "_7"])
    found, note = made(network)
    assert note is not None
    assert note.startswith("No Grad-CAM maps at two: Expected a convolutional network for Grad-CAM, got vectors at 7")
    captions = [[one.caption for one in sample.maps] for sample in found[0].samples]
    assert captions == [
        ["at one, for 'cat'", "at the end, for 'dog'"],
        ["at the end, for 'horse'"],
        ["at the end, for 'dog'"],
    ]


def test_count_bounds_every_gallery() -> None:
    """At most so many samples; simple and complex ones share them."""
    found, _ = made(count=2)
    assert [len(gallery.samples) for gallery in found] == [2, 2, 2]
    assert [sample.caption.split(":")[0] for sample in found[2].samples] == ["Simple", "Complex"]


def test_nothing_to_show() -> None:
    """A single exit has no galleries; without errors there is no destructive one."""
    pred = predictions()
    single = ExitPredictions(pred.logits[-1:], pred.labels, np.array([1.0]))
    assert made(convolutional(), pred=single, exit_names=["final"]) == ((), None)
    right = ExitPredictions(pred.logits, np.array(ANSWERS[-1]), pred.costs)
    assert [gallery.kind for gallery in made(convolutional(), pred=right)[0]] == ["wasteful", "simple-complex"]


def test_other_images_than_asked_for() -> None:
    """Images left out, or in another layout, would be shown beside another sample's answers."""
    with pytest.raises(DataError, match=r"Expected 3 uint8 images \(H, W, 1, 3 or 4\), got uint8 \(2, 8, 8, 3\)"):
        made(images=lambda samples: PIXELS[samples[1:]])
    with pytest.raises(DataError, match="uint8 images"):
        made(images=lambda samples: PIXELS[samples].transpose(0, 3, 1, 2))
