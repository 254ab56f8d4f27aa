"""Whether the exits of a bundle pay on this machine, against its own static network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shallowdeep.bench.comparison import BatchTiming, Comparison, check_static, compare
from shallowdeep.errors import ConfigurationError
from shallowdeep.inference.bundle import Bundle, read_bundle
from shallowdeep.inference.plan_record import EXITS, Finalist, Plan, SpeedRow, StaticRow
from shallowdeep.inference.plan_verdict import verdict
from shallowdeep.inference.precision import runtime_name
from shallowdeep.progress import Progress
from shallowdeep.runs.plan_file import machine_setting, runtime_versions
from shallowdeep.workflows.bench import labelled_images
from shallowdeep.workflows.plan_exits import ROUNDS

_OWN_RUNTIME = (
    "A bundle is written for one runtime: its exits and its static network were timed there alone. "
    "`plan RUN` compares with every runtime and precision."
)


def plan_bundle(path: Path, *, batch_sizes: Sequence[int], data: str | None, threads: int, progress: Progress) -> Plan:
    """Return what to serve on this machine: the exits of a bundle, or its static network.

    Nothing is chosen, and nothing written: the bundle's policy is timed as it is.

    Args:
        path: of a bundle with early exits and its static network.
        batch_sizes: to plan for.
        data: labelled images to time on. When None, the test split of what the network was trained on.
        threads: of each process.
        progress: told what is done.

    Raises:
        ShallowDeepError: the bundle or the images cannot be read, or it has no early exits or no static network.
    """
    bundle = read_bundle(path, static=True)
    check_static(bundle)
    if len(bundle.segments) == 1:
        raise ConfigurationError(f"Expected a bundle with early exits, {path} holds a static network")
    found = labelled_images(bundle, data, progress)
    comparison = compare(
        bundle, found.images, found.labels, data=found.name, batch_sizes=batch_sizes, rounds=ROUNDS,
        threads=threads, progress=progress,
    )  # fmt: skip
    return _planned(bundle, comparison)


def _planned(bundle: Bundle, comparison: Comparison) -> Plan:
    """The plan that a comparison gives."""
    largest = max(comparison.batches, key=lambda batch: batch.images)
    name = runtime_name(bundle.backend, bundle.precision)
    sizes = [batch.batch_size for batch in comparison.batches]
    static_ms = tuple(batch.static_ms for batch in comparison.batches)
    row = StaticRow(bundle.backend, bundle.precision, static_ms, largest.static_accuracy or 0.0, allowed=True)
    exits = tuple(segment.exit for segment in bundle.segments[:-1])
    speeds = tuple(_speed(batch, name) for batch in comparison.batches)
    engine = Finalist(
        bundle.backend, bundle.precision, exits, largest.relative_cost, largest.accuracy or 0.0, speeds
    )  # fmt: skip
    said = verdict(row, [engine], sizes, _reason(largest))
    deployed = exits if said.deploy == EXITS else ()
    return Plan(
        str(bundle.path), said.deploy, bundle.backend, bundle.precision, deployed, said.sentence, (row,), (), (engine,),
        (_OWN_RUNTIME, *comparison.warnings), None, static_ms,
        {
            "machine": machine_setting(), "versions": runtime_versions(), "weights": bundle.policy.weights,
            "batch_sizes": sizes, "images": f"{largest.images:,} images of {comparison.data}",
        },
        datetime.now(UTC).date().isoformat(),
    )  # fmt: skip


def _speed(batch: BatchTiming, name: str) -> SpeedRow:
    speedup = batch.speedup
    return SpeedRow(
        batch.batch_size, name, batch.static_ms, batch.engine_ms, speedup.median, speedup.low, speedup.high
    )  # fmt: skip


def _reason(batch: BatchTiming) -> str:
    """Why exits do not pay, where they do not; a clause."""
    return (
        f"where images leave, {100 * (1 - 1 / batch.ideal_speedup):.0f} % of its time could be saved at batch size "
        f"{batch.batch_size}; heads, cuts and padding take the rest"
    )
