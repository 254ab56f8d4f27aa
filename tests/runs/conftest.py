"""A small finished run, for tests of what reads one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.analysed import JOINT

if TYPE_CHECKING:
    from tests.conftest import Training


@pytest.fixture
def made_run(trained: Training, workplace: Path) -> Path:
    """`run` in the working directory: two internal classifiers, two epochs, half of the images held out."""
    trained("run", *JOINT)
    return workplace / "run"
