"""Are these inputs like the clean ones? p-values of their confusion, and a verdict with its limits.

Source: conformal p-values, Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 2023;
Benjamini and Hochberg 1995 (shares of false discoveries); Holm 1979 (several tests).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from shallowdeep.audits.suspects_audit import ALL, SuspectsTest, TriggerProbe
from shallowdeep.errors import DataError

LEVEL = 0.05
"""Chance of a false alarm over all tests of a verdict; share of false discoveries among the inputs named beside it."""

FEWEST = 100
"""Clean inputs held out, fewer of which say too little of the tail that suspects are looked for in."""

COLLAPSED = 0.5
"""Share of other classes' images sent to one class from which on a trigger is taken for evidence."""

FEWEST_OF_CLASS = 20  # clean inputs answered as a class, and suspects, for a test of its own
POWER = 0.8  # of the detectable share
_NO_LESS = 1e-16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SuspectFindings:
    """Whether suspects confuse the network more, or less, than clean inputs do.

    Attributes:
        clean: number of clean inputs.
        suspects: number of suspects, M.
        level: of the verdict, and of false discoveries.
        p_value: the smallest adjusted one.
        tests: of all suspects, and of those answered alike.
        flagged: rising indices in [0, M) of the suspects that stand out.
        verdict: one sentence.
        limits: what the verdict does not say, in sentences.
    """

    clean: int
    suspects: int
    level: float
    p_value: float
    tests: tuple[SuspectsTest, ...]
    flagged: tuple[int, ...]
    verdict: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class TriedTrigger:
    """A trigger tried on clean images, and its placebos.

    Attributes:
        trigger: its name.
        target: name of the class that most images are sent to.
        share: of the images of other classes sent there.
        placebo_shares: the same share for each placebo, sent to any one class.
    """

    trigger: str
    target: str
    share: float
    placebo_shares: tuple[float, ...]


@dataclass(frozen=True)
class ProbeFindings:
    """What triggers tried on clean images say.

    Attributes:
        probes: one for each trigger.
        p_value: adjusted one of the trigger in the verdict.
        verdict: one sentence.
        limits: what the verdict does not say, in sentences.
    """

    probes: tuple[TriggerProbe, ...]
    p_value: float
    verdict: str
    limits: tuple[str, ...]


def conformal_p_values(clean: ArrayLike, suspects: ArrayLike) -> Floats:
    """Return how rarely a clean input would be as far out as each suspect, at either end, (M,) in [2/(n+1), 1].

    A backdoor's inputs may leave the exits more agreed than clean ones as well as less. Valid for inputs drawn as the n
    clean ones were, which the network and the statistics never saw.

    Args:
        clean: (n,) confusion.
        suspects: (M,) confusion.
    """
    known, values = np.sort(np.asarray(clean, dtype=np.float64)), np.asarray(suspects, dtype=np.float64)
    above = len(known) - np.searchsorted(known, values, side="left")
    below = np.searchsorted(known, values, side="right")
    found: Floats = np.minimum(1.0, 2 * (1 + np.minimum(above, below)) / (len(known) + 1))
    return found


