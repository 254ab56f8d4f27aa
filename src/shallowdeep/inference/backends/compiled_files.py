"""Compiled models kept on disk, so that the next process starts faster.

They are in a directory of the user, bounded in size, and never needed: where it cannot be read or written there are
none. Several processes may use it at once: a file appears whole or not at all, and one that is gone is made again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

VARIABLE = "SHALLOWDEEP_CACHE"  # a directory, or `off`
LIMIT = 2**30  # bytes of all files
LARGEST = 2**25  # bytes of one: larger ones are compiled as fast as they are read (results/benchmarks/startup.json)
_OFF = ("off", "0", "no", "false")
_SUFFIX = ".compiled"
_DIGEST = hashlib.sha256().digest_size
_COUNT = 8  # bytes of the number behind the digest


class Kept(NamedTuple):
    """A compiled model as it is kept.

    Attributes:
        blob: what the runtime reads.
        memory: estimated bytes that it takes when it is open.
    """

    blob: bytes
    memory: int


class CompiledFiles:
    """Files of one runtime.

    Args:
        directory: made when the first file is; None to keep none.
        limit: bytes of all files; the ones that were not used for longest are deleted beyond it.
    """

    def __init__(self, directory: Path | None, limit: int = LIMIT) -> None:
        self._directory, self._limit = directory, limit

    def read(self, key: str) -> Kept | None:
        """Return the model kept under a key; None where there is none, or a damaged one."""
        if self._directory is None:
            return None
        path = self._directory / (key + _SUFFIX)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        rest = memoryview(content)[_DIGEST:]
        if len(rest) <= _COUNT or hashlib.sha256(rest).digest() != content[:_DIGEST]:
            self.drop(key)
            return None
        with suppress(OSError):
            os.utime(path)  # used last
        return Kept(bytes(rest[_COUNT:]), int.from_bytes(rest[:_COUNT], "little"))

    def takes(self, count: int) -> bool:
        """Whether a model of so many bytes would be kept."""
        return self._directory is not None and 0 < count <= min(LARGEST, self._limit)

    def write(self, key: str, kept: Kept) -> None:
        """Keep a model, if it is small enough and the directory can be written."""
        if self._directory is None or not self.takes(len(kept.blob)):
            return
        rest = kept.memory.to_bytes(_COUNT, "little") + kept.blob
        temporary = self._directory / f".{key}.{secrets.token_hex(4)}{_SUFFIX}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(hashlib.sha256(rest).digest() + rest)
            temporary.replace(self._directory / (key + _SUFFIX))
        except OSError:
            with suppress(OSError):
                temporary.unlink()
        self._make_room()

    def drop(self, key: str) -> None:
        """Delete what is kept under a key."""
        if self._directory is not None:
            with suppress(OSError):
                (self._directory / (key + _SUFFIX)).unlink()

    def _make_room(self) -> None:
        """Delete files that were not used for longest until the rest is within the limit."""
        found: list[tuple[float, int, Path]] = []
        with suppress(OSError):
            for path in (self._directory or Path()).glob(f"*{_SUFFIX}"):
                with suppress(OSError):  # another process deleted it
                    told = path.stat()
                    found.append((told.st_mtime, told.st_size, path))
        excess = sum(size for _, size, _ in found) - self._limit
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            excess -= size
            with suppress(OSError):
                path.unlink()


def compiled_files(runtime: str) -> CompiledFiles:
    """Return the files of a runtime, where the environment says.

    ``SHALLOWDEEP_CACHE`` names a directory, or says ``off``. Without it they are in ``shallowdeep`` under
    ``$XDG_CACHE_HOME``, or ``~/.cache``.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given.lower() in _OFF:
        return CompiledFiles(None)
    if given:
        return CompiledFiles(Path(given).expanduser() / runtime)
    home = os.environ.get("XDG_CACHE_HOME", "").strip()
    try:
        base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # nobody's home is known
        return CompiledFiles(None)
    return CompiledFiles(base / "shallowdeep" / runtime)


def key_of(*parts: str) -> str:
    """Return one name for everything that a compiled model depends on."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part};".encode())
    return digest.hexdigest()
