"""Images that are in two splits at once: figures on them are better than on new ones."""

from __future__ import annotations

from shallowdeep.data.data_splits import DataSplits
from shallowdeep.data.held_out import shared_images

MOST_COMPARED = 100_000
"""Images of a dataset up to which all are read for this: they are trained on right after."""


def repeated_images(data: DataSplits) -> str | None:
    """Return a sentence on images that are trained on and held out or tested on too, byte for byte.

    Returns:
        None where there is none, or where the dataset is too large to be read for this.
    """
    others = {"tune": data.tune, "certify": data.certify, "test": data.test}
    if len(data.train) + sum(map(len, others.values())) > MOST_COMPARED:
        return None
    shared = {name: names for name, split in others.items() if (names := shared_images([split], data.train))}
    if not shared:
        return None
    counts = ", ".join(f"{len(names):,} of {name}" for name, names in shared.items())
    first = next(iter(shared.values()))[0]
    return f"Trained on and measured with: {counts} (such as {first}): accuracy on these says nothing of new images"