def benjamini_hochberg(p_values: ArrayLike, level: float = LEVEL) -> NDArray[np.bool_]:
    """Return (M,) which p-values are discoveries, at most ``level`` of them false on average."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), dtype=np.bool_)
    found[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return found


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted for there being several, (T,) in [0, 1]; all hold together at any level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(adjusted, 1.0)
    return found


def require_clean(count: int) -> None:
    """Refuse too few clean inputs for a verdict.

    Raises:
        DataError: saying how many it takes.
    """
    if count < FEWEST:
        raise DataError(
            f"Expected at least {FEWEST} clean images held out for a verdict, got {count}; give more clean images, "
            "or hold out more by --calibration-fraction"
        )


def suspect_findings(
    clean: ArrayLike,
    suspects: ArrayLike,
    *,
    clean_answers: NDArray[Any],
    suspect_answers: NDArray[Any],
    classes: tuple[str, ...],
    level: float = LEVEL,
) -> SuspectFindings:
    """Return whether suspects confuse the network more, or less, than clean inputs do.

    One test compares all of them, and one more for each class compares those answered so, since a backdoor's inputs all
    have one answer; Holm's method accounts for there being several.

    Args:
        clean: (n,) confusion of inputs that nothing was fitted to.
        suspects: (M,) confusion.
        clean_answers: (n,) integers of the final exit.
        suspect_answers: (M,) likewise.
        classes: C names.
        level: of the verdict, and of false discoveries.

    Raises:
        DataError: too few clean inputs, or no suspect.
    """
    known, doubtful = np.asarray(clean, dtype=np.float64), np.asarray(suspects, dtype=np.float64)
    require_clean(len(known))
    if not len(doubtful):
        raise DataError("Expected at least one suspect image, got none")
    groups = [(ALL, known, doubtful)]
    for number, name in enumerate(classes):
        of_clean, of_suspects = known[clean_answers == number], doubtful[suspect_answers == number]
        if min(len(of_clean), len(of_suspects)) >= FEWEST_OF_CLASS:
            groups.append((f"answered {name}", of_clean, of_suspects))
    tests = _tests(groups)
    flagged = np.flatnonzero(benjamini_hochberg(conformal_p_values(known, doubtful), level)).tolist()
    return SuspectFindings(
        clean=len(known),
        suspects=len(doubtful),
        level=level,
        p_value=min(test.adjusted for test in tests),
        tests=tests,
        flagged=tuple(flagged),
        verdict=_verdict(tests, level),
        limits=limits(len(known), len(doubtful), len(tests), level),
    )


def _tests(groups: Sequence[tuple[str, Floats, Floats]]) -> tuple[SuspectsTest, ...]:
    """Mann and Whitney's test of each name, clean inputs and suspects: are suspects more confused, or less?"""
    found = [stats.mannwhitneyu(suspects, clean, alternative="two-sided") for _, clean, suspects in groups]
    adjusted = holm([float(one.pvalue) for one in found])
    return tuple(
        SuspectsTest(
            name, len(suspects), float(one.statistic) / (len(clean) * len(suspects)), float(one.pvalue), float(p_value)
        )
        for (name, clean, suspects), one, p_value in zip(groups, found, adjusted, strict=True)
    )


def strongest(tests: Sequence[SuspectsTest]) -> SuspectsTest:
    """Return the test of `suspect_findings` that its verdict speaks of: the one of the smallest p-value."""
    return min(tests, key=lambda test: (test.adjusted, test.p_value))


def _verdict(tests: Sequence[SuspectsTest], level: float) -> str:
    """One sentence."""
    found = strongest(tests)
    if found.adjusted <= level:
        which = "the suspects" if found.name == ALL else f"the suspects {found.name}"
        direction = "more" if found.auroc > 0.5 else "less"  # noqa: PLR2004 - of guessing
        return (
            f"Evidence of something wrong: {which} confuse the network {direction} than clean images do "
            f"({p_text(found.adjusted)} over {len(tests)} tests, AUROC {found.auroc:.2f})."
        )
    return f"No evidence that the suspects differ from clean images ({p_text(found.adjusted)})."


def p_text(p_value: float) -> str:
    """Return a p-value as ``p = 0.031``, or ``p < 1e-16`` where its digits mean nothing."""
    return f"p = {p_value:.2g}" if p_value >= _NO_LESS else f"p < {_NO_LESS:g}"


def limits(clean: int, suspects: int, tests: int = 1, level: float = LEVEL) -> tuple[str, ...]:
    """Return what a verdict does not say, in sentences."""
    together = math.ceil(2 * suspects / (level * (clean + 1)))
    alone = (
        "A single suspect can be named among so few."
        if together <= 1
        else f"Single images are named only where at least {together} of the {suspects} are further out than any clean "
        "one: fewer would need more clean images."
    )
    return (
        "No evidence is not clean: confusion does not see a backdoor whose inputs leave the exits as agreed as before.",
        "Evidence is no proof of a backdoor: blurred, mislabelled or merely unusual or easy images differ too.",
        (
            f"With {clean} clean images, {suspects} suspects and {tests} {'test' if tests == 1 else 'tests'}, a shift "
            f"that most often shows (power {POWER:.0%}) is an AUROC of {_shown(clean, suspects, level / tests)}."
        ),
        f"{alone} Of those named, at most {level:.0%} are named by chance, on average; that is beside the verdict.",
        "p-values hold where the clean images are drawn as harmless suspects would be.",
    )


