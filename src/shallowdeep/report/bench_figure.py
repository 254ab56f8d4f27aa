"""The picture of `bench`: speed-up and accuracy lost by batch size, beside what the exits taken would allow."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shallowdeep.bench.comparison import BatchTiming, Comparison

_SIZE = (7.0, 4.2)  # inches
_BLUE, _GREY, _BLACK = "#0072B2", "#999999", "#000000"


def bench_figure(comparison: Comparison) -> Figure:
    """Return the speed-up over the static network at each batch size.

    Args:
        comparison: of engine and static network.

    Returns:
        A figure with one axes: measured speed-ups with their intervals, and the ideals by time and by MACs. Below each
        batch size stand the speed-up and the accuracy lost there, in points.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    batches = comparison.batches
    places = list(range(len(batches)))
    medians = [batch.speedup.median for batch in batches]
    below = [batch.speedup.median - batch.speedup.low for batch in batches]
    above = [batch.speedup.high - batch.speedup.median for batch in batches]
    axes.bar(places, medians, width=0.5, color=_BLUE, label="engine", zorder=2)
    axes.errorbar(places, medians, yerr=[below, above], color=_BLACK, linestyle="", capsize=4, zorder=3)
    for ideals, style, label in (
        ([batch.ideal_speedup for batch in batches], "_", "ideal by time"),
        ([batch.ideal_speedup_macs for batch in batches], "x", "ideal by MACs"),
    ):
        axes.plot(
            places, ideals, linestyle="", marker=style, markersize=14 if style == "_" else 7,
            markeredgewidth=2, color=_BLACK if style == "_" else _GREY, label=label, zorder=4,
        )  # fmt: skip
    axes.axhline(1.0, color=_BLACK, linestyle="--", linewidth=1, zorder=1)
    axes.set_xticks(places, [_label(batch) for batch in batches])
    known = all(batch.accuracy_loss is not None for batch in batches)
    axes.set_xlabel("batch size, speed-up, points lost on the images timed" if known else "batch size, speed-up")
    axes.set_ylabel("times as fast as the static network")
    tops = [max(batch.ideal_speedup, batch.ideal_speedup_macs, batch.speedup.high) for batch in batches]
    axes.set_ylim(0, 1.2 * max(tops))
    machine = comparison.machine
    where = f"{machine.threads} threads, {machine.cpu}, {machine.date}"
    axes.set_title(f"{comparison.model}, {comparison.backend}, {where}", fontsize=10)
    axes.legend(loc="upper center", ncols=3, frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _label(batch: BatchTiming) -> str:
    """The batch size, and below it the speed-up and the points lost or gained."""
    measured = f"{batch.batch_size}\n{batch.speedup.median:.2f}x"
    if batch.accuracy_loss is None:
        return measured
    word = "gained" if batch.accuracy_loss < 0 else "lost"
    return f"{measured}\n{100 * abs(batch.accuracy_loss):.1f} points {word}"
