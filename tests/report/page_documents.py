"""Made-up findings for the report's page, consistent with themselves: all are counted from the same drawn answers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shallowdeep.analysis.accuracy import ExitFigures
from shallowdeep.analysis.analysis import Analysis, Provenance
from shallowdeep.analysis.answer_rule import AnswerRuleFindings
from shallowdeep.analysis.claims import Claim
from shallowdeep.analysis.confusion_levels import ConfusionHistogram, ConfusionLevels, Normalisation
from shallowdeep.analysis.error_detection import DETECTION_METRICS, Detection
from shallowdeep.analysis.findings import Findings
from shallowdeep.analysis.galleries import ExitAnswer, Gallery, GallerySample, HeatMap
from shallowdeep.analysis.overthinking import ClassFindings, Destructive, Quartiles, Wasteful
from shallowdeep.analysis.trajectories import ClassPair, Trajectories
from shallowdeep.report.page import Series

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NASTY = "<b>\"cat\" & 'dog'</b></script><script>document.title='caught'</script>"


class Drawn(NamedTuple):
    """Answers drawn at random: more of them right from exit to exit, some lost again.

    Args:
        labels: (N,) integers.
        answers: (E, N) integers.
        confidence: (E, N) floats in [0, 1].
        costs: (E,) relative costs.
    """

    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    confidence: NDArray[np.float64]
    costs: NDArray[np.float64]


def drawn(samples: int = 10_000, exits: int = 7, classes: int = 10, seed: int = 0) -> Drawn:
    """Return answers that overthink."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, samples)
    ease = random.normal(0.9, 1.1, samples)  # (N,)
    skill = np.linspace(-0.5, 0.55, exits)[:, None]  # (E, 1)
    sense = ease + skill + random.normal(0, 0.55, (exits, samples))
    wrong = (labels + 1 + random.integers(0, max(classes - 1, 1), (exits, samples))) % classes
    if classes > 1:
        wrong = np.where(random.random((exits, samples)) < 0.6, (labels + 1 + labels % 3) % classes, wrong)
        wrong = np.where(wrong == labels, (labels + 1) % classes, wrong)
    answers = np.where(sense > 0, labels, wrong)
    confidence = 1 / (
        1
        + np.exp(
            -1.6 * np.abs(sense) - random.normal(0, 0.5, (exits, samples)) - np.linspace(-0.6, 0.5, exits)[:, None]
        )
    )
    costs = np.linspace(0.15, 1.004, exits) if exits > 1 else np.ones(1)
    return Drawn(labels, answers, confidence, costs)


def series(found: Drawn, *, labelled: bool = True, marks: Mapping[str, float] | None = None) -> Series:
    """Return what the page gets of every sample."""
    right = found.answers == found.labels if labelled else None
    return Series(np.floor(255 * found.confidence).astype(np.uint8), right, found.costs, marks or {})


def analysis(
    found: Drawn, *, labelled: bool = True, name: str = "cifar10", classes: Sequence[str] = CLASSES
) -> Analysis:
    """Return what ``analyze`` would find, with the promise of a policy where there are labels."""
    thresholds = [0.84] * (len(found.costs) - 1) + [None]
    policy = {
        "signal": "max-softmax", "thresholds": thresholds, "max_relative_cost": None,
        "found": {"samples": 3334, "data": "certify"},
    }  # fmt: skip
    return Analysis(
        source=f"runs/{name}",
        dataset=name,
        split="test",
        findings=findings(found, labelled=labelled, classes=classes),
        policy=policy if labelled else None,
        promise="With 95 % confidence, at most 1.0 points below the final exit." if labelled else None,
        provenance=Provenance(
            command=f"shallowdeep report runs/{name}",
            date="2026-11-25",
            seed=None,
            resamples=1000,
            versions={"shallowdeep": "0.1.0", "torch": "2.15.0", "numpy": "2.4.6"},
            machine="AMD EPYC, 2 cores",
            weights="e2eed9e96dccf589d6d08c8344a8b6dfd017fbaa3d4d90d2f147ed1e29993097",
        ),
    )


