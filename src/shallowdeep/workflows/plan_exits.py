"""Exits that could win here: looked into where their runtime is fast enough, then timed as they would run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shallowdeep.bench.runtime_times import Contender, runtime_times
from shallowdeep.bench.turns import seconds_in_turns
from shallowdeep.bench.worker import ENGINE, STATIC
from shallowdeep.bench.workers import paired_ratio
from shallowdeep.calibration.calibrate import Search
from shallowdeep.calibration.expected_policy import expected_policy
from shallowdeep.exits.outcome import Outcome, outcome_of
from shallowdeep.exits.policy import NEVER, Policy
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.plan import RuntimeTimes, exit_sets, expected_seconds, geometric_mean
from shallowdeep.inference.plan_record import ExitRow, Finalist, SpeedRow
from shallowdeep.inference.plan_verdict import speed_of
from shallowdeep.machine import available_cores
from shallowdeep.workflows.plan_runtimes import WITHIN, PlannedRuntime, Site

NEAR = 1.3  # static networks at most so much slower than the fastest are timed again, in turns
ROUNDS = 9
FINALISTS = 4
MARGIN = 0.8  # of the mean cost of all exits: few exits may take less time than their multiply-adds say
_STEP = 4  # between sizes of batch that are measured besides those asked for


class ExitChoice(NamedTuple):
    """Exits that could win.

    Attributes:
        runtime: that they would run in.
        times: what it takes for each exit.
        policy: that calibration is expected to find.
        outcome: what it does on ``tune``.
        speedup: expected, against the fastest static network; a mean over batch sizes.
    """

    runtime: PlannedRuntime
    times: RuntimeTimes
    policy: Policy
    outcome: Outcome
    speedup: float


@dataclass(frozen=True)
class LookedInto:
    """What looking into exits gave.

    Attributes:
        choices: sets of exits that do what is asked for.
        times: of each runtime that was looked into.
        slow: why others were not; sentences.
    """

    choices: tuple[ExitChoice, ...]
    times: tuple[RuntimeTimes, ...]
    slow: tuple[str, ...]


def look_into(site: Site, runtimes: Sequence[PlannedRuntime]) -> LookedInto:
    """Measure and search the exits of every runtime that is fast enough for them to win."""
    best = np.min([runtime.row.milliseconds for runtime in runtimes if runtime.row.allowed], axis=0)
    least = MARGIN * _mean_cost(site)
    choices, measured, slow = list[ExitChoice](), list[RuntimeTimes](), list[str]()
    for runtime in runtimes:
        slower = float(min(np.asarray(runtime.row.milliseconds) / best))
        if slower * least > 1:
            slow.append(
                f"Exits in {runtime.row.name} are not looked into: its static network takes {slower:.1f} times as long "
                f"as the fastest, and exits that do what is asked for leave {100 * least / MARGIN:.0f} % of the work."
            )
            continue
        times = _cut_times(site, runtime)
        measured.append(times)
        choices += _searched(site, runtime, times, (best / 1e3).tolist())
    return LookedInto(tuple(choices), tuple(measured), tuple(slow))


def _mean_cost(site: Site) -> float:
    """Return the mean cost of all exits together, in multiply-adds: about the least that any set of them leaves."""
    policy = expected_policy(site.asked.objective, site.tune, Search(), samples=len(site.splits.certify))
    return 1.0 if policy is None else outcome_of(policy, site.tune).relative_cost


def _cut_times(site: Site, runtime: PlannedRuntime) -> RuntimeTimes:
    """Time the network cut at each exit."""
    halves = []
    for exit_ in range(site.early):
        used = range(exit_ + 1) if site.network.costs.cascaded else [exit_]
        thresholds = tuple(NEVER if number in used else None for number in range(site.early))
        policy = Policy(thresholds, weights=site.network.weights)
        halves.append(runtime.writer.write(policy, site.work / f"{runtime.row.name} {exit_}", static=False))
    asked = site.asked.batch_sizes
    wanted = sorted({_STEP**power for power in range(10) if _STEP**power < max(asked)} | set(asked))
    with site.progress.start(f"timing exits in {runtime.row.name}", "sizes", len(wanted)) as bar:
        return runtime_times(runtime.whole, halves, site.images, wanted, threads=available_cores(), bar=bar)


def exit_rows(times: RuntimeTimes, sizes: Sequence[int]) -> list[ExitRow]:
    """Return what each exit takes at some sizes of batch."""
    rows = []
    static = np.asarray([times.static_seconds(size) for size in sizes])
    for exit_ in range(times.early):
        head = np.asarray([times.head_seconds(exit_, size) for size in sizes])
        reached = np.asarray([times.segment_seconds(-1, exit_, size) for size in sizes])
        depth, share = np.maximum(reached - head, 0) / static, head / static
        columns = (tuple(values.tolist()) for values in (depth, share, 1e3 * reached))
        rows.append(ExitRow(times.backend, times.precision, exit_, *columns))
    return rows


def _searched(site: Site, runtime: PlannedRuntime, times: RuntimeTimes, best: Sequence[float]) -> list[ExitChoice]:
    """Return what each set of exits is expected to do; ``best`` are the fastest static network's seconds."""
    cascaded, sizes = site.network.costs.cascaded, site.asked.batch_sizes
    sets = list(exit_sets(site.early, cascaded=cascaded))
    costs, rows = times.costs(sizes, cascaded=cascaded), _rows(runtime.whole)
    found: dict[tuple[int, ...], ExitChoice] = {}
    with site.progress.start(f"searching exits in {runtime.row.name}", "sets", len(sets)) as bar:
        for kept in sets:
            samples = len(site.splits.certify)
            policy = expected_policy(site.asked.objective, runtime.tune, Search(kept, costs), samples=samples)
            bar.advance(1)
            if policy is None or len(policy.in_use) == 1 or policy.in_use in found:
                continue
            outcome = outcome_of(policy, runtime.tune)
            ratios = [
                seconds / expected_seconds(times, policy.in_use, outcome.exits, size, rows)
                for size, seconds in zip(sizes, best, strict=True)
            ]
            found[policy.in_use] = ExitChoice(runtime, times, policy, outcome, geometric_mean(ratios))
    return list(found.values())


