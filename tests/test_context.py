"""What every command needs besides its own settings."""

from __future__ import annotations

import pytest

from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError
from shallowdeep.progress import SILENT


def test_defaults_are_careful_and_silent() -> None:
    """Nothing is trusted, nothing skipped, nothing shown."""
    context = RunContext()
    assert (context.trust, context.skip_bad_images, context.progress) == (False, False, SILENT)


@pytest.mark.parametrize("size", [0, -1])
def test_batches_hold_at_least_one_image(size: int) -> None:
    """Refused when it is made, not in the middle of the work."""
    with pytest.raises(ConfigurationError, match=f"Expected a batch size of at least 1, got {size}"):
        RunContext(batch_size=size)
