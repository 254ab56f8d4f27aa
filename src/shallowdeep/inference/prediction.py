"""What `predict` is given: image files, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shallowdeep.data.image import image_files
from shallowdeep.errors import DataError


def find_images(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files among ``paths``, and those with an image extension in its folders, however deep, by name.

    Returns:
        The files, and the folders that hold none.

    Raises:
        DataError: a path that does not exist, or no image at all.
    """
    found: list[Path] = []
    empty: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = image_files(path)
            found += inside
            empty += [] if inside else [path]
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"Expected an image or a folder of images, got {path}, which does not exist")
    if not found:
        raise DataError(f"Expected at least one image in {', '.join(map(str, paths))}, found none")
    return found, empty
