"""Networks that stop thinking when they have understood.

The public names, imported when first used, so that ``import shallowdeep`` costs nothing:

    network = shallowdeep.convert(backbone, example_input)   # a Shallow-Deep Network
    logits = network(images)                                 # (E, N, C): every exit's
    network = shallowdeep.load("runs/first")                 # one that `shallowdeep train` saved
    engine = shallowdeep.EarlyExitEngine("bundle")           # one that `shallowdeep export` wrote
    answers = engine(images)                                 # labels, confidences, exits, costs
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shallowdeep.checkpoint import load
    from shallowdeep.data.load import load_dataset
    from shallowdeep.data.loading import Batches
    from shallowdeep.data.preprocessing import Preprocessing
    from shallowdeep.errors import ShallowDeepError
    from shallowdeep.exits.policy import Policy, decide
    from shallowdeep.exits.predictions import ExitPredictions
    from shallowdeep.inference.bundle import read_bundle
    from shallowdeep.inference.engine import EarlyExitEngine
    from shallowdeep.models.registry import build
    from shallowdeep.sdn.convert import convert
    from shallowdeep.sdn.network import ShallowDeepNetwork
    from shallowdeep.sdn.prediction import predict_exits
    from shallowdeep.sdn.saving import Architecture, save
    from shallowdeep.security.exit_guard import ExitGuard

_HOMES = {
    "Architecture": "checkpoint",
    "Batches": "data.loading",
    "EarlyExitEngine": "inference.engine",
    "ExitGuard": "security.exit_guard",
    "ExitPredictions": "exits.predictions",
    "Policy": "exits.policy",
    "Preprocessing": "data.preprocessing",
    "ShallowDeepError": "errors",
    "ShallowDeepNetwork": "sdn.network",
    "build": "models.registry",
    "convert": "sdn.convert",
    "decide": "exits.policy",
    "load": "checkpoint",
    "load_dataset": "data.load",
    "predict_exits": "sdn.prediction",
    "read_bundle": "inference.bundle",
    "save": "checkpoint",
}

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Batches",
    "EarlyExitEngine",
    "ExitGuard",
    "ExitPredictions",
    "Policy",
    "Preprocessing",
    "ShallowDeepError",
    "ShallowDeepNetwork",
    "build",
    "convert",
    "decide",
    "load",
    "load_dataset",
    "predict_exits",
    "read_bundle",
    "save",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the public names
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
