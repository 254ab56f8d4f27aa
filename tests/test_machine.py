"""How many cores count: by where the process may run, by its quota, and by what the user said."""

from __future__ import annotations

import os

import pytest

from shallowdeep import machine


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on four cores, and that nobody has told a number of threads."""
    monkeypatch.setattr(machine, "schedulable_cores", lambda: 4)
    monkeypatch.setattr(machine, "_limit", {})
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (1, 1), (3, 3), (8, 4)])
def test_the_smaller_of_quota_and_affinity_counts(
    monkeypatch: pytest.MonkeyPatch, quota: int | None, cores: int
) -> None:
    """A quota of eight gives no more than the four there are."""
    monkeypatch.setattr(machine, "_granted_quota", lambda: quota)
    assert machine.available_cores() == cores


def test_what_the_user_said_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than the quota is worth, too."""
    monkeypatch.setattr(machine, "_granted_quota", lambda: 1)
    machine.use_threads(3)
    assert machine.available_cores() == 3
