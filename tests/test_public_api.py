"""What `import shallowdeep` offers is frozen: a change here is a change for every user."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import shallowdeep

NAMES = [
    "Architecture", "Batches", "ConfusionStatistics", "EarlyExitEngine", "ExitGuard", "ExitPredictions", "Findings",
    "ImageRules", "Policy", "Preprocessing", "ShallowDeepError", "ShallowDeepNetwork", "analyze", "build", "calibrate",
    "convert", "decide", "exit_loss", "export", "fit", "load", "load_dataset", "predict_exits", "read_bundle", "save",
]  # fmt: skip


PARAMETERS = {  # by name after the star
    "analyze": "predictions * tune statistics class_names exit_names resamples seed",
    "build": "name * num_classes image_size pretrained channels",
    "calibrate": (
        "predictions * max_accuracy_loss budget threshold certify confidence risk signal fallback max_relative_cost "
        "temperatures abstain statistics seed"
    ),
    "convert": "backbone example_input * recipe fractions heads cascaded minimum_gap",
    "decide": "policy logits costs",
    "exit_loss": "logits labels weights",
    "export": (
        "network policy directory * backend precision calibration_data statistics static overwrite least_agreement"
    ),
    "fit": (
        "network train_loader * recipe epochs tune_loader trained preset optimizer learning_rate exit_weight "
        "equilibrium distillation seed precision directory progress"
    ),
    "load": "path * backbone trust",
    "load_dataset": (
        "name_or_path * image_size seed calibration_fraction test_fraction skip_bad_images memory_budget preprocessing "
        "text_column rules progress"
    ),
    "predict_exits": "network loader * precision progress",
    "read_bundle": "path * static",
    "save": "network directory architecture * dtype",
}


def test_public_names_are_frozen() -> None:
    """These names, and no others, are public; each can be had, and `dir` shows it."""
    assert shallowdeep.__all__ == NAMES
    for name in NAMES:
        assert getattr(shallowdeep, name).__name__ == name
        assert name in dir(shallowdeep)


def test_parameters_of_an_engines_call_are_frozen() -> None:
    """Images, and what is told of them."""
    call = inspect.signature(shallowdeep.EarlyExitEngine.__call__).parameters
    assert list(call) == ["self", "images", "probabilities"]
    assert call["probabilities"].kind is inspect.Parameter.KEYWORD_ONLY


def test_public_parameters_are_frozen() -> None:
    """Those of every public function, in order, and which are given by name alone."""
    functions = {name: getattr(shallowdeep, name) for name in NAMES if inspect.isfunction(getattr(shallowdeep, name))}
    found = {}
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters.values()
        named = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        placed = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
        found[name] = " ".join([*placed, *(["*", *named] if named else [])])
    assert found == PARAMETERS


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
