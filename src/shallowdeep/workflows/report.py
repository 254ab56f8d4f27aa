"""From an analysis to a page and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib import rc_context

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.analysis.galleries import Gallery, galleries
from shallowdeep.artifacts import PAGE
from shallowdeep.audits.stored_audits import Audits
from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import OutputError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import DEFAULT_SIGNAL, max_probability
from shallowdeep.exits.threshold_curve import threshold_curve
from shallowdeep.files import replacing
from shallowdeep.report.analysis_figures import analysis_figures
from shallowdeep.report.page import page
from shallowdeep.report.page_series import SLIDER_STEPS, Series
from shallowdeep.workflows.analyze import Analyzed

_PAGES = (".html", ".htm")


def report_path(source: Path, out: Path | None) -> Path:
    """Return where the page goes: ``out``, or into the run, or beside the file; into a folder by its own name.

    A path without an extension is taken for a folder: browsers show no page of such a name.

    Raises:
        OutputError: it is no page by its name.
    """
    path = out or (source / PAGE if source.is_dir() else source.with_suffix(".html"))
    folder = path.is_dir() or not (path.suffix or path.exists())
    if not folder and path.suffix.lower() not in _PAGES:
        raise OutputError(f"Expected a page such as report.html or a folder to write to, got {path}")
    return path / PAGE if folder else path


def write_report(analyzed: Analyzed, path: Path, images: int, audits: Audits | None = None) -> list[Path]:
    """Write the page and, beside it, its figures as PNG and SVG.

    Args:
        analyzed: what to show.
        path: of the page.
        images: samples in each gallery; 0 for none.
        audits: of the run, as `read_audits` returns them.

    Returns:
        The files written.

    Raises:
        OutputError: one cannot be written.
        ConfigurationError: Jinja2 is not installed; captum alone missing leaves out the maps.
    """
    analysis, recorded = analyzed.analysis, analyzed.recorded
    pred = recorded.predictions
    shown: tuple[Gallery, ...] = ()
    if images and recorded.labels is not None:
        known = None if analyzed.network is None else analyzed.network.preprocessing
        pictures = analyzed.images()
        shown, note = galleries(
            analyzed.network, pred, pictures, class_names=recorded.class_names,
            exit_names=recorded.exit_names, count=images,
            preprocessing=known if isinstance(known, Preprocessing) else None,
        )  # fmt: skip
        lost = "The images cannot be read any more: galleries show answers alone."
        unread = analyzed.network is not None and pictures is None
        notes = (*analysis.findings.notes, *((note,) if note else ()), *((lost,) if unread else ()))
        analysis = replace(analysis, findings=replace(analysis.findings, notes=notes))
    confidence = np.floor(SLIDER_STEPS * np.asarray(max_probability(pred.logits), dtype=np.float64)).astype(np.uint8)
    right = None if recorded.labels is None else np.asarray(correctness(pred))
    series = Series(confidence, right, np.asarray(pred.costs, dtype=np.float64), _marks(analyzed.policy, pred))
    text = page(analysis, series=series, galleries=shown, audits=audits)
    written = [path]
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for name, figure in analysis_figures(analysis).items():
        for kind in ("png", "svg"):
            written.append(path.with_name(f"{path.stem}-{name}.{kind}"))
            metadata = {"Date": None} if kind == "svg" else {}  # the same figures give the same file
            with replacing(written[-1]) as temporary, rc_context({"svg.hashsalt": "shallowdeep"}):
                figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
    return written


def _marks(policy: Policy | None, pred: ExitPredictions) -> Mapping[str, float]:
    """Return where the page's slider starts: at the run's policy.

    The slider has one threshold for all exits, of the largest probability. For a policy of another kind it starts at
    the threshold whose mean cost on these samples is the policy's, or nearest to it.
    """
    if policy is None:
        return {}
    shared = policy.thresholds[0] if len(set(policy.thresholds)) == 1 else None
    if shared is not None and policy.signal == DEFAULT_SIGNAL and not policy.temperatures:
        return {"this run's policy": min(float(shared), 1.0)}
    curve = threshold_curve(pred, np.arange(SLIDER_STEPS + 1) / SLIDER_STEPS)
    nearest = np.abs(curve.relative_cost - outcome_of(policy, pred).relative_cost).argmin()
    return {"as costly as this run's policy": float(curve.thresholds[nearest])}
