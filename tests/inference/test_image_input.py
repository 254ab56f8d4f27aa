"""The engine takes files and PIL images as `predict` does, by the rules of the network's preprocessing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inference.test_engine import SIZE, tiny

from shallowdeep.data.image import decode_image
from shallowdeep.data.image_rules import ImageRules
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import BadImageError, ConfigurationError, DataError
from shallowdeep.exits.policy import shared_threshold
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.file_predictions import predict_files

POLICY = shared_threshold(0.5, 4)


@pytest.fixture(scope="module")
def engine() -> EarlyExitEngine:
    """Of the tiny network, in memory."""
    return EarlyExitEngine.from_network(tiny(), POLICY)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A JPEG that is turned by its EXIF orientation, a transparent PNG, 16-bit grey, a palette; of odd sizes."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 255, (40, 70, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "turned.jpg": (Image.fromarray(colours[..., :3]), {"exif": turned}),
        "transparent.png": (Image.fromarray(colours), {}),
        "grey.png": (Image.fromarray(generator.integers(0, 65535, (21, 33), dtype=np.uint16)), {}),
        "palette.gif": (Image.fromarray(colours[..., 0]).convert("P"), {}),
        "exact.png": (Image.fromarray(colours[:SIZE, :SIZE, :3]), {}),
    }
    for name, (picture, options) in pictures.items():
        picture.save(tmp_path / name, **options)
    return [tmp_path / name for name in pictures]


def picture_of(file: Path) -> Image.Image:
    """The opened image, its file read and closed."""
    with Image.open(file) as picture:
        picture.load()
    return picture


def test_paths_and_pil_images_mixed_answer_as_their_pixels(engine: EarlyExitEngine, files: list[Path]) -> None:
    """Text, paths and PIL images of the same files, in a list or alone, and their array: the same answers."""
    preprocessing = tiny().preprocessing
    assert preprocessing is not None
    pixels = np.stack([decode_image(file, SIZE) for file in files])
    expected = engine(preprocessing.normalize_array(pixels.transpose(0, 3, 1, 2)))
    opened = [picture_of(file) for file in files]
    for sources in (files, [str(file) for file in files], opened, (*opened[:2], *files[2:])):
        answers = engine(sources)
        for got, wanted in zip(answers, expected, strict=True):
            assert (got is None and wanted is None) or np.array_equal(got, wanted)
    for number, (file, picture) in enumerate(zip(files, opened, strict=True)):
        for alone in (file, str(file), picture):
            assert np.asarray(engine(alone).confidences).tolist() == pytest.approx(
                [float(expected.confidences[number])], abs=1e-5
            )
    assert opened[0].size == (70, 40)  # a caller's image is left as it is
    assert np.asarray(engine([]).labels).shape == (0,)


def test_the_networks_own_rules_hold_for_both(files: list[Path]) -> None:
    """A network that was trained on stretched bilinear BGR images without transparency gets such, from either."""
    network = tiny()
    rules = ImageRules(interpolation="bilinear", resize="stretch", alpha="drop")
    preprocessing = Preprocessing(SIZE, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), rules=rules, channel_order="bgr")
    network.preprocessing = preprocessing
    engine = EarlyExitEngine.from_network(network, POLICY)
    pixels = np.stack([decode_image(file, SIZE, rules) for file in files])
    expected = engine(preprocessing.normalize_array(pixels.transpose(0, 3, 1, 2)))
    for sources in (files, [picture_of(file) for file in files]):
        assert np.array_equal(engine(sources).confidences, expected.confidences)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        ([[0.0, 1.0]], "got a list with a list at place 0"),
        ([np.zeros((3, SIZE, SIZE), np.float32)], "got a list with a ndarray at place 0"),
        (["a.png", 3.5], "got a list with a float at place 1"),
        ({"a.png"}, "got a set"),
        (None, "got a NoneType"),
        (b"png", "got a bytes"),
    ],
)
def test_anything_else_is_refused(engine: EarlyExitEngine, images: object, got: str) -> None:
    """In one line that names what is accepted."""
    message = f"Expected an array (N, C, H, W), or paths and PIL images, {got}"
    with pytest.raises(DataError) as refused:
        engine(images)
    assert str(refused.value) == message


def test_bad_images_are_named(engine: EarlyExitEngine, files: list[Path], tmp_path: Path) -> None:
    """A file that is missing or no image, a folder, a PIL image whose file is cut off."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    whole, stack = files[4].read_bytes(), ExitStack()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for source, told in (
        (tmp_path / "bad.png", "bad.png (no image format known here)"),
        (tmp_path / "nowhere.png", "nowhere.png (No such file or directory)"),
        (tmp_path, "(Is a directory)"),
        (stack.enter_context(Image.open(tmp_path / "cut.png")), "cut.png (image file is truncated"),
    ):
        with pytest.raises(BadImageError, match="Expected a readable image, got ") as refused:
            engine([files[0], source])
        assert told in str(refused.value)
    stack.close()


def test_without_preprocessing_it_takes_arrays_alone(files: list[Path], tmp_path: Path) -> None:
    """And says so, a bundle with its path."""
    network = tiny()
    network.preprocessing = None
    bundle = write_bundle(network, POLICY, tmp_path / "bundle", "onnxruntime", static=False)
    for engine, where in (
        (EarlyExitEngine.from_network(network, POLICY), "the network"),
        (EarlyExitEngine.from_network(network, POLICY, backend="onnxruntime"), "the network"),
        (EarlyExitEngine(bundle), str(tmp_path / "bundle")),
    ):
        with pytest.raises(ConfigurationError, match=f"^Expected preprocessing in {where} to read images by, found"):
            engine(files)
        assert np.asarray(engine(torch.zeros(2, 3, SIZE, SIZE)).labels).shape == (2,)


def test_the_engine_answers_files_as_predict_does(files: list[Path], tmp_path: Path) -> None:
    """The same labels, exits and probabilities."""
    bundle = write_bundle(tiny(), POLICY, tmp_path / "bundle", "onnxruntime", static=False)
    found = predict_files(bundle, files, probabilities=True)
    answers = EarlyExitEngine(bundle)([*files[:2], *map(picture_of, files[2:])], probabilities=True)
    assert [answer.label for answer in found.predictions] == [bundle.classes[label] for label in answers.labels]
    assert [answer.exit for answer in found.predictions] == answers.exits.tolist()
    assert answers.probabilities is not None
    assert np.array([answer.probabilities for answer in found.predictions]) == pytest.approx(answers.probabilities)