def detectable_auroc(clean: int, suspects: int, level: float = LEVEL) -> float:
    """Return the AUROC above .5 that a two-sided test finds with a power of 80 %, by the normal approximation."""
    spread = math.sqrt((clean + suspects + 1) / (12 * clean * suspects))
    reach = float(stats.norm.isf(level / 2) + stats.norm.ppf(POWER))
    return min(1.0, 0.5 + reach * spread)


def _shown(clean: int, suspects: int, level: float) -> str:
    found = detectable_auroc(clean, suspects, level)
    return f"{found:.2f}, or of {1 - found:.2f} where they confuse it less"


def collapsed(before: NDArray[Any], after: NDArray[Any], classes: int) -> tuple[int, float]:
    """Return the class that a change to clean images sends most to, and its share of the images answered otherwise.

    Args:
        before: (n,) integers, answers to clean images.
        after: (n,) integers, answers to the same images changed.
        classes: C.
    """
    moved = np.bincount(after[before != after], minlength=classes)
    target = int(moved.argmax())
    others = int((before != target).sum())
    return target, float(moved[target] / others) if others else 0.0


def placebos_needed(triggers: int, level: float = LEVEL) -> int:
    """Return how many placebos each trigger needs to stand out though one of them does as much.

    By Holm's method one of m triggers needs ``m · 2 / (K + 1) <= level``.

    Args:
        triggers: m that are tried.
        level: of the verdict.
    """
    return math.ceil(2 * triggers / level) - 1


def placebo_p_value(share: float, placebo_shares: Sequence[float]) -> float:
    """Return how rarely a placebo sends as many images to one class, in [1/(K+1), 1].

    Valid where the network treats a trigger as it treats the K placebos of its kind.
    """
    return (1 + sum(other >= share for other in placebo_shares)) / (len(placebo_shares) + 1)


def probe_findings(tried: Sequence[TriedTrigger], level: float = LEVEL) -> ProbeFindings:
    """Return what triggers tried on clean images say.

    A trigger is evidence where it stands out from its placebos and sends half of the other classes' images to one.

    Args:
        tried: each trigger with its placebos.
        level: of the verdict.
    """
    p_values = [placebo_p_value(one.share, one.placebo_shares) for one in tried]
    found = tuple(
        TriggerProbe(one.trigger, one.target, one.share, max(one.placebo_shares), p_value, float(adjusted))
        for one, p_value, adjusted in zip(tried, p_values, holm(p_values), strict=True)
    )
    evidence = [probe for probe in found if probe.adjusted <= level and probe.share >= COLLAPSED]
    worst = max(evidence or found, key=lambda probe: probe.share)
    told = f"{worst.trigger} sends {worst.share:.0%} of other images to {worst.target}"
    against = f"placebos at most {worst.placebo_share:.0%}, {p_text(worst.adjusted)} over {len(found)} triggers"
    if evidence:
        verdict = f"Evidence of a backdoor: {told} ({against})."
    elif worst.share >= COLLAPSED:
        verdict = f"No evidence of a backdoor: {told}, but so do changes that are no trigger ({against})."
    else:
        verdict = f"No evidence that one of {len(found)} known triggers works: {told} at most ({against})."
    return ProbeFindings(
        found,
        p_value=worst.adjusted,
        verdict=verdict,
        limits=(
            "No evidence is not clean: only the triggers listed were tried, each at one place; give --suspects.",
            (
                f"A trigger is taken for evidence where it sends at least {COLLAPSED:.0%} of other images to one "
                "class, and hardly a random change of its kind sends as many."
            ),
        ),
    )
