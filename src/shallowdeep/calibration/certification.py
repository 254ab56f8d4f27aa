"""Which policies to test on ``certify``, in which order, and what may be promised after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from shallowdeep.calibration.candidates import Candidate, pareto
from shallowdeep.calibration.risk import ACCURACY_GAP, last_passing, least_loss, p_values, samples_needed
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import final_answers, outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions

SPACING = 0.01  # of relative cost between neighbours in the sequence: each test is one more chance to stop
SURE = 0.5  # share of eps below which the bound of a policy with one threshold for all exits is trusted
HOPELESS = 3.0  # standard errors on ``tune`` above eps, from where on no setting is worth a test
CERTIFY_SHARE = 2 / 3  # of the calibration split
SHARED = " (each of two promises has a half of certify)"
LARGEST_SHARE = 0.5  # of the images for training that anyone would hold out
_GUESS = 30.0  # samples at a loss rate of eps that a variance on ``tune`` is mixed with, so that none is 0

Losses = NDArray[np.int8]


@dataclass(frozen=True)
class Certified:
    """What testing a sequence gave.

    Args:
        chosen: index of the boldest policy that may be promised; None for none.
        p_values: one for each of the sequence.
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


def sequence_to_test(
    found: Sequence[Candidate], tune: ExitPredictions, *, risk: str, eps: float, delta: float, samples: int
) -> list[Candidate]:
    """Return the policies to test, from safe and dear to bold and cheap, by ``tune`` alone.

    Two lines of policies are drawn up and the one that can be expected to reach the lower cost is taken: one threshold
    for all exits; or per-exit thresholds, behind shared ones that are surely safe. (Mixing both freely would let one
    misjudged policy bar the way to better ones.) A line keeps what no other on it beats in cost and in the upper bound
    that ``certify`` can be expected to show, ``max(mean, 0) + z·sqrt(variance / samples)``: a gain on ``tune`` is as
    likely luck. Neighbours are a per cent of cost apart, and what is far above eps on ``tune`` is left out.

    Args:
        found: candidates.
        tune: the split that they were found on.
        risk: ``accuracy-gap`` or ``disagreement``.
        eps: largest mean loss to be promised.
        delta: 1 - confidence.
        samples: of ``certify``.

    Returns:
        At least one; the first is the one expected to be safest.

    Source: Laufer-Goldshtein et al., "Efficiently controlling multiple risks with Pareto testing", ICLR 2023.
    """
    losses = np.stack([losses_of(risk, candidate.answers, tune) for candidate in found])  # (M, N)
    mean, weight = losses.mean(axis=1), _GUESS / (_GUESS + tune.samples)
    variance = weight * eps + (1 - weight) * losses.var(axis=1)
    bounds = np.maximum(mean, 0.0) - ndtri(delta) * np.sqrt(variance / samples)
    worth_a_test = mean - HOPELESS * np.sqrt(variance / tune.samples) <= eps
    fitted = np.asarray([candidate.fitted for candidate in found])
    sure = bounds <= SURE * eps
    lines = [
        _line(np.flatnonzero(kept), found, bounds) for kept in (~fitted, (fitted & worth_a_test) | (~fitted & sure))
    ]
    best = min(lines, key=lambda line: _reach(line, found, bounds, eps))  # of equal ones the simpler
    tested = [best[0], *(index for index in best[1:] if worth_a_test[index])]
    return [found[index] for index in tested]


def _line(kept: NDArray[np.int64], found: Sequence[Candidate], bounds: NDArray[np.float64]) -> list[int]:
    """Return which of the candidates kept stand on the front of bound and cost, thinned out, dearest first."""
    costs = np.asarray([found[index].relative_cost for index in kept])
    line: list[int] = []
    for place in pareto(-bounds[kept], costs):
        if not line or costs[place] <= found[line[-1]].relative_cost - SPACING:
            line.append(int(kept[place]))
    return line


def _reach(line: Sequence[int], found: Sequence[Candidate], bounds: NDArray[np.float64], eps: float) -> float:
    """Return the cost of the last policy of a line before the first that cannot be expected to pass."""
    reached = 1.0
    for index in line:
        if bounds[index] > eps:
            break
        reached = found[index].relative_cost
    return reached


def certify_sequence(
    policies: Sequence[Policy],
    certify: ExitPredictions,
    *,
    risk: str,
    eps: float,
    delta: float,
    seed: int = 0,
) -> Certified:
    """Return the boldest policy of a sequence whose risk is at most eps, with probability at least 1-delta.

    Args:
        policies: from safe to bold, chosen without ``certify``.
        certify: predictions on samples that neither training nor any choice has seen.
        risk: ``accuracy-gap`` or ``disagreement``.
        eps: largest mean loss allowed.
        delta: probability, over the draw of ``certify``, that a worse one may be returned.
        seed: of the order in which samples are looked at.

    Raises:
        ConfigurationError: too few samples for any promise, or a value out of range.
    """
    check_enough(certify.samples, risk=risk, eps=eps, delta=delta)
    order = seeded_order(certify.samples, seed)
    answers = np.stack([outcome_of(policy, certify).labels for policy in policies])
    values = p_values(risk, losses_of(risk, answers, certify)[:, order], eps, delta)
    return Certified(last_passing(values, delta), tuple(values.tolist()))


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
        advice = "hold out more"
    elif share > LARGEST_SHARE:
        advice = f"all {held:,} images for training are too few to hold out so many"
    else:
        advice = f"train with --calibration-fraction {share:.2f} or more"
    raise ConfigurationError(
        f"Expected at least {needed:,} certify samples to promise {risk} of at most {100 * eps:g} % with "
        f"{100 * (1 - delta):g} % confidence, got {samples:,}{SHARED if parts > 1 else ''}; {advice}; {can}; "
        "--budget and --threshold promise nothing and need none"
    )
