"""Compiled models on disk: whole, found again, bounded, and never needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shallowdeep.inference.backends.compiled_files import VARIABLE, CompiledFiles, Kept, compiled_files, key_of

ONE = Kept(b"a" * 100, 7)
FILE = 100 + 40  # bytes of one, with its checksum and number


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """By another process's object too; under another key there is nothing."""
    CompiledFiles(tmp_path / "deep" / "er").write("k", ONE)
    assert CompiledFiles(tmp_path / "deep" / "er").read("k") == ONE
    assert CompiledFiles(tmp_path / "deep" / "er").read("other") is None
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["k.compiled"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:0], lambda b: b[:50] + b"X" + b[51:], lambda b: b[:33]]
)
def test_damaged_files_are_deleted(tmp_path: Path, damage: object) -> None:
    """Truncated or altered ones: the runtime might crash on them."""
    files = CompiledFiles(tmp_path)
    files.write("k", ONE)
    path = tmp_path / "k.compiled"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert files.read("k") is None
    assert not path.exists()


def test_those_not_used_for_longest_make_room(tmp_path: Path) -> None:
    """Three fit; reading the oldest makes it the newest."""
    files = CompiledFiles(tmp_path, limit=3 * FILE)
    for age, key in enumerate(("first", "second", "third")):
        files.write(key, ONE)
        os.utime(tmp_path / f"{key}.compiled", (1000 + age, 1000 + age))
    files.read("first")
    files.write("fourth", ONE)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["first", "fourth", "third"]
    files.write("large", Kept(b"b" * 1000, 0))  # larger than all together: not kept, and nothing deleted for it
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """A file stands where the directory would be."""
    (tmp_path / "file").write_text("")
    files = CompiledFiles(tmp_path / "file" / "cache")
    files.write("k", ONE)
    assert files.read("k") is None
    files.drop("k")
    nowhere = CompiledFiles(None)
    nowhere.write("k", ONE)
    assert nowhere.read("k") is None


def test_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, off, else the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, wanted in (
        (str(tmp_path / "own"), tmp_path / "own" / "openvino"),
        ("off", None),
        ("", tmp_path / "xdg" / "shallowdeep" / "openvino"),
    ):
        monkeypatch.setenv(VARIABLE, given)
        assert compiled_files("openvino")._directory == wanted
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # as the specification says, such a one is ignored
    assert compiled_files("openvino")._directory == tmp_path / "home" / ".cache" / "shallowdeep" / "openvino"


def test_keys_differ_wherever_a_part_does() -> None:
    """Parts that only differ in where one ends are others."""
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("c", "ab")}) == 4
    assert key_of("a", "b") == key_of("a", "b")
