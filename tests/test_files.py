"""Files are the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shallowdeep.errors import OutputError
from shallowdeep.files import (
    abandoned,
    exclusive,
    reading,
    replacing,
    replacing_together,
    require_writable,
    sha256_of,
    write_json,
)


def fail_with(number: int) -> object:
    """A function that fails as the operating system does."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path) -> None:
    """What was written is there, under the umask's mode, in a folder made for it, and nothing beside it."""
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
        temporary.chmod(0o600)
    assert path.read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    """An exception in the block passes through; the old file stays and nothing lies beside it."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as temporary:  # noqa: PT012 - what is written before the error counts
        temporary.write_text("new")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "no space left on the disk"), (errno.EACCES, "Permission denied")]
)
def test_a_write_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    """The reason and the path are named, and every old file stays."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("old")
    monkeypatch.setattr(os, "fsync", fail_with(number))
    with (  # noqa: PT012 - the failure comes when the block ends
        pytest.raises(OutputError, match=f"Expected to write .*/one, got: {reason}"),
        replacing_together(one, other) as (first, second),
    ):
        first.write_text("new")
        second.write_text("new")
    assert one.read_text() == "old"
    assert list(tmp_path.iterdir()) == [one]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    """A path below a file cannot be written, and that is said."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x.json", tmp_path / "file" / "deeper" / "x.json"):
        with pytest.raises(OutputError, match=f"^Expected to write {path}, got: {tmp_path}/file is no directory$"):
            write_json(path, {})
    with pytest.raises(OutputError, match=r"file is no directory\); --out names another directory$"):
        require_writable(tmp_path / "file" / "deeper")
    with pytest.raises(OutputError, match=f"got: {tmp_path}/file is no directory$"), exclusive(tmp_path / "file"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system in which nobody can make files")
def test_a_place_where_nothing_can_be_made_is_told() -> None:
    """Not even by root: the reason is not that something is missing."""
    with pytest.raises(OutputError, match=r"^Expected to write /proc/x/y\.json, got: nothing can be made in /proc$"):
        write_json(Path("/proc/x/y.json"), {})
    with pytest.raises(OutputError, match=r"^Expected to write to /proc/x, .* \(nothing can be made in /proc\)"):
        require_writable(Path("/proc/x"))
    with pytest.raises(OutputError, match=r"^Expected to write to /proc, .* \(nothing can be made in /proc\)"):
        require_writable(Path("/proc"))


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    """Looking whether it can be written makes nothing."""
    require_writable(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []


def test_abandoned_files_are_found(tmp_path: Path) -> None:
    """Only temporary files of the very path count as a killed writer's."""
    (tmp_path / ".a.json.0123abcd.json").touch()
    for other in ("a.json", ".a.json.012.json", ".b.json.0123abcd.json", ".a.json.0123abcd"):
        (tmp_path / other).touch()
    assert [path.name for path in abandoned(tmp_path / "a.json")] == [".a.json.0123abcd.json"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    """NaN is refused, the old document stays."""
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'


def test_sha256_is_the_standards(tmp_path: Path) -> None:
    """The digest of `abc` is the one in FIPS 180."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_readers_share_a_directory_and_a_writer_has_it_alone(tmp_path: Path) -> None:
    """Two may read; who wants to write is told whether another reads or writes, and who reads that another writes."""
    told = pytest.raises(OutputError, match="got another that is reading it just now")
    with reading(tmp_path), reading(tmp_path), told, exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        for lock in (reading, exclusive):
            with pytest.raises(OutputError, match="got another that is writing to it just now"), lock(tmp_path):
                pass
    with exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_directory_is_read_unlocked(tmp_path: Path) -> None:
    """Nothing is made where there is nothing; a file is no run."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with reading(path):
            pass
    assert not (tmp_path / "none").exists()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no locks, nothing is locked; another failure is told."""
    monkeypatch.setattr("fcntl.flock", fail_with(errno.ENOLCK))
    with exclusive(tmp_path), reading(tmp_path):
        pass
    monkeypatch.setattr("fcntl.flock", fail_with(errno.EIO))
    with pytest.raises(OutputError, match="Expected to write"), exclusive(tmp_path):
        pass


HOLDER = """
import os, sys, time
from pathlib import Path
from shallowdeep.files import exclusive
reads, writes = os.pipe()
with exclusive(Path(sys.argv[1])):
    worker = os.fork()
    if worker:
        os.read(reads, 1)  # it has come so far that it holds no lock
        print(worker, flush=True)
    else:
        os.write(writes, b".")
    time.sleep(120)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_killed_process_gives_its_directory_back_though_its_worker_lives(tmp_path: Path) -> None:
    """The lock ends with the process that took it: a forked worker does not keep it."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        worker = int(holder.stdout.readline())
        try:
            with pytest.raises(OutputError, match="writing to it just now"), exclusive(tmp_path):
                pass
            holder.kill()
            holder.wait()
            os.kill(worker, 0)  # it lives
            with exclusive(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)
