"""Networks that stop thinking when they have understood.

The public names, imported when first used, so that ``import shallowdeep`` costs nothing:

    network = shallowdeep.convert(model, example_input, recipe="joint")      # on a ready classifier
    history = shallowdeep.fit(network, train_loader, recipe="joint")         # batches of (images, labels)
    predictions = shallowdeep.predict_exits(network, held_out_loader)        # what every exit says
    policy = shallowdeep.calibrate(predictions, max_accuracy_loss=0.01)      # when to exit, and what that promises
    findings = shallowdeep.analyze(predictions)                              # how the network overthinks
    network.save("net")                                                      # shallowdeep.load("net", backbone=model)
    shallowdeep.export(network, policy, "bundle")                            # what runs elsewhere, without torch
    engine = shallowdeep.EarlyExitEngine.from_bundle("bundle")
    answers = engine(images)                                                 # labels, confidences, exits, costs
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shallowdeep.analysis.findings import Findings
    from shallowdeep.api import analyze, calibrate, convert, export, fit, predict_exits
    from shallowdeep.checkpoint import load
    from shallowdeep.data.batches import Batches
    from shallowdeep.data.image_rules import ImageRules
    from shallowdeep.data.load import load_dataset
    from shallowdeep.data.preprocessing import Preprocessing
    from shallowdeep.errors import ShallowDeepError
    from shallowdeep.exits.confusion import ConfusionStatistics
    from shallowdeep.exits.policy import Policy, decide
    from shallowdeep.exits.predictions import ExitPredictions
    from shallowdeep.inference.bundle import read_bundle
    from shallowdeep.inference.engine import EarlyExitEngine
    from shallowdeep.models.registry import build
    from shallowdeep.sdn.network import ShallowDeepNetwork
    from shallowdeep.sdn.saving import Architecture, save
    from shallowdeep.security.exit_guard import ExitGuard
    from shallowdeep.training.losses import exit_loss

_HOMES = {
    "Architecture": "sdn.saving",
    "Batches": "data.batches",
    "ConfusionStatistics": "exits.confusion",
    "EarlyExitEngine": "inference.engine",
    "ExitGuard": "security.exit_guard",
    "ExitPredictions": "exits.predictions",
    "Findings": "analysis.findings",
    "ImageRules": "data.image_rules",
    "Policy": "exits.policy",
    "Preprocessing": "data.preprocessing",
    "ShallowDeepError": "errors",
    "ShallowDeepNetwork": "sdn.network",
    "analyze": "api",
    "build": "models.registry",
    "calibrate": "api",
    "convert": "api",
    "decide": "exits.policy",
    "exit_loss": "training.losses",
    "export": "api",
    "fit": "api",
    "load": "checkpoint",
    "load_dataset": "data.load",
    "predict_exits": "api",
    "read_bundle": "inference.bundle",
    "save": "sdn.saving",
}

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Batches",
    "ConfusionStatistics",
    "EarlyExitEngine",
    "ExitGuard",
    "ExitPredictions",
    "Findings",
    "ImageRules",
    "Policy",
    "Preprocessing",
    "ShallowDeepError",
    "ShallowDeepNetwork",
    "analyze",
    "build",
    "calibrate",
    "convert",
    "decide",
    "exit_loss",
    "export",
    "fit",
    "load",
    "load_dataset",
    "predict_exits",
    "read_bundle",
    "save",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the public names
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from shallowdeep.errors import not_installed  # noqa: PLC0415 - needed where something is missing alone

        lacking = not_installed(error, f"shallowdeep.{name}")
        if lacking is None:
            raise
        raise ModuleNotFoundError(str(lacking), name=error.name) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
