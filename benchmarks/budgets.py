"""What a trained run is worth at budgets: the policy that `calibrate --budget` picks, by each signal."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from shallowdeep.calibration.candidates import best_within_budget, candidates, pareto_front
from shallowdeep.calibration.ensemble_fit import fit_ensemble
from shallowdeep.calibration.temperature import fit_temperatures
from shallowdeep.exits.outcome import summarize
from shallowdeep.exits.policy import NEVER, Policy, shared_threshold
from shallowdeep.exits.predictions import ExitPredictions

BUDGETS = (0.25, 0.5, 0.75)
SIGNALS = ("max-probability", "ensemble")


def document(*arguments: str, threads: int | None = None) -> dict[str, Any]:
    """The JSON document of a `shallowdeep` command; ``threads`` of its runtime, None for one a core."""
    command = [sys.executable, "-m", "shallowdeep", *arguments, "--json"]
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=environment
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def at_budgets(chosen_on: ExitPredictions, shown: ExitPredictions) -> dict[str, Any]:
    """Accuracy and relative cost on ``shown`` of the policy chosen on other samples, by ``SIGNAL at BUDGET``."""
    found: dict[str, Any] = {}
    for signal in SIGNALS:
        base = _base_policy(signal, chosen_on)
        labels = chosen_on.labels
        front = pareto_front(candidates(chosen_on, base, [labels]), labels)
        for budget in BUDGETS:
            block = summarize(best_within_budget(front, budget).policy, shown)
            found[f"{signal} at {budget}"] = [round(block.accuracy, 4), round(block.relative_cost, 4)]
    return found


def columns(result: dict[str, Any]) -> dict[str, float]:
    """What tables show of a run with ``exits`` and the figures of `at_budgets`, in per cent."""
    shown = {"final exit": result["exits"][-1]}
    for signal in SIGNALS:
        for budget in BUDGETS:
            if f"{signal} at {budget}" in result:
                shown[f"{signal} ≤ {100 * budget:.0f} %"] = result[f"{signal} at {budget}"][0]
    return {name: 100 * value for name, value in shown.items()}


def difference(apart: Sequence[float]) -> str:
    """The mean of differences over seeds, with its standard error where there are several."""
    error = f" ± {statistics.stdev(apart) / len(apart) ** 0.5:.1f}" if len(apart) > 1 else ""
    return f"{statistics.mean(apart):+.1f}{error}"


def _base_policy(signal: str, pred: ExitPredictions) -> Policy:
    """Signal with temperatures, or with an ensemble's weights, as `calibrate` fits them."""
    if signal == "ensemble":
        whole = fit_ensemble(pred.logits, pred.labels)
        return shared_threshold(NEVER, pred.exits, signal=signal, ensemble=whole)
    temperatures = fit_temperatures(pred.logits, pred.labels)
    return shared_threshold(NEVER, pred.exits, signal=signal, temperatures=temperatures)
