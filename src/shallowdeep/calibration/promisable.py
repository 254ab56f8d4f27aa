"""What a number of ``certify`` images can promise, and what to ask for with so many."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

from shallowdeep.calibration.certification import CERTIFY_SHARE, LARGEST_SHARE
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.risk import ACCURACY_GAP, least_loss, samples_needed

CONFIDENCE = 0.95
LOSSES = (0.01, 0.02, 0.03, 0.05)  # that are suggested
HELD_OUT = "images that it has not seen by calibrate --data FOLDER"
BUDGET = 0.5  # that is suggested where no promise is
_STEPS, _MARGIN = 20, 0.02  # budgets are multiples of .05, and leave room above the first exit
_ROOM = 2  # times what a policy without a single loss needs: real ones lose something


def suggested_loss(certify: int, *, risk: str = ACCURACY_GAP, confidence: float = CONFIDENCE) -> float | None:
    """Return the smallest of `LOSSES` that can reasonably be promised; None where no promise is worth trying.

    It depends on the number of images alone, so a promise made by it holds as if it had been asked for.

    Args:
        certify: how many images there are.
        risk: ``accuracy-gap`` or ``disagreement``.
        confidence: of the promise, in (0, 1).
    """
    enough = (loss for loss in LOSSES if certify >= _ROOM * samples_needed(risk, loss, 1 - confidence))
    return next(enough, None)


def suggested_objective(certify: int, least_cost: float = 0.0, **settings: Any) -> Objective:  # noqa: ANN401
    """Return what suits so many images, `suggested_loss` or a budget, with an objective's other settings.

    Args:
        certify: how many images there are.
        least_cost: of leaving at the first exit, relative; a budget is above it.
        settings: fields of `Objective`.
    """
    asked = Objective(budget=max(BUDGET, ceil(_STEPS * (least_cost + _MARGIN)) / _STEPS), **settings)
    loss = suggested_loss(certify // (1 if asked.abstain is None else 2), risk=asked.risk, confidence=asked.confidence)
    return asked if loss is None else replace(asked, budget=None, max_accuracy_loss=loss)


def suggested_option(certify: int, least_cost: float = 0.0) -> str:
    """Return the option of ``calibrate`` that suits so many images, see `suggested_objective`."""
    return option_of(suggested_objective(certify, least_cost))


def option_of(objective: Objective) -> str:
    """Return the option of ``calibrate`` that asks for a loss or a budget."""
    if objective.max_accuracy_loss is None:
        return f"--budget {objective.budget:g}"
    return f"--max-accuracy-loss {objective.max_accuracy_loss:g}"


def promisable(certify: int, held: int | None) -> str:
    """Return one line on what can be promised with a split, and how to promise a loss of one point.

    Args:
        certify: images of it.
        held: images that ``train``, ``tune`` and ``certify`` are cut from; None where ``certify`` is cut from a part of
            its own.
    """
    least, needed = least_loss(ACCURACY_GAP, certify, 1 - CONFIDENCE), samples_needed(ACCURACY_GAP, LOSSES[0], 0.05)
    images = f"{certify:,} image{'' if certify == 1 else 's'} kept for promises (certify)"
    what = "too few for any" if least is None else f"at best they promise a loss of at most {100 * least:g} points"
    if certify >= _ROOM * needed:
        return f"{images}: {what}"
    return f"{images}: {what}; for 1 point take {_more(_ROOM * needed, held)}"


def _more(wanted: int, held: int | None) -> str:
    """Return how to have so many ``certify`` images."""
    share = None if held is None else ceil(100 * wanted / (CERTIFY_SHARE * held)) / 100
    if share is None or share > LARGEST_SHARE:
        return f"some {wanted:,}: {HELD_OUT}, or calibration/CLASS in the data before training"
    return f"some {wanted:,}: --calibration-fraction {share:g}, or {HELD_OUT}"
