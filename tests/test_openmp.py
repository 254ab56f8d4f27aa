"""Threads wait shortly unless the user says how they wait."""

from __future__ import annotations

import pytest

from shallowdeep.openmp import WAITING, short_waits


def test_a_number_of_turns_is_set() -> None:
    """Far below the runtime's 300,000."""
    assert short_waits({"PATH": "/bin"}) == {"GOMP_SPINCOUNT": "10000"}


@pytest.mark.parametrize("name", WAITING)
def test_what_the_user_set_stands(name: str) -> None:
    """Under any of the names, an empty value too."""
    assert short_waits({name: ""}) == {}