def findings(found: Drawn, *, labelled: bool = True, classes: Sequence[str] = CLASSES) -> Findings:
    """Return what the answers show."""
    exits = len(found.costs)
    right = found.answers == found.labels  # (E, N)
    final = right[-1]
    changes = (found.answers[1:] != found.answers[:-1]).sum(axis=0)  # (N,)
    stable = float((changes == 0).mean())
    names = [f"blocks.{3 + 4 * k}" for k in range(exits - 1)] + ["fc"]
    so_far = np.logical_or.accumulate(right, axis=0)
    confusion = changes + np.random.default_rng(1).gamma(2.0, 0.4, final.shape) + 1.2 * ~final
    once = (changes == 1) & (right[0] != final)
    return Findings(
        samples=len(final),
        labelled=labelled,
        classes=tuple(classes),
        exits=tuple(
            ExitFigures(
                name=names[k],
                relative_cost=float(found.costs[k]),
                accuracy=float(right[k].mean()) if labelled else None,
                correct_so_far=float(so_far[k].mean()) if labelled else None,
            )
            for k in range(exits)
        ),
        cumulative_accuracy=float(so_far[-1].mean()) if labelled else None,
        wasteful=_wasteful(found, right) if labelled and exits > 1 else None,
        destructive=_destructive(found, right) if labelled and exits > 1 else None,
        trajectories=Trajectories(
            stable=stable,
            changing=1 - stable,
            mean_switches=float(changes.mean()),
            wrong_to_right=float((once & final).mean()) if labelled else None,
            right_to_wrong=float((once & ~final).mean()) if labelled else None,
            flickering=float(((changes > 0) & ~once).mean()) if labelled else None,
        ),
        classes_confused=_confused(found, classes) if labelled else None,
        per_class=_per_class(found, right, confusion, classes) if labelled else None,
        confusion=_confusion(confusion, final, labelled=labelled) if exits > 1 else None,
        error_indicators=_indicators() if labelled and not final.all() else None,
        best_indicator="max-softmax" if labelled and not final.all() else None,
        answer_rule=_rule() if labelled and exits > 1 else None,
        paper=_paper() if labelled else (),
        notes=() if labelled else ("No labels: accuracy and overthinking cannot be said.",),
    )


def galleries(
    found: Drawn, count: int = 12, *, images: bool = True, maps: bool = True, classes: Sequence[str] = CLASSES
) -> list[Gallery]:
    """Return galleries of destructive and wasteful samples; the first one's have maps."""
    right = found.answers == found.labels
    lost = np.flatnonzero(right[:-1].any(axis=0) & ~right[-1])[:count]
    waste = np.flatnonzero(right.all(axis=0))[:count]
    kinds = [
        ("Right early, wrong at the end", "destructive", lost, "Right on the way, wrong at the end"),
        ("Right at once, and computed to the end", "wasteful", waste, "Right everywhere"),
    ]
    return [
        Gallery(
            title=title,
            text=f"Some of the {kind} samples.",
            kind=kind,
            samples=tuple(
                _sample(found, n, caption, classes, images=images, maps=images and maps and kind == "destructive")
                for n in chosen
            ),
        )
        for title, kind, chosen, caption in kinds
    ]


