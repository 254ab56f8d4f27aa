"""Exits by measured time: what is chosen, refused, kept and told."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shallowdeep.artifacts import PLACEMENT, TRAINING_STATE
from shallowdeep.errors import CheckpointError, ConfigurationError, ShallowDeepError
from shallowdeep.models.registry import build
from shallowdeep.runs import placement as module
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.placement import Target, place, read_placement, target_of, told, write_placement

pytest.importorskip("openvino")

from shallowdeep.bench import exit_times
from shallowdeep.bench.exit_times import CutTimes, HeadTimes

BASE = TrainConfig("images", "resnet20", place_by="time", timed_heads=True, fractions=(0.25, 0.5))


def front_heavy(_: object, __: object, cuts: Sequence[object], **settings: object) -> CutTimes:
    """The first cut point takes half of the time, the others share the rest."""
    del settings
    return CutTimes(tuple(0.5 + 0.4 * number / len(cuts) for number in range(len(cuts))), 1.0)


def growing(_: object, __: object, ___: object, kinds: Sequence[Sequence[str]], **settings: object) -> HeadTimes:
    """At the first place only the cheapest head takes 3 %; at the second all do."""
    del settings
    first, *others = kinds
    seconds = [tuple(0.4 if kind != "mean" else 0.06 for kind in first), *((0.06,) * len(kinds) for kinds in others)]
    return HeadTimes(tuple(seconds), 2.0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times made up."""
    monkeypatch.setattr(exit_times, "cut_times", front_heavy)
    monkeypatch.setattr(exit_times, "head_times", growing)


@pytest.mark.usefixtures("measured")
def test_times_decide_places_and_heads() -> None:
    """By MACs exits would stand at 24 and 45 %; by time at the first cut points. Heads are as strong as 3 % allows."""
    backbone = build("resnet20", num_classes=4, image_size=16)
    found = place(BASE, backbone, (3, 16, 16))
    names = {cut.cut: cut.name for cut in found.cuts}
    assert [names[cut] for cut in found.at] == ["stem", "blocks.1"]
    assert found.heads == ("mean", "strided-2")
    assert found.fractions == (0.25, 0.5)
    assert (found.seconds, found.target) == (2.0, str(target_of(BASE)))
    assert {head.cut for head in found.candidates} == set(found.at)
    assert "stem (50% of the time, 1% of the MACs) mean head (3.0%)" in told(found)
    by_macs = place(replace(BASE, place_by="macs"), backbone, (3, 16, 16))
    assert by_macs.at == ("blocks_1_activation", "blocks_3_activation")
    assert (by_macs.cuts, len(by_macs.heads)) == ((), 2)
    assert place(replace(BASE, timed_heads=False), backbone, (3, 16, 16)).heads == ()


@pytest.mark.usefixtures("measured")
def test_a_run_keeps_the_placement(tmp_path: Path) -> None:
    """It reads back what was written; a run that measures nothing deletes it."""
    assert read_placement(tmp_path) is None
    found = place(BASE, build("resnet20", num_classes=4, image_size=16), (3, 16, 16))
    write_placement(tmp_path, found)
    assert read_placement(tmp_path) == found
    write_placement(tmp_path, None)
    assert read_placement(tmp_path) is None


@pytest.mark.usefixtures("measured")
def test_a_placement_that_is_gone_or_changed_is_refused(tmp_path: Path) -> None:
    """Beside the state of a training it is needed; its checksum tells that somebody changed it."""
    write_placement(tmp_path, place(BASE, build("resnet20", num_classes=4, image_size=16), (3, 16, 16)))
    text = (tmp_path / PLACEMENT).read_text()
    (tmp_path / PLACEMENT).write_text(text.replace("strided-2", "strided-1"))
    with pytest.raises(CheckpointError, match="the file was altered"):
        read_placement(tmp_path)
    document = {key: value for key, value in json.loads(text).items() if key not in {"sha256", "at"}}
    (tmp_path / PLACEMENT).write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="Expected a complete placement"):
        read_placement(tmp_path)
    (tmp_path / PLACEMENT).unlink()
    (tmp_path / TRAINING_STATE).touch()
    with pytest.raises(CheckpointError, match=r"Expected placement.json in"):
        read_placement(tmp_path)


@pytest.mark.parametrize(
    ("time_on", "expected"),
    [
        ("onnxruntime:f32", "runtime to measure in, got 'onnxruntime'; known: openvino"),
        ("openvino:fp16", "precision of openvino, got 'fp16'"),
        ("openvino", r"Expected --time-on RUNTIME:PRECISION\[:BATCH\], such as openvino:int8, got 'openvino'"),
        ("openvino:", "got 'openvino:'"),
        ("openvino:f32:0", "got 'openvino:f32:0'"),
        ("openvino:f32:many", "got 'openvino:f32:many'"),
        ("openvino:f32:", "got 'openvino:f32:'"),
    ],
)
def test_what_cannot_be_measured_is_refused(time_on: str, expected: str) -> None:
    """In one line that says what can be."""
    with pytest.raises(ShallowDeepError, match=expected):
        target_of(replace(BASE, time_on=time_on))


def test_targets_that_are_named() -> None:
    """Batches of 64 where nothing else is said."""
    assert target_of(replace(BASE, time_on="openvino:f32")) == Target("openvino", "f32", 64)
    assert target_of(replace(BASE, time_on="openvino:f32:1")) == Target("openvino", "f32", 1)


@pytest.mark.parametrize(
    ("absent", "bf16", "expected"),
    [((), True, "int8"), (("nncf",), True, "bf16"), (("nncf",), False, "f32")],
)
def test_the_fastest_here_is_taken(
    absent: tuple[str, ...], bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 with NNCF, else bf16 where the processor has units for it, else f32."""
    _without(monkeypatch, *absent)
    monkeypatch.setattr(module, "bf16_pays", lambda _: bf16)
    assert target_of(BASE).precision == expected


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it; and a processor without units for bfloat16 is told apart."""
    _without(monkeypatch, "nncf")
    with pytest.raises(ConfigurationError, match=r"Expected nncf for .*openvino:int8.*shallowdeep\[quantize\]"):
        target_of(replace(BASE, time_on="openvino:int8"))
    _without(monkeypatch, "openvino", "nncf")
    with pytest.raises(ConfigurationError, match=r"Expected openvino for .*shallowdeep\[openvino\]"):
        target_of(BASE)
    monkeypatch.setattr(module, "bf16_pays", lambda _: False)
    with pytest.raises(ConfigurationError, match="Expected a processor that computes in bf16"):
        target_of(replace(BASE, time_on="openvino:bf16"))


def _without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name in packages else found(name, package)
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"place_by": "clock"}, "measure to place exits by, got 'clock'; known: macs, time"),
        ({"deep_heads": 1}, "Expected one kind of heads, got --timed-heads and --deep-heads"),
        ({"conv_heads": 1}, "Expected one kind of heads, got --timed-heads and --conv-heads"),
        ({"recipe": "backbone", "fractions": ()}, "Expected no --timed-heads for the recipe 'backbone'"),
        ({"recipe": "backbone", "fractions": (), "timed_heads": False}, "Expected no --place-by time for the recipe"),
        (
            {"place_by": "macs", "timed_heads": False, "time_on": "openvino:f32"},
            "Expected --place-by time or --timed-heads beside --time-on, got neither",
        ),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], expected: str) -> None:
    """Each is refused by the name of its option."""
    with pytest.raises(ShallowDeepError, match=expected):
        checked(replace(BASE, **changes))
