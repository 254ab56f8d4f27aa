"""Abstention: what is withheld, and how often the promise on the answers given breaks."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from shallowdeep.calibration.abstention_fit import Answered, answered, answers_given, confusion_of, with_abstention
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.abstention import Abstention, doubts
from shallowdeep.exits.confusion import ConfusionStatistics, confusion
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.exits.predictions import ExitPredictions

POLICY = Policy((0.9, None))
ERROR_RATE, CONFIDENCE = 0.05, 0.9


def drawn(samples: int, generator: np.random.Generator, *, hardness: float = 0.6) -> Answered:
    """Answers whose chance of being wrong is their doubt squared times ``hardness``."""
    values = generator.random(samples)
    wrong = generator.random(samples) < hardness * values**2
    return Answered(wrong, {"confidence": values, "confusion": generator.random(samples)})


def test_doubts_by_hand() -> None:
    """1 - confidence; confusion as it is, and no doubt at the first exit in use."""
    sure, confused = np.array([0.9, 0.4]), np.array([np.nan, 1.5])
    assert doubts("confidence", sure, None) == pytest.approx([0.1, 0.6])
    assert doubts("confusion", sure, confused).tolist() == [-np.inf, 1.5]
    assert Abstention("confusion", 1.0).withholds(sure, confused).tolist() == [False, True]
    with pytest.raises(ConfigurationError, match="confusion to abstain by"):
        doubts("confusion", sure, None)
    with pytest.raises(UnknownNameError, match="indicator, got 'confusing'"):
        Abstention("confusing", 0.5)
    with pytest.raises(ConfigurationError, match="finite threshold"):
        Abstention("confusion", float("inf"))


def test_the_promise_breaks_as_rarely_as_it_says() -> None:
    """Over 400 draws of tune and certify the true error rate among answers passes the promise in at most 10 %."""
    generator = np.random.default_rng(0)
    broken = refused = 0
    for _ in range(400):
        tune, certify = drawn(600, generator), drawn(2000, generator)
        try:
            found = with_abstention(POLICY, tune, certify, error_rate=ERROR_RATE, confidence=CONFIDENCE).abstention
        except ConfigurationError:  # nothing is promised, so nothing breaks
            refused += 1
            continue
        assert found is not None
        assert found.indicator == "confidence"
        true_rate = 0.6 * found.threshold**2 / 3  # the mean of .6·d² over doubts d up to the threshold
        broken += true_rate > ERROR_RATE
    assert refused < 400 / 10
    assert 0 < broken / 400 <= 0.1 + 3 * sqrt(0.1 * 0.9 / 400)


def test_it_answers_almost_as_much_as_may_be_answered() -> None:
    """With many samples the threshold comes near the one in hindsight, where .2·d² is the error rate: d = .5."""
    generator = np.random.default_rng(1)
    found = with_abstention(
        POLICY, drawn(5_000, generator), drawn(10_000, generator), error_rate=ERROR_RATE, confidence=CONFIDENCE
    )
    assert found.abstention is not None
    assert 0.45 < found.abstention.threshold < 0.52
    test = answers_given(found, drawn(50_000, generator))
    assert test.answered_share == pytest.approx(found.abstention.threshold, abs=0.01)
    assert test.error_rate is not None
    assert test.error_rate < 0.055
    assert answers_given(POLICY, drawn(100, generator)).answered_share == 1.0


def test_a_laxer_error_rate_never_withholds_more() -> None:
    """Over 60 draws of tune and certify, small ones: the share answered on certify never falls, nor is one refused."""
    generator = np.random.default_rng(4)
    for _ in range(60):
        tune, certify = drawn(100, generator), drawn(200, generator)
        shares = []
        for error_rate in (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3):
            try:
                found = with_abstention(POLICY, tune, certify, error_rate=error_rate, confidence=CONFIDENCE)
                shares.append(answers_given(found, certify).answered_share)
            except ConfigurationError:
                shares.append(0.0)
        assert shares == sorted(shares)
        assert shares[-1] > 0


def test_an_indicator_that_tells_nothing_is_not_taken() -> None:
    """Where all leave at the first exit, nothing is confused."""
    generator = np.random.default_rng(5)
    tune, certify = drawn(200, generator), drawn(400, generator)
    for split in (tune, certify):
        split.doubts["confusion"][:] = -np.inf
        split.doubts["confidence"][:] = 1 - split.doubts["confidence"]  # worse than chance
    found = with_abstention(POLICY, tune, certify, error_rate=0.4, confidence=CONFIDENCE).abstention
    assert found is not None
    assert found.indicator == "confidence"


def test_what_cannot_be_promised_is_refused() -> None:
    """Too few samples, an error rate that nothing keeps, values out of range."""
    generator = np.random.default_rng(2)
    tune = drawn(300, generator)
    with pytest.raises(ConfigurationError, match=r"Expected at least 45 certify samples .* got 40"):
        with_abstention(POLICY, tune, drawn(40, generator), error_rate=ERROR_RATE, confidence=CONFIDENCE)
    hopeless = Answered(np.ones(300, bool), tune.doubts)
    with pytest.raises(ConfigurationError, match=r"not even of the surest \d+ answers on certify"):
        with_abstention(POLICY, tune, hopeless, error_rate=ERROR_RATE, confidence=CONFIDENCE)
    for rate, sure in ((0.0, 0.9), (1.0, 0.9), (float("nan"), 0.9), (0.1, 1.0)):
        with pytest.raises(ConfigurationError, match=r"in [\[(]0.*, 1\)"):
            with_abstention(POLICY, tune, tune, error_rate=rate, confidence=sure)


def test_confusion_of_answers_counts_the_exits_in_use_before_them() -> None:
    """At exit 2 over exits 0 alone where 1 is off; nothing at exit 0; z-scored as the statistics say."""
    generator = np.random.default_rng(3)
    logits = (3 * generator.normal(size=(3, 50, 4))).astype(np.float32)
    pred = ExitPredictions(logits, generator.integers(0, 4, 50), np.array([0.3, 0.6, 1.0]))
    statistics = ConfusionStatistics.over([logits])
    decisions = decide(POLICY, logits)
    found = confusion_of(POLICY, logits, decisions, statistics)
    early = decisions.exits == 0
    assert early.any()
    assert np.isnan(found[early]).all()
    both = confusion(logits[[0, 2]])
    assert found[~early] == pytest.approx(((both - both.mean()) / both.std())[~early], abs=1e-4)
    given = answered(POLICY, pred, statistics)
    assert given.wrong.tolist() == (decisions.labels != pred.labels).tolist()
    assert set(answered(POLICY, pred, None).doubts) == {"confidence"}
