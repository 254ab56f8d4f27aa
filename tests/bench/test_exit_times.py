"""What cut points and heads of a real, tiny network take."""

from __future__ import annotations

import copy

import pytest
import torch

from shallowdeep.bench import operation_times
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import candidates

pytest.importorskip("openvino")

from shallowdeep.bench.exit_times import cut_times, head_times

EXAMPLE = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_times_of_a_network(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later cut points take longer, none longer than the whole; every head takes some time; nothing is changed."""
    if precision == "int8":
        pytest.importorskip("nncf")
    monkeypatch.setattr(operation_times, "SECONDS", 0.0)
    backbone = build("resnet20", num_classes=4, image_size=16)
    before, state = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    cuts = candidates(backbone, EXAMPLE)[2::3]
    times = cut_times(backbone, EXAMPLE, cuts, precision=precision, batch_size=4)
    assert len(times.seconds) == len(cuts) == 3
    assert 0 < times.seconds[0] < times.seconds[1] < times.seconds[2] < times.whole
    heads = head_times(
        backbone, EXAMPLE, cuts[:2], [("strided-1", "mean"), ("pooled",)], precision=precision, batch_size=4
    )
    assert [len(beside) for beside in heads.seconds] == [2, 1]
    assert all(0 < seconds < heads.whole for beside in heads.seconds for seconds in beside)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
