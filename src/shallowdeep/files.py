"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shallowdeep.errors import OutputError

if sys.platform != "win32":
    import fcntl

_TOKEN_BYTES = 4  # eight hexadecimal digits tell a temporary file's writers apart


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there takes its place when the block ends well.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; ``path`` is as it was.
    """
    with replacing_together(path) as (temporary,):
        yield temporary


@contextmanager
def replacing_together(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary paths beside ``paths``; all are on the disk before the first one takes its place.

    Raises:
        OutputError: the disk is full, or a folder cannot be written; every one of ``paths`` is as it was.
    """
    made: list[Path] = []
    modes: list[int] = []
    at = paths[0]
    try:
        for at in paths:
            at.parent.mkdir(parents=True, exist_ok=True)
            temporary = at.with_name(f".{at.name}.{secrets.token_hex(_TOKEN_BYTES)}{at.suffix}")
            temporary.touch(exist_ok=False)
            made.append(temporary)
            modes.append(temporary.stat().st_mode)
        at = paths[0]
        yield tuple(made)
        for at, temporary in zip(paths, made, strict=True):  # noqa: B007 - an error names it
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        for at, temporary, mode in zip(paths, made, modes, strict=True):
            temporary.chmod(mode)  # safetensors puts a file of its own there, for the owner alone
            temporary.replace(at)
    except OSError as error:
        raise cannot_write(at, error) from error
    finally:
        for temporary in made:
            temporary.unlink(missing_ok=True)


def abandoned(path: Path) -> list[Path]:
    """Temporary files of `replacing` that killed writers of ``path`` left beside it."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 2 * _TOKEN_BYTES}{path.suffix}"))


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The one-line error for a failed write to ``path``."""
    reason = "no space left on the disk" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    return OutputError(f"Expected to write {path}, got: {reason}")


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep a directory for this process while the block runs; whatever ends the process gives it back.

    The directory itself is locked, so that no file stays behind. Nothing is locked on Windows.

    Args:
        directory: made if need be; one that was made and stays empty goes again.

    Raises:
        OutputError: another process has it, or it cannot be written.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error
    try:
        with _locked(directory):
            yield
    finally:
        with suppress(OSError):  # the first that is not empty ends it
            for folder in made:
                folder.rmdir()


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target`` to build it in; what a killed process left there goes first, the rest after it.

    Raises:
        OutputError: another process is building the same, or nothing can be written there.
    """
    folder = target.with_name(f".{target.name}.partial")
    with exclusive(folder):
        for leftover in folder.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise OutputError(
            f"Expected {directory} for one process at a time, got another that is writing to it just now"
        ) from error
    finally:
        os.close(handle)


def write_json(path: Path, document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Replace ``path`` by ``document``, indented. NaN and infinities are refused with ValueError."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
