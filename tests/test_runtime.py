"""Seeds, devices, precision and modes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shallowdeep.errors import ConfigurationError
from shallowdeep.runtime import bf16_pays, derive_seed, evaluating, pick_device, pick_precision, seed_everything


@given(st.lists(st.integers(-(2**63), 2**70), max_size=4))
def test_derived_seeds_fit_every_generator(parts: list[int]) -> None:
    """Any parts give a number of 63 bits, the same one each time."""
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert derive_seed(*parts) == seed


def test_order_matters_in_seeds() -> None:
    """(seed, epoch) and (epoch, seed) draw different numbers."""
    assert derive_seed(1, 2) != derive_seed(2, 1)


def test_seeding_repeats_every_generator() -> None:
    """Python, NumPy and torch draw the same again."""

    def drawn() -> tuple[float, float, float]:
        seed_everything(3, 1)
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002, S311 - the global generators are what is tested

    assert drawn() == drawn()


def test_devices_that_are_not_there_are_refused() -> None:
    """A misspelt or absent device is named; auto and cpu are there."""
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in {"cpu", "cuda"}
    for name in ("cqu", "cuda:99", ""):
        with pytest.raises(ConfigurationError, match="Expected a device that is present"):
            pick_device(name)


def test_precision_is_bf16_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` asks the hardware; what is asked for by name is taken."""
    cpu = torch.device("cpu")
    assert isinstance(bf16_pays(cpu), bool)
    for pays, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("shallowdeep.runtime.bf16_pays", lambda _, pays=pays: pays)
        assert pick_precision("auto", cpu) == expected
        assert pick_precision("fp32", cpu) == "fp32"
    with pytest.raises(ConfigurationError, match="Expected precision to be one of auto, fp32, bf16, got 'fp8'"):
        pick_precision("fp8", cpu)


def test_evaluating_gives_every_module_its_mode_back() -> None:
    """Inside all is in eval mode; after it, even after an error, each module is as it was."""
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)).train()
    network[1].eval()
    with pytest.raises(KeyError), evaluating(network):  # noqa: PT012 - the modes inside are half of the test
        assert not any(module.training for module in network.modules())
        raise KeyError
    assert [module.training for module in network.modules()] == [True, True, False]
