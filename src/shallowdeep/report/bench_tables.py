"""Tables of `bench`: speed and accuracy side by side, and what the exits taken would allow."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.bench.comparison import BatchTiming, Comparison
from shallowdeep.bench.loss_warning import DISAGREEMENT
from shallowdeep.bench.workers import PairedRatio
from shallowdeep.exits.promises import Promise, points
from shallowdeep.inference.precision import runtime_name
from shallowdeep.report.tables import plain_table

_SPEED = ["batch", "static ms", "engine ms", "speed-up [95 %]", "accuracy %", "static's", "points lost [95 %]"]
_EXITS = ["batch", "images", "cost", "ideal", "by MACs", "of ideal", "overhead %", "% that leave at each exit"]
_NEIGHBOUR = [
    "batch", "static ms", "beside", "slower", "engine ms", "beside", "slower", "speed-up [95 %]", "of ideal"
]  # fmt: skip
_BESIDE = "beside: one busy single-threaded process; slower: times as long as without it, in the same rounds"
_ACCURACY = "accuracy: the engine's; static's: the static network's on these images; points lost: difference"
_NO_LABELS = "accuracy: not known, since these images have no labels"
_EXPLAINED = (
    "images: different ones timed; cost: their mean multiply-adds, the static network's are 1",
    "ideal: speed-up if each image took the time of its segments alone; by MACs: by multiply-adds instead",
    "of ideal: speed-up / ideal, above 1 where other work on the machine disturbs",
    "overhead: the engine's time outside segments, to decide and move images",
)


def bench_tables(comparison: Comparison) -> RenderableType:
    """Return what ``bench`` finds for people: times and accuracies, ideals and exits, and what to beware of.

    Args:
        comparison: of engine and static network.
    """
    batches, machine, ratio = comparison.batches, comparison.machine, comparison.peak_memory.ratio
    title = f"{comparison.model} on {comparison.data}, {runtime_name(comparison.backend, comparison.precision)}"
    labelled = all(batch.accuracy is not None for batch in batches)
    at_hand = f"{comparison.images:,} images at hand, {comparison.rounds} rounds"
    lines = [
        _ACCURACY if labelled else _NO_LABELS,
        *_EXPLAINED,
        *([_BESIDE] if comparison.neighbour else []),
        "",
        f"Policy: {_promised(comparison.promise)}",
        f"Peak memory: {'not known' if ratio is None else f'{ratio:.2f}x the static run'}",
        f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads, {machine.date}; {at_hand}",
    ]
    return Group(
        plain_table(title, _SPEED, [_speed_row(batch, comparison.rounds) for batch in batches]),
        plain_table("", _EXITS, [_exits_row(batch) for batch in batches]),
        *_neighbour_tables(comparison),
        *(Text(line) for line in lines),
        *(Text(f"Warning: {warning}", style="bold") for warning in comparison.warnings),
    )


def _speedup(found: PairedRatio, rounds: int) -> str:
    """The speed-up, with its interval where there are several rounds."""
    return f"{found.median:.2f}" + (f" [{found.low:.2f}, {found.high:.2f}]" if rounds > 1 else "")


def _speed_row(batch: BatchTiming, rounds: int) -> tuple[object, ...]:
    """Times, speed-up and accuracy at one batch size."""
    return (
        batch.batch_size,
        f"{batch.static_ms:.2f}",
        f"{batch.engine_ms:.2f}",
        _speedup(batch.speedup, rounds),
        _percent(batch.accuracy),
        _percent(batch.static_accuracy),
        _lost(batch),
    )


def _exits_row(batch: BatchTiming) -> tuple[object, ...]:
    """Ideals and exits at one batch size."""
    return (
        batch.batch_size,
        batch.images,
        f"{batch.relative_cost:.3f}",
        f"{batch.ideal_speedup:.2f}",
        f"{batch.ideal_speedup_macs:.2f}",
        f"{batch.of_ideal:.2f}",
        f"{100 * batch.overhead_share:.1f}",
        " ".join(f"{100 * share:.0f}" for share in batch.exit_shares),
    )


def _neighbour_tables(comparison: Comparison) -> list[RenderableType]:
    """Both sides' times without and with the busy process side by side; nothing where there was none."""
    rows = [
        (
            batch.batch_size,
            f"{batch.static_ms:.2f}",
            f"{found.static_ms:.2f}",
            f"{found.static_slowdown.median:.2f}",
            f"{batch.engine_ms:.2f}",
            f"{found.engine_ms:.2f}",
            f"{found.engine_slowdown.median:.2f}",
            _speedup(found.speedup, comparison.rounds),
            f"{found.of_ideal:.2f}",
        )
        for batch in comparison.batches
        if (found := batch.neighbour) is not None
    ]
    return [plain_table("Beside a busy process", _NEIGHBOUR, rows)] if rows else []


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def _lost(batch: BatchTiming) -> str | None:
    """Points lost with their interval; None where they are not known."""
    if batch.accuracy_loss is None or batch.accuracy_loss_interval is None:
        return None
    low, high = batch.accuracy_loss_interval
    return f"{100 * batch.accuracy_loss + 0.0:.2f} [{100 * low:.1f}, {100 * high:.1f}]"


def _promised(promise: Promise | None) -> str:
    """What the policy promises, in one line."""
    if promise is None:
        return "promises nothing about the accuracy lost"
    against = "the float32 network" if promise.runtime else "the static network"
    what = (
        f"other answers than {against} for at most {100 * promise.max_loss:g} % of images"
        if promise.risk == DISAGREEMENT
        else f"to be at most {points(promise.max_loss)} less accurate than {against}"
    )
    return f"promises {what}, with {100 * promise.confidence:g} % confidence"
