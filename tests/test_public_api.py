"""What `import shallowdeep` offers is frozen: a change here is a change for every user."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shallowdeep

NAMES = [
    "Architecture", "Batches", "ConfusionStatistics", "EarlyExitEngine", "ExitGuard", "ExitPredictions", "Findings",
    "Policy", "Preprocessing", "ShallowDeepError", "ShallowDeepNetwork", "analyze", "build", "calibrate", "convert",
    "decide", "exit_loss", "export", "fit", "load", "load_dataset", "predict_exits", "read_bundle", "save",
]  # fmt: skip


def test_public_names_are_frozen() -> None:
    """These names, and no others, are public; each can be had, and `dir` shows it."""
    assert shallowdeep.__all__ == NAMES
    for name in NAMES:
        assert getattr(shallowdeep, name).__name__ == name
        assert name in dir(shallowdeep)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'convret'"):
        shallowdeep.convret  # noqa: B018 - the access is the test


def test_importing_the_package_imports_no_torch() -> None:
    """`import shallowdeep` and its help cost no torch, NumPy or SciPy."""
    script = (
        "import sys, shallowdeep; from shallowdeep.cli.main import run; assert run(['--help']) == 0; "
        "assert run(['train', '--help']) == 0; print(sorted({'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
