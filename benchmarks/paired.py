"""Paired timing: variants alternate in one run; ratios come with a bootstrap interval."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from shallowdeep.bench import workers
from shallowdeep.documents import plain
from shallowdeep.machine import this_machine

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmarks"


def machine() -> dict[str, Any]:
    """What the figures were measured on, and when."""
    return {**plain(this_machine(torch.get_num_threads())), "torch": torch.__version__}


def alternate(variants: dict[str, Callable[[], object]], rounds: int, warmups: int = 1) -> dict[str, list[float]]:
    """Seconds of each call, one list per variant; in every round each is called once, in alternating order."""
    for _ in range(warmups):
        for call in variants.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        names = list(variants)
        for name in names if number % 2 == 0 else reversed(names):
            started = time.perf_counter()
            variants[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def paired_ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median of the rounds' ratios slower/faster, with a 95 % bootstrap interval over rounds."""
    return {**plain(workers.paired_ratio(slower, faster)), "rounds": len(slower)}


def publish(name: str, document: dict[str, Any]) -> None:
    """Write ``results/benchmarks/NAME.json`` with the machine beside the figures, and print it."""
    document = {"benchmark": name, **document, "machine": machine()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    print(text)
