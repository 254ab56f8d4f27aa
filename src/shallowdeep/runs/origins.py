"""Where a RUN's weights come from, as far as that is not known to be apart from the images it holds out."""

from __future__ import annotations

from pathlib import Path

from shallowdeep.artifacts import CONFIG
from shallowdeep.errors import ShallowDeepError
from shallowdeep.runs.config import TrainConfig, read_config
from shallowdeep.runs.data_record import recorded_fingerprints
from shallowdeep.runs.paths import located, shown

UNKNOWN = "…"
"""Ends a list of origins that cannot be followed further."""


def origins(run: Path) -> list[str]:
    """Return the sources of a run's weights that may have been trained on images it holds out; empty for none.

    Follows ``init`` from run to run. One that was trained on the same split of the same images saw nothing that is
    held out, and is not told; what it began with itself is.

    Args:
        run: a RUN.

    Returns:
        One phrase each, the nearest first: a weights file, ``published weights``, or a run and its data, such as
        ``runs/a, trained on images``. The last is ``"…"`` where a run's settings are missing or damaged, or name a run
        that came before.
    """
    found: list[str] = []
    passed: set[Path] = set()
    step = run
    while step.resolve() not in passed:
        passed.add(step.resolve())
        config = _settings(step)
        if config is None:
            return [*found, *([] if step == run else [f"{shown(str(step))}, whose settings are missing"]), UNKNOWN]
        earlier = None if step == run else _described(run, step, config)
        weights = "published weights" if config.pretrained else shown(config.weights)
        found += [source for source in (earlier, weights) if source]
        if not config.init:
            return found
        step = Path(config.init)
    return [*found, UNKNOWN]


def _settings(run: Path) -> TrainConfig | None:
    """The settings of a run, or None where they cannot be read."""
    try:
        return located(read_config(run / CONFIG), run)
    except ShallowDeepError:
        return None


def _described(run: Path, init: Path, config: TrainConfig) -> str | None:
    """An earlier run and its data; None where it was trained on the same split of the same images."""
    try:
        (split, images), (other_split, other_images) = recorded_fingerprints(run), recorded_fingerprints(init)
    except ShallowDeepError:  # damaged: then nothing is known
        split, images, other_split, other_images = None, None, None, None
    if split is not None and split == other_split and (images == other_images or None in (images, other_images)):
        return None  # older runs do not know their images
    same = images is not None and images == other_images
    return f"{shown(str(init))}, trained on {'another split of ' if same else ''}{shown(config.data)}"
