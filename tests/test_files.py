"""Files are the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shallowdeep.errors import OutputError
from shallowdeep.files import abandoned, replacing, replacing_together, sha256_of, write_json


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
    with pytest.raises(OutputError, match="Expected to write"):
        write_json(tmp_path / "file" / "x.json", {})


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
