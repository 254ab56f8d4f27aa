"""Can a run be slowed down: crafts changed images, follows its policy on them, times its engine, tries defences."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shallowdeep.checkpoint import load
from shallowdeep.data.load import DataSplits
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import POLICY, read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.experiment.audit_files import SLOWDOWN, Picture, evenly, write_audit
from shallowdeep.experiment.preparation import DataProgress, check_classes
from shallowdeep.experiment.run_splits import own_splits, predict_split
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.following import follow
from shallowdeep.inference.turns import machine, paired_ratio
from shallowdeep.runtime import pick_device, pick_precision
from shallowdeep.sdn.head_costs import head_costs
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.security.deepsloth import DeepSloth, to_pixels, with_change
from shallowdeep.security.slowdown import published_policies, slowdown_block
from shallowdeep.training.observer import Observer

BATCH, PICTURES = 125, 6
UNIVERSAL_IMAGES = 500
UNIVERSAL_PASSES = 10
JITTER = 0.1
LATENCY_BATCHES, ROUNDS = (1, 64), 15
OWN_POLICY = "the run's policy"


@dataclass(frozen=True)
class SlowdownAudit:
    """How a run is attacked.

    Attributes:
        samples: test images that are changed.
        iterations: steps for each.
        epsilon: largest change of a pixel, of 255.
        seed: which images, and moved thresholds.
        transfer: another run, on which changes are made too; or None.
        hardened: the same run with exits trained under attack (``train --adversarial-steps``), or None.
        device: ``auto``, ``cpu``, ``cuda`` ...
        skip_bad_images: leave out images that cannot be decoded.
        trust: run code that manifests name.
    """

    samples: int = 500
    iterations: int = 30
    epsilon: float = 8.0
    seed: int = 0
    transfer: Path | None = None
    hardened: Path | None = None
    device: str = "auto"
    skip_bad_images: bool = False
    trust: bool = False


def audit_slowdown(
    run: Path, audit: SlowdownAudit, *, command: str, observer: Observer, data_progress: DataProgress | None = None
) -> tuple[dict[str, Any], list[Path]]:
    """The ``audit slowdown`` document of a run, and the files written to it.

    Images are changed on the test split, 8 bits a channel, and judged under the run's policy (where it has one) and
    under thresholds chosen on ``tune`` for a loss of 5 and 15 % of the accuracy, as published.

    Raises:
        ShallowDeepError: a run without internal classifiers, or runs that do not go together.
    """
    if audit.samples < 1:
        raise ConfigurationError(f"Expected at least 1 sample, got {audit.samples}")
    victim = _opened(run, audit)
    others = {"transfer": audit.transfer, "hardened": audit.hardened}
    networks = {name: _opened(path, audit) for name, path in others.items() if path is not None}
    splits = own_splits(run, victim, skip_bad_images=audit.skip_bad_images, progress=data_progress)
    for name, network in networks.items():
        check_classes(victim.classes, str(run), network.classes, str(others[name]))
        if network.preprocessing is None or network.preprocessing.size != splits.preprocessing.size:
            raise ConfigurationError(f"Expected runs on images of one size, got another in {others[name]}")
    return _Attack(run, audit, victim, splits, observer).document(networks, command)


def _opened(run: Path, audit: SlowdownAudit) -> ShallowDeepNetwork:
    """A run's network on its device.

    Raises:
        DataError: it has no internal classifiers.
    """
    network = load(run, trust=audit.trust)
    if len(network.exits) == 1:
        raise DataError(
            f"Expected a run with internal classifiers, {run} has none; shallowdeep train --recipe ic-only --init {run}"
        )
    return network.to(pick_device(audit.device)).to(memory_format=torch.channels_last)


class _Attack:
    """One run under attack."""

    def __init__(
        self, run: Path, audit: SlowdownAudit, victim: ShallowDeepNetwork, splits: DataSplits, observer: Observer
    ) -> None:
        self.run, self.audit, self.victim, self.splits, self.observer = run, audit, victim, splits, observer
        self.device = next(victim.parameters()).device
        self.heads = head_costs(victim.exits, victim.backbone_macs)
        rows = np.sort(seeded_order(len(splits.test), audit.seed)[: audit.samples])
        self.pixels, self.labels = splits.test.fetch(rows)  # (N, 3, S, S) uint8
        tune = splits.tune.subset(np.arange(min(UNIVERSAL_IMAGES, len(splits.tune))))
        self.crafting, _ = tune.fetch(np.arange(len(tune)))

    def document(self, networks: dict[str, ShallowDeepNetwork], command: str) -> tuple[dict[str, Any], list[Path]]:
        """Everything, and the files written."""
        tune = predict_split(self.victim, self.splits.tune, self.splits.preprocessing, BATCH, self.observer)
        policies = published_policies(tune)
        own = read_policy(self.run / POLICY, self.victim.weights) if (self.run / POLICY).exists() else None
        if own is not None:
            policies = {OWN_POLICY: own, **policies}
        name, policy = next(iter(policies.items()))
        changed, speed = self._changed(networks.get("transfer"))
        clean = self._predicted(self.victim, self.pixels)
        odd = {kind: self._predicted(self.victim, pixels) for kind, pixels in changed.items()}
        blocks: list[dict[str, Any]] = [
            {
                "name": title, "thresholds": list(one.thresholds), "clean": slowdown_block(one, clean, self.heads),
                **{kind: slowdown_block(one, pred, self.heads) for kind, pred in odd.items()},
            }
            for title, one in policies.items()
        ]  # fmt: skip
        before, after = blocks[0]["clean"], blocks[0]["per_sample"]
        latency = self._latency(policy, changed["per_sample"])
        document: dict[str, Any] = {
            "audit": "slowdown", "run": str(self.run), "data": self.splits.name, "samples": len(self.pixels),
            "epsilon": self.audit.epsilon / 255, "iterations": self.audit.iterations, "seed": self.audit.seed,
            "command": command, "exits": [exit_.name for exit_ in self.victim.exits],
            "costs": list(self.victim.costs), "policy": name,
            "efficacy": {"before": before["efficacy"], "after": after["efficacy"]},
            "policies": blocks, "images_per_second": speed,
            "defences": self._defences(policy, clean, odd["per_sample"], networks.get("hardened")),
            "latency": latency, "sizing": sizing(before, after, float(self.victim.costs[-1]), latency),
        }  # fmt: skip
        pictures = self._pictures(changed["per_sample"], policy, clean, odd["per_sample"])
        return document, write_audit(self.run, SLOWDOWN, document, pictures)

    def _changed(self, transfer: ShallowDeepNetwork | None) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Changed images (N, 3, S, S) uint8 by kind, and how many a second are crafted."""
        sloth = self._sloth(self.victim)
        changed, speed = {}, {}
        crafted, seconds = self._crafted(self.victim, sloth, self.pixels, "crafting")
        changed["per_sample"], speed["per_sample"] = crafted, len(crafted) / seconds
        started = time.perf_counter()
        short = replace(sloth, iterations=UNIVERSAL_PASSES)
        batches = [self._input(part) for part in torch.split(self.crafting, BATCH)]
        self.observer.started("crafting one change for all", "images", UNIVERSAL_PASSES * len(self.crafting), 0)
        change = short.universal(self.victim, batches, self.observer.advanced)
        speed["universal"] = len(self.crafting) / (time.perf_counter() - started)
        changed["universal"] = with_change(self.pixels, change.cpu())
        if transfer is not None:
            changed["transfer"], _ = self._crafted(transfer, self._sloth(transfer), self.pixels, "crafting elsewhere")
        return changed, speed

    def _sloth(self, network: ShallowDeepNetwork) -> DeepSloth:
        preprocessing = network.preprocessing or self.splits.preprocessing
        precision = pick_precision("auto", self.device)
        return DeepSloth(
            preprocessing, epsilon=self.audit.epsilon / 255, iterations=self.audit.iterations, precision=precision
        )

    def _crafted(
        self, network: ShallowDeepNetwork, sloth: DeepSloth, pixels: Tensor, what: str
    ) -> tuple[Tensor, float]:
        """Changed images, uint8, and the seconds they took."""
        self.observer.started(what, "images", len(pixels), 0)
        started = time.perf_counter()
        parts = []
        for part in torch.split(pixels, BATCH):
            images = sloth.preprocessing.normalize(part.to(self.device)).contiguous(memory_format=torch.channels_last)
            parts.append(to_pixels(sloth(network, images), sloth.preprocessing).cpu())
            self.observer.advanced(len(part))
        return torch.cat(parts), time.perf_counter() - started

    def _input(self, pixels: Tensor) -> Tensor:
        """Normalised images on the network's device."""
        images = self.splits.preprocessing.normalize(pixels.to(self.device))
        return images.contiguous(memory_format=torch.channels_last)

    def _predicted(self, network: ShallowDeepNetwork, pixels: Tensor) -> ExitPredictions:
        """Predictions on images (N, 3, S, S) uint8, as that network takes them."""
        preprocessing = network.preprocessing or self.splits.preprocessing
        parts = zip(torch.split(pixels, BATCH), torch.split(self.labels, BATCH), strict=True)
        return predict_exits(network, ((preprocessing.normalize(part), labels) for part, labels in parts))

    def _defences(
        self, policy: Policy, clean: ExitPredictions, odd: ExitPredictions, hardened: ShallowDeepNetwork | None
    ) -> list[dict[str, Any]]:
        """What each defence makes of clean and of changed images."""

        def row(name: str, rule: str, usual: dict[str, Any], attacked: dict[str, Any]) -> dict[str, Any]:
            return {"name": name, "rule": rule, "clean": usual, "attacked": attacked}

        usual = slowdown_block(policy, clean, self.heads)
        rows = [row("none", "the policy alone", usual, slowdown_block(policy, odd, self.heads))]
        limit = next(float(cost) for cost in clean.costs if cost >= usual["relative_cost"])
        limited = replace(policy, max_relative_cost=limit)
        rule = f"max_relative_cost {limit:.2f}, the first exit beyond the mean cost of clean images"
        rows.append(row("cost limit", rule, *(slowdown_block(limited, pred, self.heads) for pred in (clean, odd))))
        moved = [slowdown_block(policy, pred, self.heads, jitter=JITTER, seed=self.audit.seed) for pred in (clean, odd)]
        rows.append(row("threshold jitter", f"thresholds moved by up to {JITTER} for each image", *moved))
        if hardened is not None:
            rows += self._hardened(row, hardened)
        return rows

    def _hardened(self, row: Any, hardened: ShallowDeepNetwork) -> list[dict[str, Any]]:  # noqa: ANN401 - a function
        """Exits trained under attack, attacked anew, with a threshold for the same loss of accuracy."""
        own = self.audit.hardened
        splits = own_splits(own, hardened) if own is not None else self.splits
        tune = predict_split(hardened, splits.tune, splits.preprocessing, BATCH, self.observer)
        (name, policy), *_ = published_policies(tune).items()
        heads = head_costs(hardened.exits, hardened.backbone_macs)
        crafted, _ = self._crafted(hardened, self._sloth(hardened), self.pixels, "attacking hardened exits")
        blocks = [slowdown_block(policy, self._predicted(hardened, x), heads) for x in (self.pixels, crafted)]
        return [row("hardened exits", f"trained under attack, and attacked anew; {name}", *blocks)]

    def _latency(self, policy: Policy, changed: Tensor) -> dict[str, Any]:
        """Seconds of the engine on clean and on changed images, taking turns."""
        backend = "onnxruntime" if importlib.util.find_spec("onnxruntime") and self.device.type == "cpu" else "torch"
        engine = EarlyExitEngine(self.victim, policy, backend)
        inputs = [self._input(pixels).contiguous() for pixels in (self.pixels, changed)]
        ready: list[Any] = inputs if backend == "torch" else [images.cpu().numpy() for images in inputs]
        self.observer.started("timing", "rounds", ROUNDS * len(LATENCY_BATCHES), 0)
        sizes = []
        for size in LATENCY_BATCHES:
            times: list[list[float]] = [[], []]
            count = max(1, min(64 // size, len(changed) // size))
            for number in range(ROUNDS + 1):
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    times[side].append(self._timed(engine, ready[side], size, count, number))
                self.observer.advanced(1 if number else 0)
            usual, odd = times[0][1:], times[1][1:]  # the first round warms up
            sizes.append(
                {
                    "batch_size": size,
                    "clean_ms": 1e3 * float(np.median(usual)),
                    "attacked_ms": 1e3 * float(np.median(odd)),
                    "ratio": paired_ratio(odd, usual),
                }
            )
        return {"backend": backend, "rounds": ROUNDS, "machine": machine(torch.get_num_threads()), "batches": sizes}

    @staticmethod
    def _timed(engine: EarlyExitEngine, images: Any, size: int, count: int, number: int) -> float:  # noqa: ANN401
        """Seconds a batch, over some batches in turn."""
        started = time.perf_counter()
        for turn in range(count):
            first = ((number * count + turn) * size) % max(1, len(images) - size + 1)
            answers = engine(images[first : first + size])
        float(answers.confidences[0])  # waits for the device
        return (time.perf_counter() - started) / count

    def _pictures(self, changed: Tensor, policy: Policy, clean: ExitPredictions, odd: ExitPredictions) -> list[Picture]:
        """Images before and after, with the change enlarged, and where they leave."""
        exits = [follow(policy, pred, self.heads).exits for pred in (clean, odd)]
        return [
            Picture(
                self.pixels[row].permute(1, 2, 0).numpy(), changed[row].permute(1, 2, 0).numpy(),
                f"{self.splits.classes[int(self.labels[row])]}: leaves at exit {exits[0][row]}, changed at "
                f"{exits[1][row]}",
            )
            for row in evenly(len(changed), PICTURES)
        ]  # fmt: skip


def sizing(before: dict[str, Any], after: dict[str, Any], worst: float, latency: dict[str, Any]) -> str:
    """Return what a server has to be sized for, in words."""
    slowest = max(latency["batches"], key=lambda batch: float(batch["ratio"]["median"]))
    return (
        f"Size capacity and time limits for {worst:.2f} times the backbone's cost, every stage and every head: an "
        f"attacker raised the mean cost from {before['relative_cost']:.2f} to {after['relative_cost']:.2f} and latency "
        f"{slowest['ratio']['median']:.1f} times (batch {slowest['batch_size']}). What early exits save is a bonus; "
        "watch the exits taken for drift (ExitGuard)."
    )
