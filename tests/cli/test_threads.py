"""``--threads``: every command that computes takes it, and all that computes keeps to it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from shallowdeep.cli.main import app

NO_WORK = {"models", "datasets"}


def test_every_command_that_computes_takes_it() -> None:
    """By the parameters of the commands themselves, those of ``audit`` too."""
    group: Any = get_command(app)
    commands = dict(group.commands)
    commands.update({f"audit {name}": one for name, one in commands.pop("audit").commands.items()})
    without = {name for name, one in commands.items() if "threads" not in {given.name for given in one.params}}
    assert without == NO_WORK


@pytest.mark.parametrize("first", ["import torch; use_threads(1)", "use_threads(1); import torch"])
def test_torch_and_decoding_keep_to_it(first: str) -> None:
    """Whether torch is there already or comes later."""
    program = (
        f"from shallowdeep.machine import available_cores, use_threads; {first}; "
        "print(torch.get_num_threads(), available_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
