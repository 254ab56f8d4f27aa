"""Arrays in an npz file, read without executing anything in it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import CheckpointError

# What NumPy and zipfile raise on files that are cut short, altered or something else altogether; a forged header can
# ask for more memory than there is.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of all arrays in an npz file; none where it is not one, which `read_arrays` tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except _UNREADABLE:
        return ()


def read_arrays(path: Path, needed: Sequence[str], wanted: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return arrays of an npz file by name; others in it are ignored.

    Args:
        path: the file.
        needed: arrays that must be there.
        wanted: arrays that are returned where they are there.

    Raises:
        CheckpointError: there is no such file, it is truncated, altered or foreign, or lacks an array.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected a predictions file, got no file at {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # np.load would take a lone .npy, or ask for pickle
            there = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = [name for name in needed if name not in there]
        if missing:
            raise CheckpointError(
                f"Expected arrays {', '.join(needed)} in {path}, got a file without {', '.join(missing)}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (*needed, *wanted) if name in there}
    except _UNREADABLE as error:
        if "Object arrays" in str(error):
            raise CheckpointError(f"Expected arrays of numbers or strings in {path}, got Python objects") from error
        raise CheckpointError(f"Expected a whole predictions file, got a damaged or foreign one: {path}") from error
