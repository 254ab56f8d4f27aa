"""Bundles of networks that take several inputs by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.sdn.test_inputs import Encoder, Tabular, example, texts
from torch import Tensor

from shallowdeep.errors import DataError
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import ShallowDeepNetwork


def tabular() -> tuple[ShallowDeepNetwork, dict[str, Tensor]]:
    """Images beside measurements."""
    torch.manual_seed(0)
    batch = {"pixels": torch.randn(9, 3, 16, 16), "measured": torch.randn(9, 4)}
    return convert(Tabular().eval(), batch), batch


def encoder() -> tuple[ShallowDeepNetwork, dict[str, Tensor]]:
    """Ids beside a mask."""
    torch.manual_seed(0)
    return convert(Encoder().eval(), example()), texts(6)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("made", [tabular, encoder])
def test_the_engine_agrees_with_all_exits_then_policy(made: object, backend: str) -> None:
    """Other inputs leave the batch with their samples."""
    network, batch = made()  # type: ignore[operator]
    logits = network(batch).detach().numpy()
    exponents = np.exp(logits[0] - logits[0].max(-1, keepdims=True))
    confidence = (exponents / exponents.sum(-1, keepdims=True)).max(-1)
    policy = Policy((float(np.quantile(confidence, 0.5)) + 1e-4, *[2.0] * (len(network.exits) - 2)))
    expected = decide(policy, logits, network.costs)
    engine = EarlyExitEngine.from_network(network, policy, backend=backend)
    got = engine({name: values.numpy() for name, values in batch.items()})
    assert np.asarray(got.exits).tolist() == np.asarray(expected.exits).tolist()
    assert np.asarray(got.labels).tolist() == np.asarray(expected.labels).tolist()
    one = engine({name: values[:1].numpy() for name, values in batch.items()})
    assert np.asarray(one.labels).tolist() == np.asarray(expected.labels)[:1].tolist()


def test_names_and_shapes_are_checked(tmp_path: Path) -> None:
    """In one line each."""
    network, batch = tabular()
    policy = Policy(tuple([0.9] * (len(network.exits) - 1)))
    engine = EarlyExitEngine(write_bundle(network, policy, tmp_path / "bundle", "onnxruntime"))
    arrays = {name: values.numpy() for name, values in batch.items()}
    with pytest.raises(DataError, match="Expected arrays by the names pixels, measured, got pixels"):
        engine({"pixels": arrays["pixels"]})
    with pytest.raises(DataError, match="Expected arrays by the names pixels, measured, got ndarray"):
        engine(arrays["pixels"])
    with pytest.raises(DataError, match=r"Expected measured of shape \(9, 4\), got \(3, 4\)"):
        engine({**arrays, "measured": arrays["measured"][:3]})
