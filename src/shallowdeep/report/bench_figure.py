"""The picture of `bench`: speed-up by batch size, beside what the exits taken would allow."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shallowdeep.bench.comparison import Comparison

_SIZE = (7.0, 4.2)  # inches
_BLUE, _GREY, _BLACK = "#0072B2", "#999999", "#000000"


def bench_figure(comparison: Comparison) -> Figure:
    """Return the speed-up over the static network at each batch size.

    Args:
        comparison: of engine and static network.

    Returns:
        A figure with one axes: measured speed-ups with their intervals, and the ideals by time and by MACs.
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
    for place, median in zip(places, medians, strict=True):
        axes.annotate(f"{median:.2f}x", (place, median / 2), ha="center", color="white", fontweight="bold")
    axes.axhline(1.0, color=_BLACK, linestyle="--", linewidth=1, zorder=1)
    axes.set_xticks(places, [str(batch.batch_size) for batch in batches])
    axes.set_xlabel("batch size")
    axes.set_ylabel("times as fast as the static network")
    tops = [max(batch.ideal_speedup, batch.ideal_speedup_macs, batch.speedup.high) for batch in batches]
    axes.set_ylim(0, 1.2 * max(tops))
    machine = comparison.machine
    where = f"{machine.threads} threads, {machine.cpu}, {machine.date}"
    axes.set_title(f"{comparison.model}, {comparison.backend}, {where}", fontsize=10)
    axes.legend(loc="upper center", ncols=3, frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
