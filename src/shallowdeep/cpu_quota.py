"""How much processor time the control groups of this process grant: what containers are limited by (Linux)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNIFIED = "cgroup2"  # the file system of control groups, version 2
_CONTROLLER = "cpu"
_USUAL = ("sys/fs/cgroup", "sys/fs/cgroup/cpu")  # where containers see their own group, whatever they tell of mounts


class _Mount(NamedTuple):
    """Where a hierarchy of control groups is seen."""

    root: str  # the group that is mounted there
    place: str
    kind: str
    options: frozenset[str]


def cpu_quota(system: Path = Path("/")) -> int | None:
    """Return how many cores' time this process may use by its control groups, rounded up; None for no limit.

    The smallest limit counts of the process's own group and of all above it, in versions 1 and 2 of control groups.

    Args:
        system: root of the file system, with ``proc/self/cgroup``, ``proc/self/mountinfo`` and what they name.

    Returns:
        At least 1.
    """
    limits = [limit for directory in _groups(system) if (limit := _limit(directory)) is not None]
    return min(limits, default=None)


def _groups(system: Path) -> Iterator[Path]:
    """Directories of the groups that limit this process: its own and those above, as far as they can be seen.

    Those at the usual places count besides: some sandboxes mount groups without telling.
    """
    mounts = [mount for line in _lines(system / "proc/self/mountinfo") if (mount := _mount(line)) is not None]
    for line in _lines(system / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for mount in mounts:
            unified = number == "0" and not controllers and mount.kind == _UNIFIED
            own = _CONTROLLER in controllers.split(",") and mount.kind != _UNIFIED and _CONTROLLER in mount.options
            if not unified and not own:
                continue
            top = system / mount.place.lstrip("/")
            below = _below(group, mount.root)
            yield from (top / below, *(top / above for above in below.parents)) if below.parts else (top,)
    yield from (system / usual for usual in _USUAL)


def _below(group: str, root: str) -> Path:
    """The path of a group below the one that is mounted; the mounted one itself where it is not below that."""
    path = Path(group)
    if ".." in path.parts or not path.is_relative_to(root):
        return Path()
    return path.relative_to(root)


def _mount(line: str) -> _Mount | None:
    """A line of ``mountinfo``; None where it is no hierarchy of control groups."""
    left, _, right = line.partition(" - ")
    where, what = left.split(), right.split()
    if len(where) <= 4 or len(what) <= 2 or what[0] not in {"cgroup", _UNIFIED}:  # noqa: PLR2004 - fields of a line
        return None
    return _Mount(root=where[3], place=where[4], kind=what[0], options=frozenset(what[2].split(",")))


def _limit(directory: Path) -> int | None:
    """Cores' time that one group grants, rounded up; None for no limit."""
    words = _words(directory / "cpu.max") or [
        *_words(directory / "cpu.cfs_quota_us"),
        *_words(directory / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # noqa: PLR2004 - "max", -1, or no such files
        return None
    quota, period = map(int, words)
    return max(1, -(-quota // period)) if period else None


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    """Lines of a file; none where it cannot be read."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
