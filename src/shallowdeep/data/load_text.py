"""From a name or a path to four seeded, disjoint splits of texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shallowdeep.data.data_splits import (
    Cut,
    DataSplits,
    Fingerprints,
    check_fractions,
    fingerprint_of,
    samples_fingerprint,
)
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.data.sentences import containing
from shallowdeep.data.sources.registry import open_source
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.splits import Indices, cut_held_out, stratified_split
from shallowdeep.data.stores import TextStore
from shallowdeep.data.text import TextPreprocessing
from shallowdeep.data.token_table import TokenTable
from shallowdeep.errors import DataError
from shallowdeep.progress import SILENT, Progress


def load_texts(
    name_or_path: str | Path,
    *,
    preprocessing: TextPreprocessing,
    seed: int = 0,
    calibration_fraction: float = 0.1,
    test_fraction: float = 0.2,
    text_column: str = "",
    progress: Progress = SILENT,
) -> DataSplits:
    """Return a text dataset's splits; the same arguments give the same splits on every machine.

    What is held out of the training part are whole texts: such as are no part of another, word for word. Texts that are
    part of a held-out one are left out of training, and of everything else.

    Args:
        name_or_path: a directory of tables with a text and a label column.
        preprocessing: the network's.
        seed: of the splits; non-negative.
        calibration_fraction: of the whole training texts, held out for calibration, in (0, 1); without effect where the
            dataset has a calibration part of its own, and for ``tune`` alone where it has a part for ``certify``.
        test_fraction: of the whole texts, held out as test where the dataset has no test part, in (0, 1).
        text_column: name of the column; "" for a usual one.
        progress: told how far tokenizing is.

    Raises:
        UnknownNameError: the dataset is neither a name nor an existing path.
        ConfigurationError: a fraction or the seed is out of range.
        DataError: it cannot be read as texts with labels, or holds too few.
    """
    check_fractions(calibration_fraction, test_fraction)
    source = open_source(name_or_path, encoded_memory=0, text_column=text_column, wants_text=True)
    if not source.text:
        raise DataError(f"Expected texts for this network, got images in {name_or_path}")
    joined, starts = _joined(source)
    cuts, notes = _cut(source, (joined, starts), seed, calibration_fraction, test_fraction)
    table = TokenTable(joined.images, preprocessing)  # type: ignore[arg-type]  # it is a TextStore, see `_joined`
    table.ensure(np.arange(len(joined.labels)), source.name, progress=progress)
    if table.cut:
        of = f"{table.cut:,} of {len(joined.labels):,} texts"
        notes.append(f"{of} are longer than {preprocessing.max_length} tokens and cut there")

    def build(name: str) -> ImageSplit:
        positions = cuts[name]
        return ImageSplit(
            name, joined.images, positions, joined.labels[positions],
            size=preprocessing.size, decoded=table, progress=progress,
        )  # fmt: skip

    return DataSplits(
        name=source.name,
        classes=source.classes,
        preprocessing=preprocessing,
        train=build("train"),
        tune=build("tune"),
        certify=build("certify"),
        test=build("test"),
        calibration=build("calibration"),
        all_images=build("all"),
        augmentation=source.augmentation,
        fingerprints=Fingerprints(
            fingerprint_of({name: Cut(joined, places) for name, places in cuts.items()}), samples_fingerprint([joined])
        ),
        notes=(*source.notes, *notes),
        certify_apart=source.calibration is not None or source.certify is not None,
    )


def _joined(source: Source) -> tuple[Part, dict[str, int]]:
    """Return all parts as one, and where each begins."""
    named = {"train": source.train, "test": source.test, "calibration": source.calibration, "certify": source.certify}
    parts = {what: part for what, part in named.items() if part is not None}
    starts = dict(zip(parts, np.cumsum([0, *(len(part.labels) for part in parts.values())]).tolist(), strict=False))
    stores = [part.images for part in parts.values()]
    texts: list[str] = []
    for store in stores:
        if isinstance(store, TextStore):
            texts += store.texts(0, len(store))
    order = list(starts.values())

    def name_of(index: int) -> str:
        which = int(np.searchsorted(order, index, side="right")) - 1
        return stores[which].name(index - order[which])

    return Part(TextStore(texts, name_of), np.concatenate([part.labels for part in parts.values()])), starts


def _cut(
    source: Source, whole_source: tuple[Part, dict[str, int]], seed: int, calibration: float, test: float
) -> tuple[dict[str, Indices], list[str]]:
    """Return every split's places in the joined part, "all" among them, and what was left out of training."""
    joined, starts = whole_source

    def whole_part(what: str, part: Part) -> Indices:
        return starts[what] + np.arange(len(part.labels), dtype=np.int64)

    train = np.arange(len(source.train.labels), dtype=np.int64)
    store = joined.images
    holders = containing(store.texts(0, len(train))) if isinstance(store, TextStore) else []
    whole = np.array([place for place in train.tolist() if holders[place] == [place]], dtype=np.int64)
    held: list[Indices] = []

    def hold_out(fraction: float, what: str) -> Indices:
        nonlocal whole
        kept, out = stratified_split(joined.labels[whole], fraction, seed, what=what)
        taken, whole = whole[out], whole[kept]
        held.append(taken)
        return taken

    tested = hold_out(test, "test fraction") if source.test is None else whole_part("test", source.test)
    if source.calibration is not None:
        part = whole_part("calibration", source.calibration)
        tune, certify = (part[cut] for cut in cut_held_out(source.calibration.labels, seed))
    elif source.certify is not None:
        tune, certify = hold_out(calibration, "calibration fraction"), whole_part("certify", source.certify)
    else:
        out = hold_out(calibration, "calibration fraction")
        tune, certify = (out[cut] for cut in cut_held_out(joined.labels[out], seed))
    gone = set(np.concatenate(held).tolist()) if held else set()
    left = [place for place in train.tolist() if not gone.intersection(holders[place])]
    elsewhere = {store.content(place) for place in range(len(train), len(store))}
    rest = np.array([place for place in left if store.content(place) not in elsewhere], dtype=np.int64)
    if not len(rest):
        raise DataError(f"Expected training texts in {source.name} beside those held out, got none")
    parts, twice = len(train) - len(left) - len(gone), len(left) - len(rest)
    notes = [f"{parts:,} training texts are part of texts that are held out, and left out"] if parts else []
    notes += [f"{twice:,} training texts are in another part too, and left out of training"] if twice else []
    return {
        "train": rest, "tune": tune, "certify": certify, "calibration": np.sort(np.concatenate([tune, certify])),
        "test": tested, "all": tested if source.test is not None else train,
    }, notes  # fmt: skip
