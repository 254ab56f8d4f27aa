"""What to deploy, in one sentence, by what was timed (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shallowdeep.inference.plan import geometric_mean
from shallowdeep.inference.plan_record import EXITS, STATIC, Finalist, SpeedRow, StaticRow
from shallowdeep.inference.precision import runtime_name


class Verdict(NamedTuple):
    """What to deploy.

    Attributes:
        deploy: ``exits`` or ``static``.
        sentence: says so, and why.
    """

    deploy: str
    sentence: str


def verdict(static: StaticRow, finalists: Sequence[Finalist], sizes: Sequence[int], reason: str) -> Verdict:
    """Return what to deploy: exits where they win over all batch sizes together, else the static network.

    Args:
        static: the fastest static network at any precision that is right as often as in float32, within a point.
        finalists: what was timed, the best first; may be none.
        sizes: of batches.
        reason: why exits do not pay, where they do not; a clause.
    """
    keep = f"deploy the static network in {static.name}"
    best = finalists[0] if finalists else None
    if best is None:
        return Verdict(STATIC, f"Do not convert this one here: {keep}; {reason}.")
    if speed_of(best) > 1 and any(speed.low > 1 for speed in best.speeds):
        return Verdict(EXITS, _exits_sentence(best))
    paying = [(finalist, speed) for finalist in finalists for speed in finalist.speeds if speed.low > 1]
    if paying and len(sizes) > 1:
        finalist, speed = max(paying, key=lambda pair: pair[1].speedup)
        alone = (
            f"at batch size {speed.batch_size} alone {named(finalist.exits)} in "
            f"{runtime_name(finalist.backend, finalist.precision)} {'are' if len(finalist.exits) > 1 else 'is'} "
            f"{speed.speedup:.2f} times as fast (plan --batch-sizes {speed.batch_size})"
        )
        return Verdict(
            STATIC, f"Do not convert this one for all these batch sizes together: {keep}; {reason}; but {alone}."
        )
    return Verdict(
        STATIC,
        f"Do not convert this one here: {keep}. The best exits found, {named(best.exits)}, are {_speeds(best.speeds)} "
        f"it: {reason}.",
    )


def speed_of(finalist: Finalist) -> float:
    """Return the mean speed-up over batch sizes."""
    return geometric_mean([speed.speedup for speed in finalist.speeds])


def named(exits: Sequence[int]) -> str:
    """Return what sentences call some exits."""
    numbers = [str(exit_) for exit_ in exits]
    if len(numbers) == 1:
        return f"exit {numbers[0]}"
    return f"exits {', '.join(numbers[:-1])} and {numbers[-1]}"


def _exits_sentence(best: Finalist) -> str:
    paying = [speed for speed in best.speeds if speed.low > 1]
    others = [str(speed.batch_size) for speed in best.speeds if speed.low <= 1]
    against = ", ".join(dict.fromkeys(speed.static for speed in paying))
    except_at = f"; at batch size {' and '.join(others)} the static network is as fast or faster" if others else ""
    name = runtime_name(best.backend, best.precision)
    return f"Deploy {named(best.exits)} in {name}: {_speeds(paying)} the fastest static network ({against}){except_at}."


def _speeds(speeds: Sequence[SpeedRow]) -> str:
    values = [f"{speed.speedup:.2f} (batch {speed.batch_size})" for speed in speeds]
    return f"{', '.join(values)} times as fast as"