def picture(number: int, size: int = 32) -> bytes:
    """Return a PNG with a coloured disc on a gradient with noise."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:size, 0:size] / size
    ground, disc = random.uniform(40, 220, (2, 3))
    pixels = ground * (0.6 + 0.4 * y[..., None]) + random.normal(0, 8, (size, size, 3))
    middle = random.uniform(0.35, 0.65, 2)
    inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < random.uniform(0.15, 0.3) ** 2
    pixels[inside] = disc
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _sample(found: Drawn, n: int, caption: str, classes: Sequence[str], *, images: bool, maps: bool) -> GallerySample:
    answers = (
        ExitAnswer(
            exit=f"exit {k}",
            answer=classes[found.answers[k, n]],
            right=bool(found.answers[k, n] == found.labels[n]),
            confidence=float(found.confidence[k, n]),
        )
        for k in range(len(found.costs))
    )
    return GallerySample(
        image=picture(n) if images else None,
        label=classes[found.labels[n]],
        answers=tuple(answers),
        maps=tuple(
            HeatMap(f"blocks.{place}: {classes[found.answers[-1, n]]}", picture(n + place))
            for place in (7, 19) if maps
        ),
        caption=caption,
    )  # fmt: skip


def _around(value: float, half: float = 0.006) -> tuple[float, float]:
    return value - half, value + half


def _wasteful(found: Drawn, right: NDArray[np.bool_]) -> Wasteful:
    ever, early = right.any(axis=0), right[:-1].any(axis=0)
    first = np.where(ever, right.argmax(axis=0), len(right) - 1)
    numbers = {
        "share": float(early.mean()), "and_final_right": float((early & right[-1]).mean()),
        "oracle_cost": float(found.costs[first].mean()), "oracle_accuracy": float(ever.mean()),
    }  # fmt: skip
    return Wasteful(
        **numbers,
        first_right=tuple(np.bincount(first[ever], minlength=len(right)).tolist()),
        never_right=int((~ever).sum()),
        intervals={name: _around(value) for name, value in numbers.items()},
    )


def _destructive(found: Drawn, right: NDArray[np.bool_]) -> Destructive:
    errors = int((~right[-1]).sum())
    lost = right[:-1].any(axis=0) & ~right[-1]
    last = len(right) - 2 - right[-2::-1].argmax(axis=0)  # (N,)
    share = float(lost.sum() / errors) if errors else None
    gain = float(lost.mean())
    return Destructive(
        errors=errors,
        share_of_errors=share,
        chance=0.52 if errors else None,
        chance_together=0.234 if errors else None,
        accuracy_gain=gain,
        last_right_at=tuple(np.bincount(last[lost], minlength=len(right) - 1).tolist()),
        confidence_when_right=_quartiles(found.confidence[last, np.arange(len(last))][lost]),
        final_confidence=_quartiles(found.confidence[-1][lost]),
        intervals={} if share is None else {"share_of_errors": _around(share), "accuracy_gain": _around(gain)},
    )


def _quartiles(values: NDArray[np.float64]) -> Quartiles | None:
    return Quartiles(*np.quantile(values, [0.25, 0.5, 0.75]).tolist()) if len(values) else None


def _rule() -> AnswerRuleFindings:
    return AnswerRuleFindings(
        rule="mean of the last 3 exits where confusion is above 1.23",
        accuracy=0.8342,
        final_accuracy=0.8329,
        gain=0.0013,
        changed=0.0275,
        chosen_on="tune",
        intervals={"gain": (-0.0013, 0.0039)},
    )


def _paper() -> tuple[Claim, ...]:
    return (
        Claim(
            "Most samples (over half) are right before the last exit",
            "up to 95 %",
            "90.5 % (90.0 to 91.1)",
            agrees=True,
        ),
        Claim(
            "About half (40 to 60 %) of the final exit's errors were right at an earlier exit",
            "about 50 % of misclassifications, at most",
            "65.1 % of 1,671 errors (62.9 to 67.3)",
            agrees=False,
        ),
        Claim(
            "They are more than chance gives",
            "not reported",
            "46.3 % against 52.1 % with each exit's answers shuffled among the errors",
            agrees=None,
        ),
    )


def _confused(found: Drawn, classes: Sequence[str]) -> tuple[ClassPair, ...]:
    rows = []
    for label in range(len(classes)):
        for answer in range(len(classes)):
            early = (found.labels == label) & (found.answers[:-1] == answer).any(axis=0)
            if label != answer and early.any():
                mended = int((early & (found.answers[-1] == label)).sum())
                rows.append(ClassPair(classes[label], classes[answer], int(early.sum()), mended))
    return tuple(sorted(rows, key=lambda row: -row.samples)[:10])


def _per_class(
    found: Drawn, right: NDArray[np.bool_], confusion: NDArray[np.float64], classes: Sequence[str]
) -> tuple[ClassFindings, ...]:
    rows = []
    for k, name in enumerate(classes):
        chosen = found.labels == k
        if not chosen.any():
            rows.append(ClassFindings(name, 0, None, None, None, None, None))
            continue
        mine = right[:, chosen]
        early, wrong = mine[:-1].any(axis=0), ~mine[-1]
        first = np.where(mine.any(axis=0), mine.argmax(axis=0), len(mine) - 1)
        rows.append(
            ClassFindings(
                class_=name,
                samples=int(chosen.sum()),
                accuracy=float(mine[-1].mean()),
                wasteful=float(early.mean()),
                destructive=float((early & wrong).sum() / wrong.sum()) if wrong.any() else None,
                oracle_cost=float(found.costs[first].mean()),
                mean_confusion=float(confusion[chosen].mean()) - 2,
            )
        )
    return tuple(rows)


def _confusion(values: NDArray[np.float64], final: NDArray[np.bool_], *, labelled: bool) -> ConfusionLevels:
    mean, std = float(values.mean()) - 0.1, float(values.std()) or 1.0
    values = (values - mean) / std
    edges = np.linspace(values.min(), values.max(), 41)
    apart = labelled and not final.all()

    def counts(chosen: NDArray[np.float64]) -> tuple[int, ...]:
        return tuple(np.histogram(chosen, edges)[0].tolist())

    return ConfusionLevels(
        normalisation=Normalisation(mean, std, samples=10_000, data="train") if labelled else None,
        mean=float(values.mean()),
        right_mean=float(values[final].mean()) if labelled else None,
        wrong_mean=float(values[~final].mean()) if apart else None,
        histogram=ConfusionHistogram(
            edges=tuple(edges.tolist()),
            all=counts(values),
            right=counts(values[final]) if labelled else None,
            wrong=counts(values[~final]) if labelled else None,
        ),
        right_above_wrong_mean=1596 if apart else None,
        wrong_below_right_mean=259 if apart else None,
        softmax_right_below_wrong_mean=747 if apart else None,
        softmax_wrong_above_right_mean=228 if apart else None,
    )


def _indicators() -> dict[str, Detection]:
    rows = {
        "confusion": (0.759, 0.601, 0.0644, 0.0475), "max-softmax": (0.873, 0.410, 0.0390, 0.0317),
        "entropy": (0.871, 0.415, 0.0393, 0.0319), "margin": (0.870, 0.409, 0.0394, 0.0320),
        "energy": (0.827, 0.516, 0.0499, 0.0381), "ensemble": (0.842, 0.523, 0.0467, 0.0360),
        "mutual-information": (0.638, 0.731, 0.0961, 0.0643), "trajectory": (0.8696, 0.439, 0.0402, 0.0321),
    }  # fmt: skip
    return {
        name: Detection(
            *row,
            intervals={key: _around(value, 0.008 * value) for key, value in zip(DETECTION_METRICS, row, strict=True)},
        )
        for name, row in rows.items()
    }
