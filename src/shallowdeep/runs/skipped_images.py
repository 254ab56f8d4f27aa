"""Images that could not be decoded and were left out: their names, and the file that keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from shallowdeep.artifacts import SKIPPED
from shallowdeep.data.image_split import ImageSplit
from shallowdeep.files import replacing

Names = tuple[str, ...]


def skipped_names(*splits: ImageSplit) -> dict[str, Names]:
    """Return the names of the images that splits have left out so far, by the splits' names; those without any lack."""
    found: dict[str, dict[str, None]] = {}
    for split in splits:
        found.setdefault(split.name, {}).update(dict.fromkeys(split.skipped))
    return {name: tuple(names) for name, names in found.items() if names}


def each_once(skipped: Mapping[str, Names]) -> Names:
    """Return the names of all splits, each once."""
    return tuple(dict.fromkeys(name for names in skipped.values() for name in names))


def read_skipped(directory: Path, splits: Collection[str] | None = None) -> dict[str, Names]:
    """Return the names in a directory's file, by split; nothing where there is none.

    Args:
        directory: a RUN, or where a command wrote its files.
        splits: those that are wanted; None for all.
    """
    try:
        lines = (directory / SKIPPED).read_text(errors="surrogateescape").split("\n")
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for split, tab, name in (line.partition("\t") for line in lines):
        if tab and (splits is None or split in splits):
            found.setdefault(split, []).append(name)
    return {split: tuple(names) for split, names in found.items()}


def write_skipped(directory: Path, skipped: Mapping[str, Names]) -> list[Path]:
    """Add names to a directory's file, a line each: the split, a tab, the name. Nothing new is not written.

    Returns:
        The file, where it was written.

    Raises:
        OutputError: it cannot be written.
    """
    known = read_skipped(directory)
    merged = {**known, **skipped}  # a split that was read anew: what was known of it may have another spelling
    if merged == known:
        return []
    text = "".join(f"{split}\t{name}\n" for split, names in merged.items() for name in names)
    with replacing(directory / SKIPPED) as temporary:
        temporary.write_text(text, errors="surrogateescape")
    return [directory / SKIPPED]
