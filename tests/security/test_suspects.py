"""p-values of suspects: valid where nothing is wrong, small where something is."""

from __future__ import annotations

import numpy as np
import pytest

from shallowdeep.errors import DataError
from shallowdeep.security.suspects import (
    SuspectFindings,
    TriedTrigger,
    benjamini_hochberg,
    collapsed,
    conformal_p_values,
    detectable_auroc,
    holm,
    limits,
    placebo_p_value,
    placebos_needed,
    probe_findings,
    suspect_findings,
)

CLASSES = ("ape", "bee", "cat")


def test_conformal_p_values_count_the_clean_inputs_that_are_as_far_out() -> None:
    """2 (1 + how many) / (n + 1), ties counted, at the nearer end, and at most 1."""
    clean = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert conformal_p_values(clean, [0.0, 1.0, 2.0, 3.5, 6.5]).tolist() == [0.25, 0.5, 1.0, 1.0, 0.25]


def test_holm_and_benjamini_hochberg_on_numbers_done_by_hand() -> None:
    """Holm: 3 x .01, 2 x .03 then the running maximum; BH at 5 %: the first two of four."""
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04]), [0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert benjamini_hochberg([0.2, 0.011, 0.024, 0.9]).tolist() == [False, True, True, False]
    assert not benjamini_hochberg([0.2, 0.9]).any()


def evaluated(shift: float, seed: int, *, answered: int | None = None) -> SuspectFindings:
    """Findings of 300 clean inputs and 60 suspects, shifted; all answered as one class, or as they come."""
    generator = np.random.default_rng(seed)
    clean, suspects = generator.normal(size=300), generator.normal(size=60) + shift
    answers = generator.integers(0, 3, 60) if answered is None else np.full(60, answered)
    return suspect_findings(
        clean, suspects, clean_answers=generator.integers(0, 3, 300), suspect_answers=answers, classes=CLASSES
    )


def test_suspects_like_the_clean_raise_an_alarm_no_more_often_than_said() -> None:
    """At 5 %, over several tests together: at most 5 % of 400 draws, and three standard errors."""
    alarms = np.mean([evaluated(0.0, seed).p_value <= 0.05 for seed in range(400)])
    assert alarms <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_confused_suspects_are_evidence_and_are_named() -> None:
    """Three standard deviations."""
    found = evaluated(3.0, 0, answered=1)
    assert found.p_value < 1e-6
    assert found.verdict.startswith("Evidence of something wrong")
    assert len(found.flagged) > 30
    assert [test.name for test in found.tests] == ["all", "answered bee"]


def test_suspects_that_confuse_the_network_less_are_evidence_too() -> None:
    """As those of a backdoor that every exit has."""
    found = evaluated(-3.0, 0, answered=1)
    assert found.p_value < 1e-6
    assert "confuse the network less than clean images do" in found.verdict
    assert len(found.flagged) > 30


def test_no_evidence_is_not_called_clean() -> None:
    """The verdict says what it does not say."""
    found = evaluated(0.0, 1)
    assert found.verdict.startswith("No evidence")
    assert any("No evidence is not clean" in limit for limit in found.limits)


def test_too_few_clean_images_are_refused_with_the_number_needed() -> None:
    """A hundred held out."""
    with pytest.raises(DataError, match="at least 100 clean images held out for a verdict, got 99"):
        suspect_findings(np.zeros(99), [1.0], clean_answers=np.zeros(99), suspect_answers=np.zeros(1), classes=CLASSES)
    with pytest.raises(DataError, match="at least one suspect"):
        suspect_findings(np.zeros(100), [], clean_answers=np.zeros(100), suspect_answers=np.zeros(0), classes=CLASSES)


def test_more_inputs_show_smaller_shifts() -> None:
    """The normal approximation of Mann and Whitney: about .5 + 2.80 sqrt((n + m + 1) / (12 n m))."""
    assert detectable_auroc(300, 60) == pytest.approx(0.5 + 2.8016 * (361 / (12 * 300 * 60)) ** 0.5, abs=1e-4)
    assert detectable_auroc(3000, 600) < detectable_auroc(300, 60)


def test_a_collapse_is_the_share_of_other_images_sent_to_one_class() -> None:
    """Sixty of ninety images of other classes move to bee; none moves in a change that does nothing."""
    before = np.arange(120) % 4 % 3
    after = before.copy()
    after[np.flatnonzero(before != 1)[:60]] = 1
    assert collapsed(before, after, 3) == (1, 60 / 90)
    assert collapsed(before, before, 3)[1] == 0.0


def probe(share: float, placebos: list[float]) -> TriedTrigger:
    """One trigger tried."""
    return TriedTrigger("badnets", "bee", share, tuple(placebos))


def test_a_trigger_is_evidence_only_where_placebos_do_not_do_as_much() -> None:
    """Rank among placebos, Holm over two triggers, and half of the images."""
    assert placebo_p_value(0.9, [0.1] * 79) == 1 / 80
    assert placebo_p_value(0.9, [0.9] + [0.1] * 78) == 2 / 80
    harmless = probe(0.05, [0.04] * 79)
    working = probe_findings([probe(1.0, [0.3] * 79), harmless])
    assert working.verdict.startswith("Evidence of a backdoor: badnets sends 100% of other images to bee")
    assert working.p_value == 2 / 80
    fragile = probe_findings([probe(0.95, [1.0] * 4 + [0.3] * 75), harmless])
    assert fragile.verdict.startswith("No evidence of a backdoor: badnets sends 95% of other images to bee, but so do")
    assert fragile.p_value == 5 / 80
    small = probe_findings([probe(0.3, [0.1] * 79), harmless])
    assert small.verdict.startswith("No evidence that one of 2 known triggers works: badnets sends 30%")
    assert small.p_value == 2 / 80


def test_limits_say_how_many_suspects_must_stand_out_to_be_named() -> None:
    """Of 60 with 300 clean ones: 2 x 60 / (.05 x 301), so 8; a single one of seven can be named."""
    assert any("at least 8 of the 60" in limit for limit in limits(300, 60))
    assert any("A single suspect can be named" in limit for limit in limits(300, 7))


def test_placebos_needed_follow_from_the_number_of_triggers() -> None:
    """One of m triggers stands out by Holm's method though one placebo does as much, and with fewer it would not."""
    assert placebos_needed(4) == 159
    for triggers in (1, 3, 4, 10):
        count = placebos_needed(triggers)
        one_as_high = placebo_p_value(1.0, [1.0, *[0.0] * (count - 1)])
        assert holm([one_as_high, *[1.0] * (triggers - 1)])[0] <= 0.05
        one_fewer = placebo_p_value(1.0, [1.0, *[0.0] * (count - 2)])
        assert holm([one_fewer, *[1.0] * (triggers - 1)])[0] > 0.05
