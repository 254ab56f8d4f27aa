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
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shallowdeep.errors import OutputError

if sys.platform != "win32":
    import fcntl

_REFUSED = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)  # what making a file or folder may end with
_TOKEN_BYTES = 4  # eight hexadecimal digits tell a temporary file's writers apart
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)  # of file systems that know none
_LOCKS: set[int] = set()
"""Descriptors of the locks that this process has."""


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
    return OutputError(f"Expected to write {path}, got: {_obstacle(path, error)}")


def _obstacle(path: Path, error: OSError) -> str:
    """What stands in the way of a write to ``path``."""
    if error.errno == errno.ENOSPC:
        return "no space left on the disk"
    reason = error.strerror or str(error)
    existing = _nearest(path)
    if not existing.is_dir() and (existing != path.absolute() or isinstance(error, FileExistsError)):
        return f"{existing} is no directory"
    if error.errno in _REFUSED:  # of a parent that is there, such as /proc, "no such file" would mislead
        place = existing if existing.is_dir() else existing.parent
        told = "" if error.errno == errno.ENOENT else f"{reason}: "
        return f"{told}nothing can be made in {place}"
    return reason


def _nearest(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if _exists(place))


def _exists(path: Path) -> bool:
    """Whether a path is there as far as this user can see."""
    try:
        return path.exists()
    except OSError:
        return False


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep a directory for this process while the block runs; whatever ends the process gives it back.

    The directory itself is locked, so that no file stays behind. Nothing is locked on Windows, nor where the file
    system has no locks.

    Args:
        directory: made if need be; one that was made and stays empty goes again.

    Raises:
        OutputError: another process has it or reads it, or it cannot be written.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error
    try:
        with _locked(directory, shared=False):
            yield
    finally:
        with suppress(OSError):  # the first that is not empty ends it
            for folder in made:
                folder.rmdir()


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Keep a directory from being replaced while the block runs: any number read it, none has it `exclusive`.

    Nothing is written, so that a read-only directory will do. A path that is no directory is not locked.

    Raises:
        OutputError: another process has it, such as a training.
    """
    if directory.is_dir():
        with _locked(directory, shared=True):
            yield
    else:
        yield


def require_writable(directory: Path, advice: str = "--out names another directory") -> None:
    """Refuse, before any work is done, a directory that cannot be written or made.

    Args:
        directory: to write to.
        advice: what else can be done.

    Raises:
        OutputError: naming it.
    """
    existing = _nearest(directory)
    try:
        with tempfile.TemporaryFile(dir=existing):  # not even root writes to /proc, whatever os.access says
            pass
    except OSError as error:
        obstacle = _obstacle(existing / "file", error)
        raise OutputError(
            f"Expected to write to {directory}, which may not be written ({obstacle}); {advice}"
        ) from error


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
def _locked(directory: Path, *, shared: bool) -> Iterator[None]:
    handle = _opened(directory, shared=shared)
    if handle is None:
        yield
        return
    _LOCKS.add(handle)
    try:
        _take(handle, directory, shared=shared)
        yield
    finally:
        if handle in _LOCKS:  # a forked worker has none
            _LOCKS.remove(handle)
            os.close(handle)


def _opened(directory: Path, *, shared: bool) -> int | None:
    """The descriptor of a directory to lock; None where nothing can be locked."""
    if sys.platform == "win32":
        return None
    try:
        return os.open(directory, os.O_RDONLY)
    except OSError as error:
        if shared:  # a directory that may be entered and not listed is read all the same
            return None
        raise cannot_write(directory, error) from error


def _take(handle: int, directory: Path, *, shared: bool) -> None:
    """Lock an open directory, or tell who has it."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        written = shared or not _readable(handle)
        doing = "writing to it" if written else "reading it"
        raise OutputError(
            f"Expected {directory} for one process at a time, got another that is {doing} just now; try again when it "
            "has ended"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise cannot_write(directory, error) from error


def _readable(handle: int) -> bool:
    """Whether a directory that cannot be had alone can be had together with others."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_locks() -> None:
    """Close the locks of the parent in a forked worker, which would keep them when the parent is killed."""
    for handle in _LOCKS:
        os.close(handle)
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def write_json(path: Path, document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Replace ``path`` by ``document``, indented. NaN and infinities are refused with ValueError."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
