"""Whole pages of the report, one for each kind of findings it must be able to show."""

from __future__ import annotations

from dataclasses import replace

from tests.report.page_documents import NASTY, analysis, drawn, galleries, series

from shallowdeep.analysis.galleries import ExitAnswer
from shallowdeep.report.page import page

FOUND = drawn(2000)
MARKS = {"promised threshold": 0.84, "half of the cost": 0.6}


def full() -> str:
    """Return a page with everything."""
    return page(analysis(FOUND), series=series(FOUND, marks=MARKS), galleries=galleries(FOUND, 14))


def unlabelled() -> str:
    """Return a page about samples without labels."""
    return page(analysis(FOUND, labelled=False), series=series(FOUND, labelled=False))


def single() -> str:
    """Return a page about a network with one exit."""
    found = drawn(50, exits=1)
    return page(analysis(found), series=series(found), galleries=galleries(found))


def faultless() -> str:
    """Return a page about a network that makes no mistake at its end."""
    answers = FOUND.answers.copy()
    answers[-1] = FOUND.labels
    found = FOUND._replace(answers=answers)
    return page(analysis(found), series=series(found))


def pictureless() -> str:
    """Return a page whose galleries have no images, and without intervals, confidences and series."""
    first, *rest = galleries(FOUND, images=False)
    samples = tuple(
        replace(sample, label=None, answers=tuple(map(_unsaid, sample.answers))) for sample in first.samples
    )
    shown = analysis(FOUND)
    found = shown.findings
    assert found.wasteful is not None
    assert found.destructive is not None
    assert found.answer_rule is not None
    found = replace(
        found,
        wasteful=replace(found.wasteful, intervals={}),
        destructive=replace(found.destructive, intervals={}),
        answer_rule=replace(found.answer_rule, intervals={}),
    )
    return page(replace(shown, findings=found), series=None, galleries=[replace(first, samples=samples), *rest])


def _unsaid(answer: ExitAnswer) -> ExitAnswer:
    """Return an answer of which neither confidence nor correctness is known."""
    return replace(answer, right=None, confidence=float("nan"))


def marked_up() -> str:
    """Return a page whose every name is full of markup, with as many classes as make long tables."""
    classes = [f"{NASTY}{k}" for k in range(40)]
    found = drawn(500, classes=40)
    shown = replace(analysis(found, classes=classes, name=NASTY), promise=NASTY)
    assert shown.findings.error_indicators is not None
    findings = replace(
        shown.findings,
        notes=(NASTY,),
        error_indicators={NASTY: shown.findings.error_indicators["confusion"]},
        best_indicator=NASTY,
        exits=tuple(replace(exit_, name=exit_.name + NASTY) for exit_ in shown.findings.exits),
    )
    first, *rest = galleries(found, 2, classes=classes)
    samples = (replace(first.samples[0], caption=NASTY), *first.samples[1:])
    pictures = [replace(first, title=NASTY, text=NASTY, samples=samples), *rest]
    return page(replace(shown, findings=findings), series=series(found, marks={NASTY: 0.5}), galleries=pictures)


def alone() -> str:
    """Return a page about one sample in one class, with numbers that are not finite."""
    found = drawn(1, exits=2, classes=1)
    shown = analysis(found, classes=["only"])
    assert shown.findings.per_class is not None
    assert shown.findings.confusion is not None
    findings = replace(
        shown.findings,
        per_class=(replace(shown.findings.per_class[0], mean_confusion=float("nan"), destructive=float("inf")),),
        confusion=replace(
            shown.findings.confusion, mean=float("nan"), right_mean=None, wrong_mean=None, normalisation=None
        ),
    )
    return page(replace(shown, findings=findings), series=series(found, marks={"never": float("inf")}))


PAGES = [full, unlabelled, single, faultless, pictureless, marked_up, alone]
