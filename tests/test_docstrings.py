"""Every public object has an example, and every example does what it says."""

from __future__ import annotations

import doctest

import pytest

import shallowdeep


@pytest.mark.parametrize("name", shallowdeep.__all__)
def test_examples_run(name: str) -> None:
    """As a reader would type them."""
    thing = getattr(shallowdeep, name)
    examples = [found for found in doctest.DocTestFinder(recurse=False).find(thing, name) if found.examples]
    assert examples, f"Expected an example in the docstring of {name}, got none"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
