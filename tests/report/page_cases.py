"""Whole pages of the report, one for each kind of findings it must be able to show."""

from __future__ import annotations

from tests.report.page_documents import NASTY, document, drawn, galleries, series

from shallowdeep.report.page import page

FOUND = drawn(2000)
MARKS = {"promised threshold": 0.84, "half of the cost": 0.6}


def full() -> str:
    """Return a page with everything."""
    return page(document(FOUND), series=series(FOUND, marks=MARKS), galleries=galleries(FOUND, 14))


def unlabelled() -> str:
    """Return a page about samples without labels."""
    return page(document(FOUND, labelled=False), series=series(FOUND, labelled=False))


def single() -> str:
    """Return a page about a network with one exit."""
    found = drawn(50, exits=1)
    return page(document(found), series=series(found), galleries=galleries(found))


def faultless() -> str:
    """Return a page about a network that makes no mistake at its end."""
    answers = FOUND.answers.copy()
    answers[-1] = FOUND.labels
    found = FOUND._replace(answers=answers)
    return page(document(found), series=series(found))


def pictureless() -> str:
    """Return a page whose galleries have no images, and without intervals, confidences and series."""
    shown = galleries(FOUND, images=False)
    for sample in shown[0]["samples"]:
        sample["label"] = None
        for answer in sample["answers"]:
            answer |= {"right": None, "confidence": float("nan")}
    findings = document(FOUND)
    for block in (findings["wasteful"], findings["destructive"], findings["answer_rule"]):
        block["intervals"] = {}
    return page(findings, series=None, galleries=shown)


def marked_up() -> str:
    """Return a page whose every name is full of markup, with as many classes as make long tables."""
    classes = [f"{NASTY}{k}" for k in range(40)]
    found = drawn(500, classes=40)
    findings = document(found, classes=classes, name=NASTY) | {"notes": [NASTY], "promise": NASTY}
    findings["error_indicators"] = {NASTY: findings["error_indicators"]["confusion"]}
    findings["best_indicator"] = NASTY
    for exit_ in findings["exits"]:
        exit_["name"] += NASTY
    shown = galleries(found, 2, classes=classes)
    shown[0] |= {"title": NASTY, "text": NASTY}
    shown[0]["samples"][0] |= {"caption": NASTY}
    return page(findings, series=series(found, marks={NASTY: 0.5}), galleries=shown)


def alone() -> str:
    """Return a page about one sample in one class, with numbers that are not finite."""
    found = drawn(1, exits=2, classes=1)
    findings = document(found, classes=["only"])
    findings["per_class"][0] |= {"mean_confusion": float("nan"), "destructive": float("inf")}
    findings["confusion"] |= {"mean": float("nan"), "right_mean": None, "wrong_mean": None, "normalisation": None}
    return page(findings, series=series(found, marks={"never": float("inf")}))


PAGES = [full, unlabelled, single, faultless, pictureless, marked_up, alone]
