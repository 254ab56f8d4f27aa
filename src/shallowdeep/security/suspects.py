"""Are these inputs like the clean ones? p-values of their confusion, and a verdict with its limits.

Source: conformal p-values, Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 2023;
Benjamini and Hochberg 1995 (shares of false discoveries); Holm 1979 (several tests).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from shallowdeep.errors import DataError

LEVEL = 0.05
"""Chance of a false alarm over all tests together; share of false discoveries among the inputs named."""

FEWEST = 100
"""Clean inputs held out, fewer of which say too little of the tail that suspects are looked for in."""

FEWEST_OF_CLASS = 20  # clean inputs answered as a class, and suspects, for a test of its own
POWER = 0.8  # of the detectable share
_NO_LESS = 1e-16

Floats = NDArray[np.float64]


def conformal_p_values(clean: ArrayLike, suspects: ArrayLike) -> Floats:
    """Return how rarely a clean input would be as confused as each suspect, (M,) in [1/(n+1), 1].

    Valid for inputs drawn as the n clean ones were, which the network and the statistics never saw.

    Args:
        clean: (n,) confusion.
        suspects: (M,) confusion.
    """
    known = np.sort(np.asarray(clean, dtype=np.float64))
    above = len(known) - np.searchsorted(known, np.asarray(suspects, dtype=np.float64), side="left")
    found: Floats = (1 + above) / (len(known) + 1)
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
) -> dict[str, Any]:
    """Return whether suspects are more confused than clean inputs.

    One test compares all of them, and one more for each class compares those answered so, since a backdoor's inputs all
    have one answer; Holm's method accounts for there being several.

    Args:
        clean: (n,) confusion of inputs that nothing was fitted to.
        suspects: (M,) confusion.
        clean_answers: (n,) integers of the final exit.
        suspect_answers: (M,) likewise.
        classes: C names.
        level: of the verdict, and of false discoveries.

    Returns:
        ``p_value`` (adjusted, the smallest), ``tests`` (each ``name``, ``suspects``, ``auroc``, ``p_value``,
        ``adjusted``), ``flagged`` (indices of suspects), ``verdict`` and ``limits``.

    Raises:
        DataError: too few clean inputs, or no suspect.
    """
    known, doubtful = np.asarray(clean, dtype=np.float64), np.asarray(suspects, dtype=np.float64)
    require_clean(len(known))
    if not len(doubtful):
        raise DataError("Expected at least one suspect image, got none")
    groups = [("all", known, doubtful)]
    for number, name in enumerate(classes):
        usual, odd = known[clean_answers == number], doubtful[suspect_answers == number]
        if min(len(usual), len(odd)) >= FEWEST_OF_CLASS:
            groups.append((f"answered {name}", usual, odd))
    tests = [_test(name, usual, odd) for name, usual, odd in groups]
    for test, adjusted in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["adjusted"] = float(adjusted)
    smallest = min(test["adjusted"] for test in tests)
    flagged = np.flatnonzero(benjamini_hochberg(conformal_p_values(known, doubtful), level)).tolist()
    return {
        "clean": len(known),
        "suspects": len(doubtful),
        "level": level,
        "p_value": smallest,
        "tests": tests,
        "flagged": flagged,
        "verdict": _verdict(tests, len(flagged), level),
        "limits": limits(len(known), len(doubtful), level),
    }


def _test(name: str, usual: Floats, odd: Floats) -> dict[str, Any]:
    """Mann and Whitney's test: are suspects more confused?"""
    found = stats.mannwhitneyu(odd, usual, alternative="greater")
    return {
        "name": name,
        "suspects": len(odd),
        "auroc": float(found.statistic) / (len(usual) * len(odd)),
        "p_value": float(found.pvalue),
    }


def _verdict(tests: list[dict[str, Any]], flagged: int, level: float) -> str:
    """One sentence."""
    found = min(tests, key=lambda test: (test["adjusted"], test["p_value"]))
    if found["adjusted"] <= level:
        which = "the suspects" if found["name"] == "all" else f"the suspects {found['name']}"
        return (
            f"Evidence of something wrong: {which} confuse the network more than clean images do "
            f"({p_text(found['adjusted'])} over {len(tests)} tests, AUROC {found['auroc']:.2f})."
        )
    if flagged:
        return (
            f"No evidence that the suspects differ as a whole ({p_text(found['adjusted'])}), but {flagged} of them are "
            "more confused than clean images are."
        )
    return f"No evidence that the suspects differ from clean images ({p_text(found['adjusted'])})."


def p_text(p_value: float) -> str:
    """Return a p-value as ``p = 0.031``, or ``p < 1e-16`` where its digits mean nothing."""
    return f"p = {p_value:.2g}" if p_value >= _NO_LESS else f"p < {_NO_LESS:g}"


def limits(clean: int, suspects: int, level: float = LEVEL) -> list[str]:
    """Return what a verdict does not say, in sentences."""
    return [
        "No evidence is not clean: a backdoor that leaves the exits agreed is not seen by confusion.",
        "Evidence is no proof of a backdoor: blurred, mislabelled or merely unusual images confuse a network too.",
        (
            f"With {clean} clean images and {suspects} suspects, a shift that most often shows (power {POWER:.0%}) is "
            f"an AUROC of {detectable_auroc(clean, suspects, level):.2f} or more."
        ),
        "The p-value holds where the clean images are drawn as harmless suspects would be.",
    ]


def detectable_auroc(clean: int, suspects: int, level: float = LEVEL) -> float:
    """Return the AUROC that a test of all suspects finds with a power of 80 %, by the normal approximation."""
    spread = math.sqrt((clean + suspects + 1) / (12 * clean * suspects))
    reach = float(stats.norm.isf(level) + stats.norm.ppf(POWER))
    return min(1.0, 0.5 + reach * spread)


def collapse(before: NDArray[Any], after: NDArray[Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the class that a change to clean images makes answers collapse to.

    Args:
        before: (n,) integers, answers to clean images.
        after: (n,) integers, answers to the same images changed.
        classes: C names.

    Returns:
        ``target`` (name), ``share`` of the images answered otherwise before that are answered so after, ``p_value``
        (adjusted for C classes) that more of those whose answer changed go there than would if all the classes were
        alike, by the binomial law.
    """
    moved = after[before != after]
    counts = np.bincount(moved, minlength=len(classes))
    target = int(counts.argmax())
    others = int((before != target).sum())
    chance = 1 / max(1, len(classes) - 1)
    p = float(stats.binom.sf(counts[target] - 1, len(moved), chance)) if len(moved) else 1.0
    return {
        "target": classes[target],
        "share": float(counts[target] / others) if others else 0.0,
        "p_value": min(1.0, p * len(classes)),
    }
