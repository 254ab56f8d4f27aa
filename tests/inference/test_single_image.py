"""One image is decided with plain numbers as arrays would decide it, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.inference.test_engine import images, tiny

from shallowdeep.errors import DataError
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.signals import SIGNALS, max_probability
from shallowdeep.inference import single_image
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.single_image import MOST_CLASSES, SingleImage, leaves

RUNTIMES = ("onnxruntime", "openvino")
LIMIT = 0.9
IMAGES = 60


def widths() -> st.SearchStrategy[float]:
    """Logits of usual size, large ones, and all that a float32 can be."""
    return st.one_of(st.floats(-20, 20, width=32), st.floats(-1e5, 1e5, width=32), st.floats(width=32))


@given(
    logits=arrays.arrays(np.float32, st.tuples(st.just(1), st.integers(2, 80)), elements=widths()),
    temperature=st.sampled_from([1.0, 0.7, 1.5, 3.0]),
    steps=st.integers(-3, 3),
    threshold=st.one_of(st.none(), st.floats(0, 1.1)),
)
def test_decisions_are_those_of_float32(
    logits: np.ndarray[Any, Any], temperature: float, steps: int, threshold: float | None
) -> None:
    """At any threshold, and at the confidence itself and its next neighbours, where rounding decides."""
    with np.errstate(all="ignore"):
        confidence = max_probability(logits if temperature == 1 else logits / temperature)[0]
        limit = np.float32(confidence if threshold is None else threshold)
        for _ in range(abs(steps)):
            limit = np.nextafter(limit, np.float32(np.sign(steps) * np.inf))
        assert leaves(logits, float(limit), temperature) == bool(confidence >= limit)
    assert leaves(logits, None, temperature)


@given(
    logits=arrays.arrays(np.float32, st.tuples(st.just(1), st.integers(2, 300)), elements=st.floats(-9, 9, width=32))
)
def test_the_short_form_of_the_confidence_is_the_same_to_the_last_bit(logits: np.ndarray[Any, Any]) -> None:
    """What is answered does not depend on whether an image came alone."""
    assert single_image._max_probability(logits).tobytes() == max_probability(logits).tobytes()


def test_few_images_need_arrays_to_be_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the short way would be none: of a thousand, hardly one is that near to the threshold."""
    asked: list[int] = []
    exact = single_image._max_probability

    def counted(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        asked.append(1)
        return exact(logits)

    monkeypatch.setattr(single_image, "_max_probability", counted)
    for logits in np.random.default_rng(0).normal(scale=3, size=(1000, 1, 10)).astype(np.float32):
        leaves(logits, 0.9, 1.3)
    assert len(asked) < 5
    leaves(np.zeros((1, MOST_CLASSES + 1), dtype=np.float32), 0.9, 1.0)
    assert len(asked) < 6


@pytest.fixture(scope="module", params=RUNTIMES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All exits of the tiny network."""
    directory = tmp_path_factory.mktemp(request.param) / "all"
    return write_bundle(tiny(), shared_threshold(NEVER, 4), directory, request.param, static=False)


@pytest.mark.parametrize(
    "policy",
    [
        shared_threshold(0.8, 4),
        Policy((0.5, None, 0.9)),
        Policy((0.9, 0.8, 0.7), temperatures=(1.5, 0.7, 1.2, 2.0), abstention=Abstention("confidence", 0.4)),
        Policy((None, None, None)),
        Policy((0.0, 0.5, NEVER)),
    ],
)
def test_answers_are_those_of_the_general_way(bundle: Bundle, policy: Policy) -> None:
    """Each field of them, its type and shape included, bit for bit."""
    assert same_answers(bundle, policy) == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_cost_limit_forces_the_same_images(runtime: str, tmp_path: Path) -> None:
    """The last segment's exit is not the final one, so that some are not confident there."""
    policy = Policy((0.9, 0.8, 0.95), max_relative_cost=LIMIT)
    bundle = write_bundle(tiny(), policy, tmp_path / "limited", runtime, static=False)
    forced = same_answers(bundle, policy)
    assert 0 < forced < IMAGES


def same_answers(bundle: Bundle, policy: Policy) -> int:
    """Compare both ways on some images, one by one; returns how many were forced to stop."""
    forced = 0
    engine = EarlyExitEngine(bundle, policy, threads=1)
    general = EarlyExitEngine(bundle, policy, threads=1)
    assert engine._single is not None
    general._single = None
    for image in images(IMAGES, 4).numpy():
        for told in (False, True):
            got, expected = (one(image[None], probabilities=told) for one in (engine, general))
            for name, mine, theirs in zip(got._fields, got, expected, strict=True):
                assert (mine is None) == (theirs is None), name
                if mine is not None:
                    same = mine.dtype == theirs.dtype and mine.shape == theirs.shape
                    assert same, name
                    assert mine.tobytes() == theirs.tobytes(), name
        forced += int(got.forced[0])
    return forced


def test_other_policies_go_the_general_way(bundle: Bundle) -> None:
    """Signals that look at several exits, the surest of all exits, confusion."""
    for signal in SIGNALS:
        assert SingleImage.fits(shared_threshold(0.5, 4, signal=signal)) == (signal == "max-probability")
    assert not SingleImage.fits(shared_threshold(0.5, 4, fallback="most-confident"))
    assert not SingleImage.fits(shared_threshold(0.5, 4, abstention=Abstention("confusion", 0.3)))
    assert EarlyExitEngine(bundle, threads=1, confusion=True)._single is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [16, 64])
def test_values_that_are_not_finite_are_refused(bundle: Bundle, value: float, side: int) -> None:
    """In small images and in large ones, which are looked at in another way."""
    x = np.zeros((1, 3, side, side), dtype=np.float32)
    x[0, 1, 2, 3] = value
    engine = EarlyExitEngine(bundle, threads=1)
    assert engine._single is not None
    with pytest.raises(DataError, match="Expected finite images"):
        engine._single.answer(engine.backend, x, probabilities=False)
    x[0, 1, 2, 3] = 3e30  # finite, though its square is not
    assert single_image._finite(x)


def test_images_of_other_types_are_answered_alike(bundle: Bundle) -> None:
    """A tensor, float64, an array that is no block of memory: each goes through the checks."""
    x = images(1, 3)
    engine = EarlyExitEngine(bundle, threads=1)
    expected = engine(x.numpy()).confidences.tolist()
    turned = np.asfortranarray(x.numpy())
    for given_ in (x, x.double().numpy(), turned):
        assert engine(given_).confidences.tolist() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(DataError, match="Expected images of shape"):
        engine(torch.zeros(1, 3, 17, 16).numpy())
