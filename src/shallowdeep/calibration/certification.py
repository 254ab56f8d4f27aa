"""Which policies to test on ``certify``, in which order, and what may be promised after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.calibration.candidates import Candidate, pareto
from shallowdeep.calibration.risk import ACCURACY_GAP, DISAGREEMENT, last_passing, least_loss, p_values, samples_needed
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import final_answers, outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions

SPACING = 0.0025  # of relative cost between neighbours in the sequence: coarse steps jump over settings that pass
CAREFUL_SPACING = 0.02  # likewise, of those that are as safe as the first
CERTIFY_SHARE = 2 / 3  # of the calibration split
SHARED = " (each of two promises has a half of certify)"
OTHERS = "calibrate --data FOLDER takes images that the network has not seen"
LARGEST_SHARE = 0.5  # of the images for training that anyone would hold out
_NAMED = {ACCURACY_GAP: "an accuracy loss", DISAGREEMENT: "other answers"}
_GUESS = 1  # samples with another answer that ``tune`` is thought to hold besides, so that no variance is 0
_Z = 1.645  # standard errors from the mean loss to its upper bound

Losses = NDArray[np.int8]


@dataclass(frozen=True)
class Certified:
    """What testing a sequence gave.

    Args:
        chosen: index of the boldest policy that may be promised; None for none.
        p_values: of those looked at: up to the first that does not pass, or all.
    """

    chosen: int | None
    p_values: tuple[float, ...]


def losses_of(risk: str, answers: NDArray[Any], pred: ExitPredictions) -> Losses:
    """Return the loss of each answer against the network's own final exit.

    Args:
        risk: ``accuracy-gap`` or ``disagreement``.
        answers: (..., N) integers in [0, C).
        pred: predictions of all exits on the same N samples.

    Returns:
        (..., N) in {-1, 0, 1} (minus is a gain) or in {0, 1}.
    """
    final = final_answers(pred)
    if risk == ACCURACY_GAP:
        truth = to_numpy(pred.labels)
        gap: Losses = (final == truth).astype(np.int8) - (answers == truth).astype(np.int8)
        return gap
    differs: Losses = (answers != final).astype(np.int8)
    return differs


def sequence_to_test(found: Sequence[Candidate], tune: ExitPredictions, *, risk: str, samples: int) -> list[Candidate]:
    """Return the policies to test, from safe and dear to bold and cheap, by ``tune`` alone.

    Kept is what no other beats in cost and in the upper bound on its loss that ``certify`` can be expected to show,
    ``max(mean, 0) + z·sqrt(share of answers changed / samples)``: a gain on ``tune`` is as likely luck. Neighbours are
    at least a quarter of a per cent of cost apart. Before them stand dearer policies of the same, lowest bound, 2 %
    apart: where ``tune`` is small many change no answer there, and the cheapest of these may still fail on ``certify``.

    The loss that will be promised has no part in it. One sequence serves all of them, and a setting that passes at
    one loss passes at every larger one: a looser promise never costs more on ``tune``.

    Args:
        found: candidates.
        tune: the split that they were found on.
        risk: ``accuracy-gap`` or ``disagreement``.
        samples: of ``certify``.

    Returns:
        At least one; costs on ``tune`` fall along it, and the first is the one expected to be safest.

    Source: Laufer-Goldshtein et al., "Efficiently controlling multiple risks with Pareto testing", ICLR 2023.
    """
    bounds = upper_bounds(found, tune, risk=risk, samples=samples)
    costs = np.asarray([candidate.relative_cost for candidate in found])
    front = pareto(-bounds, costs)
    as_safe = np.flatnonzero((bounds == bounds.min()) & (costs <= 1))
    careful = _apart(as_safe[np.argsort(-costs[as_safe], kind="stable")].tolist(), costs, CAREFUL_SPACING)
    careful = [place for place in careful if costs[place] >= costs[front[0]] + CAREFUL_SPACING]
    return [found[place] for place in (*careful, *_apart(front, costs, SPACING))]


def upper_bounds(found: Sequence[Candidate], tune: ExitPredictions, *, risk: str, samples: int) -> NDArray[np.float64]:
    """Return the upper bound on each candidate's loss that ``certify`` can be expected to show, by ``tune``.

    Args:
        found: M candidates.
        tune: the split that they were found on.
        risk: ``accuracy-gap`` or ``disagreement``.
        samples: of ``certify``.

    Returns:
        (M,) fractions.
    """
    losses = np.stack([losses_of(risk, candidate.answers, tune) for candidate in found])  # (M, N)
    changed = (np.count_nonzero(losses, axis=1) + _GUESS) / (tune.samples + _GUESS)
    bounds: NDArray[np.float64] = np.maximum(losses.mean(axis=1), 0.0) + _Z * np.sqrt(changed / samples)
    return bounds


def _apart(places: Sequence[int], costs: NDArray[np.float64], spacing: float) -> list[int]:
    """Return the places, from dear to cheap, without those less than ``spacing`` below the one before in cost."""
    kept: list[int] = []
    for place in places:
        if not kept or costs[place] <= costs[kept[-1]] - spacing:
            kept.append(place)
    return kept


def certify_sequence(
    policies: Sequence[Policy], certify: ExitPredictions, *, risk: str, eps: float, delta: float
) -> Certified:
    """Return the boldest policy of a sequence whose risk is at most eps, with probability at least 1-delta.

    Each policy is tested at the full level, because the walk ends at the first that fails: fixed-sequence testing.

    Args:
        policies: from safe to bold, chosen without ``certify``.
        certify: predictions on samples that neither training nor any choice has seen.
        risk: ``accuracy-gap`` or ``disagreement``.
        eps: largest mean loss allowed.
        delta: probability, over the draw of ``certify``, that a worse one may be returned.

    Raises:
        ConfigurationError: too few samples for any promise, or a value out of range.
    """
    check_enough(certify.samples, risk=risk, eps=eps, delta=delta)
    values: list[float] = []
    for policy in policies:
        losses = losses_of(risk, outcome_of(policy, certify).labels, certify)
        values.append(float(p_values(risk, losses[None], eps, delta)[0]))
        if values[-1] > delta:
            break
    return Certified(last_passing(values, delta), tuple(values))


def check_enough(samples: int, *, risk: str, eps: float, delta: float, held: int | None = None, parts: int = 1) -> None:
    """Refuse a ``certify`` split on which not even a flawless policy could pass.

    Args:
        samples: of ``certify``.
        risk: ``accuracy-gap`` or ``disagreement``.
        eps: largest mean loss to be promised.
        delta: 1 - confidence.
        held: images that ``train``, ``tune`` and ``certify`` were cut from; None where that is not known.
        parts: how many promises share ``certify``; ``samples`` is what this one has.

    Raises:
        ConfigurationError: naming the size needed and what to do.
    """
    needed = samples_needed(risk, eps, delta)
    if samples >= needed:
        return
    least = least_loss(risk, samples, delta)
    can = f"{'no bound' if least is None else f'a loss of at most {100 * least:g} %'} can be promised with these"
    share = None if held is None else ceil(100 * parts * needed / (CERTIFY_SHARE * held)) / 100
    if share is None:
        advice = f"hold out more: {OTHERS}"
    elif share > LARGEST_SHARE:
        advice = f"all {held:,} images for training are too few to hold out so many: {OTHERS}"
    else:
        advice = f"train with --calibration-fraction {share:.2f} or more, or {OTHERS}"
    raise ConfigurationError(
        f"Expected at least {needed:,} certify samples to promise {_NAMED[risk]} of at most {100 * eps:g} % with "
        f"{100 * (1 - delta):g} % confidence, got {samples:,}{SHARED if parts > 1 else ''}; {advice}; {can}; "
        "--budget and --threshold promise nothing and need none"
    )
