"""Tables of the ``calibrate`` document for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from shallowdeep.calibration.calibrate import TemperatureFit
from shallowdeep.calibration.calibration_report import CalibrationReport
from shallowdeep.exits.outcome import OutcomeSummary
from shallowdeep.report.tables import plain_table

_NEVER = 1.0  # a threshold above it is one that no signal reaches


def calibration_tables(report: CalibrationReport) -> RenderableType:
    """Return what ``calibrate`` finds for people: the policy, what it does on each split, and what is promised.

    Args:
        report: by ``shallowdeep.workflows.calibrate.calibrate_run``.

    Returns:
        One rich renderable, at most 80 columns wide but for the promise.
    """
    policy = report.policy
    splits = {"tune": report.tune, "certify": report.certify, "test": report.test}
    times = report.milliseconds
    timed = [] if times is None else [f"ms at batch {times.batch_size}"]
    parts: list[RenderableType] = [
        plain_table(
            f"{report.dataset}: signal {policy.signal}, when none is confident {policy.fallback}",
            ["exit", "name", "leaves from", "share % tune", "share % test", *timed],
            _exit_rows(report),
        ),
        plain_table(
            "",
            ["split", "samples", "accuracy %", "points lost", "other answer %", "cost", *(["time"] if timed else [])],
            [_split_row(name, outcome) for name, outcome in splits.items()],
        ),
    ]
    if times is not None:
        parts.append(Text(f"Time: a share of the static network's {times.static:.2f} ms, as the plan measured it."))
    if report.temperatures is not None:
        parts.append(Text(_temperature_line(report.temperatures)))
    if policy.ensemble is not None:
        parts.append(Text("Answers by the exits passed so far, with weights and class biases fitted on tune."))
    if report.backbone is not None:
        other = report.backbone
        parts.append(Text(f"Against {other.run} (test): {100 * other.accuracy_lost:+.2f} points lost."))
    abstention, answered = report.abstention, report.test.answered
    if abstention is not None and answered is not None:
        rate = "-" if answered.error_rate is None else f"{100 * answered.error_rate:.2f}"
        parts.append(
            Text(
                f"Abstains by {abstention.indicator}: answers {100 * answered.answered_share:.1f} % of test, {rate} % "
                "of these wrongly."
            )
        )
    promises = (None if abstention is None else abstention.promise, report.promise)
    parts += [Text(f"Promise: {promise.sentence}", style="bold") for promise in promises if promise is not None]
    return Group(*parts)


def _exit_rows(report: CalibrationReport) -> list[tuple[object, ...]]:
    """Return a row for each exit: what it takes to leave there, and how many do."""
    thresholds = [*report.policy.thresholds, 0.0]
    rows = []
    for k, (name, threshold) in enumerate(zip(report.exits, thresholds, strict=True)):
        leaves = "off" if threshold is None else "never" if threshold > _NEVER else f"{threshold:.4f}"
        final = k == len(thresholds) - 1
        shares = [f"{100 * outcome.exit_shares[k]:.1f}" for outcome in (report.tune, report.test)]
        reached = [] if report.milliseconds is None else [report.milliseconds.reached[k]]
        timed = ["" if value is None else f"{value:.2f}" for value in reached]
        rows.append((k, name, "always" if final else leaves, *shares, *timed))
    return rows


def _split_row(name: str, outcome: OutcomeSummary) -> tuple[object, ...]:
    """Return a split's row; points lost are against the network's own final exit."""
    return (
        name,
        outcome.samples,
        f"{100 * outcome.accuracy:.2f}",
        f"{100 * outcome.accuracy_lost + 0.0:+.2f}",
        f"{100 * outcome.disagreement:.2f}",
        f"{outcome.relative_cost:.3f}",
        *([] if outcome.relative_time is None else [f"{outcome.relative_time:.3f}"]),
    )


def _temperature_line(fit: TemperatureFit) -> str:
    """Return what temperatures change: how well probabilities fit the labels."""
    values = " ".join(f"{value:.2f}" for value in fit.values)
    before, after = (sum(losses) / len(losses) for losses in (fit.label_loss_before, fit.label_loss_after))
    return f"Temperatures {values}: mean label loss of the exits on tune {before:.4f} -> {after:.4f} nats."
