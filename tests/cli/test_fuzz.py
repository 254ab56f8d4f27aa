"""Any command line ends with a status and at most one line of error: never with a traceback.

`SHALLOWDEEP_FUZZ=2000 pytest tests/cli/test_fuzz.py` tries more command lines than the default.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import NETWORKS, Shell, write_images
from typer.main import get_command

from shallowdeep.cli.main import app, run

EXAMPLES = int(os.environ.get("SHALLOWDEEP_FUZZ", "200"))
COMMANDS: dict[str, Any] = dict(get_command(app).commands)  # type: ignore[attr-defined]  # a group
CHEAP = ("train", "evaluate", "calibrate", "analyze", "report", "export", "predict", "models", "datasets")
MEASURING = ("plan", "bench", "convert")  # they take long where nothing is wrong with what they are given
LEFT_OUT = {"--help", "--version", "--device", "--workers", "--tensorboard"}

PLACES = (
    "run",
    "backbone",
    "bundle",
    "images",
    "others",
    "empty",
    "text.txt",
    "nowhere",
    "",
    ".",
    "bad [x].png",
    "ünï.png",
)
NUMBERS = ("0", "1", "2", "-1", "0.5", "1.5", "nan", "inf", "x", "", "1e400")
NAMES = (
    "f32",
    "int8",
    "openvino",
    "onnxruntime",
    "torch",
    "joint",
    "ic-only",
    "backbone",
    "best",
    "0.2,0.8",
    "1,2",
    "none",
    "ß",
)
SPECIAL = {
    "--data": ("images", "others", "nowhere", "empty", "text.txt", "minst5k", "", "images/train/azure"),
    "--model": (
        "tiny_nets:plain",
        "tiny_nets:nothing",
        "no.module:net",
        "resnet20",
        "resnet",
        ":",
        "timm:no",
        "",
        "a b",
    ),
    "--epochs": ("1", "0", "-1", "x"),
    "--seed": ("0", "1", "-1", "99999999999999999999"),
    "--image-size": ("16", "0", "-1", "x"),
    "--adversarial-steps": ("0", "1", "-1"),
    "--views": ("1", "0", "2"),
    "--threads": ("1", "0", "-1", "99999"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a network's code, runs, a bundle, and files that are none of these."""
    folder = tmp_path_factory.mktemp("template")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    (folder / "tiny_nets.py").write_text(NETWORKS)
    write_images(folder / "images", "train", 60)
    write_images(folder / "images", "test", 12)
    write_images(folder / "others", "train", 30, size=20)
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("no image, no settings: [")
    for name in ("bad [x].png", "ünï.png"):
        (folder / name).write_bytes(b"junk")
    base = ["train", "--data", "images", "--model", "tiny_nets:plain", "--epochs", "1", "--batch-size", "16"]
    assert run([*base, "--recipe", "joint", "--exits", "2", "--out", "run"]) == 0
    assert run([*base, "--recipe", "backbone", "--out", "backbone"]) == 0
    assert run(["calibrate", "run", "--threshold", "0.6", "--trust"]) == 0
    assert run(["export", "run", "--out", "bundle", "--trust"]) == 0
    patch.undo()
    return folder


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command, some of its options with values that may fit or not, and arguments."""
    name = draw(st.sampled_from([*CHEAP, *MEASURING]))
    words = [name]
    places = ("nowhere", "empty", "text.txt", "images", "") if name in MEASURING else PLACES
    parameters = [one for one in COMMANDS[name].params if not set(one.opts) & LEFT_OUT]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            count = draw(st.sampled_from([0, 1, 1, 1, 2]))
            words += [draw(st.sampled_from(places)) for _ in range(count)]
            continue
        wanted = name in {"train", "convert"} and parameter.opts[0] in {"--data", "--model", "--out", "--epochs"}
        if not (draw(st.integers(0, 9)) < (9 if wanted else 1)):
            continue
        option = parameter.opts[0]
        words.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
        if not parameter.is_flag:
            pool = SPECIAL.get(option) or {int: NUMBERS, float: NUMBERS}.get(
                parameter.bare_type, (*NAMES, *places, *NUMBERS)
            )
            words.append(draw(st.sampled_from(pool)))
    if draw(st.integers(0, 19)) == 0:
        words.insert(
            draw(st.integers(0, len(words))), draw(st.sampled_from(["--nothing", "-x", "--", "--json", "\x00", "é"]))
        )
    return words


@settings(
    max_examples=EXAMPLES, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(words=command_lines())
def test_no_command_line_ends_in_a_traceback(
    template: Path, tmp_path_factory: pytest.TempPathFactory, shell: Shell, words: list[str]
) -> None:
    """Status 0, 1 or 2; at status 2 one line, and an existing run stays as it was."""
    folder = tmp_path_factory.mktemp("fuzz") / "place"
    shutil.copytree(template, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        status, output, errors = shell(*words)
    shutil.rmtree(folder)
    assert status in {0, 1, 2}, (status, errors)
    assert "Traceback" not in errors
    if status == 2:
        lines = [line for line in errors.splitlines() if line.startswith("shallowdeep: ")]
        assert len(lines) == 1, errors
        assert lines[0] == errors.splitlines()[-1]
        assert output == ""