def _rows(bundle: Bundle) -> Callable[[int], int]:
    """Return how many images a bundle computes for so many."""
    return int if bundle.runtime is None else bundle.runtime.rows


def best_of(choices: Sequence[ExitChoice]) -> list[ExitChoice]:
    """Return what to time: the fastest expected of those within a point of the most accurate."""
    if not choices:
        return []
    most = max(choice.outcome.accuracy for choice in choices)
    kept = [choice for choice in choices if choice.outcome.accuracy >= most - WITHIN]
    return sorted(kept, key=lambda choice: -choice.speedup)[:FINALISTS]


def timed(site: Site, best: Sequence[ExitChoice], allowed: Sequence[PlannedRuntime]) -> list[Finalist]:
    """Time what could win as it would run, in turns with the fastest static networks; the fastest first.

    The fastest is timed once more, alone: the best of several is in part the luckiest.
    """
    if not best:
        return []
    threads = available_cores()
    fastest = np.min([runtime.row.milliseconds for runtime in allowed], axis=0)
    near = [runtime for runtime in allowed if min(np.asarray(runtime.row.milliseconds) / fastest) <= NEAR]
    bundles = [
        choice.runtime.writer.write(choice.policy, site.work / f"finalist {number}", static=False)
        for number, choice in enumerate(best)
    ]
    with ExitStack() as stack:
        statics = {runtime.row.name: Contender(runtime.whole, STATIC, site.images, threads, stack) for runtime in near}
        engines = [Contender(bundle, ENGINE, site.images, threads, stack) for bundle in bundles]
        speeds = _speeds(site, statics, engines, "timing what could win")
        finalists = [_finalist(choice, rows) for choice, rows in zip(best, speeds, strict=True)]
        first = max(range(len(best)), key=lambda number: speed_of(finalists[number]))
        (again,) = _speeds(site, statics, [engines[first]], "timing the fastest again")
    others = [one for number, one in enumerate(finalists) if number != first]
    return [_finalist(best[first], again), *sorted(others, key=lambda one: -speed_of(one))]


def _speeds(
    site: Site, statics: Mapping[str, Contender], engines: Sequence[Contender], what: str
) -> list[list[SpeedRow]]:
    """Time engines in turns with static networks; of each engine a row for each batch size."""
    sizes = site.asked.batch_sizes
    found: list[list[SpeedRow]] = [[] for _ in engines]
    named = {f"engine {number}": engine for number, engine in enumerate(engines)}
    with site.progress.start(what, "sizes", len(sizes)) as bar:
        for size in sizes:
            seconds = seconds_in_turns({**statics, **named}, size, ROUNDS)
            divisor = min(statics, key=lambda name: float(np.median(seconds[name])))
            for rows, name in zip(found, named, strict=True):
                rows.append(_speed_row(size, divisor, seconds[divisor], seconds[name]))
            bar.advance(1, f"batch {size}")
    return found


def _finalist(choice: ExitChoice, rows: Sequence[SpeedRow]) -> Finalist:
    row, outcome = choice.runtime.row, choice.outcome
    early = choice.policy.in_use[:-1]
    return Finalist(row.backend, row.precision, early, outcome.relative_cost, outcome.accuracy, tuple(rows))


def _speed_row(size: int, static: str, slower: Sequence[float], faster: Sequence[float]) -> SpeedRow:
    ratio = paired_ratio(slower, faster)
    static_ms, engine_ms = (1e3 * float(np.median(values)) for values in (slower, faster))
    return SpeedRow(size, static, static_ms, engine_ms, ratio.median, ratio.low, ratio.high)


def reason_against(best: Sequence[ExitChoice], looked_into: LookedInto) -> str:
    """Return why exits do not pay, as a clause: what they save, and what their heads and cuts take."""
    if not best:
        return "no early exit does what was asked for" if looked_into.times else "no runtime is fast enough for exits"
    times, policy, outcome = best[0].times, best[0].policy, best[0].outcome
    size = times.sizes[-1]
    static = times.static_seconds(size)
    saved, spent = 0.0, 0.0
    for exit_ in policy.in_use:
        share = float((outcome.exits == exit_).mean())
        saved += share * (0.0 if exit_ == times.early else times.segment_seconds(exit_, times.early, size)) / static
        passed = [number for number in policy.in_use[:-1] if number <= exit_]
        spent += share * sum(times.head_seconds(number, size) for number in passed) / static
    return (
        f"leaving early saves {100 * saved:.0f} % of the network's time at batch size {size}, and its heads and cuts "
        f"take {100 * spent:.0f} %"
    )
