"""Datasets by name from the Hugging Face hub, through the `datasets` package."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shallowdeep.data.sources.digits import pad_to_32
from shallowdeep.data.sources.source import Part, Source
from shallowdeep.data.stores import ArrayStore, ImageStore, TableStore
from shallowdeep.errors import DataError

_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class HubEntry:
    """How a dataset is laid out on the hub.

    Args:
        repository: its id.
        image: the image column.
        label: the label column.
        test: the split that serves as the test part.
        augmentation: the preset that suits it.
        pad: whether 28x28 images are padded to 32x32, as in the IDX files of the same dataset.
    """

    repository: str
    image: str
    label: str
    test: str
    augmentation: str
    pad: bool = False


HUB_DATASETS = {
    "cifar10": HubEntry("uoft-cs/cifar10", "img", "label", "test", "cifar"),
    "cifar100": HubEntry("uoft-cs/cifar100", "img", "fine_label", "test", "cifar"),
    "tiny-imagenet": HubEntry("zh-plus/tiny-imagenet", "image", "label", "valid", "tiny-imagenet"),
    "fashion-mnist": HubEntry("zalando-datasets/fashion_mnist", "image", "label", "test", "fashion", pad=True),
}


def read_hub(name: str) -> Source:
    """Return a dataset of the hub, or of its local cache where the hub cannot be reached.

    Raises:
        DataError: if it is in neither.
    """
    entry = HUB_DATASETS[name]
    try:
        import datasets  # noqa: PLC0415 - an import of seconds, for hub names only

        cached = Path(datasets.config.HF_DATASETS_CACHE, entry.repository.replace("/", "___")).is_dir()
        if not cached and not _hub_answers():  # `datasets` would retry for half a minute before it says so
            raise _not_loaded(name, f"no answer from {_endpoint()} and no cached copy")
        parts = datasets.load_dataset(entry.repository, download_config=datasets.DownloadConfig(max_retries=1))
        train, classes = _read_part(parts["train"], entry, name, "train")
        test, _ = _read_part(parts[entry.test], entry, name, entry.test)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise _not_loaded(name, " ".join(str(error).split())[:120] or type(error).__name__) from error
    return Source(name, classes, train, test, entry.augmentation)


def _not_loaded(name: str, reason: str) -> DataError:
    """Return the error that says what was tried and what else works."""
    return DataError(
        f"Expected {HUB_DATASETS[name].repository} from the Hugging Face hub for {name}, got {reason}. "
        "A local directory of Parquet files or images may be given instead of the name"
    )


def _endpoint() -> str:
    """Return the address of the hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _hub_answers() -> bool:
    """Return whether the hub answers at all, within three seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    if not _endpoint().startswith(("https://", "http://")):
        return False
    request = urllib.request.Request(_endpoint(), method="HEAD")  # noqa: S310 - the scheme was checked above
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False


def _read_part(rows: Any, entry: HubEntry, name: str, part: str) -> tuple[Part, tuple[str, ...]]:  # noqa: ANN401
    """Return one part and the class names; `rows` is a `datasets.Dataset`, which is untyped."""
    import datasets  # noqa: PLC0415

    labels = np.asarray(rows[entry.label], dtype=np.int64)
    classes = tuple(str(label) for label in rows.features[entry.label].names)
    encoded = rows.cast_column(entry.image, datasets.Image(decode=False))
    images: ImageStore = TableStore(encoded, entry.image, f"{name} {part}")
    if entry.pad:
        grey = [images.decode(index, 28)[..., 0] for index in range(len(images))]
        images = ArrayStore(pad_to_32(np.stack(grey)), f"{name} {part}")
    return Part(images, labels), classes
