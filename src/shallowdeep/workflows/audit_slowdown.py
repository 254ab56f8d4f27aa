"""Can a run be slowed down: crafts changed images, follows its policy on them, times its engine, tries defences."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shallowdeep.bench.latency import TIMING_ROUNDS, Timing, latency
from shallowdeep.context import RunContext
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import POLICY, read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.progress import SILENT
from shallowdeep.runs.audit_files import SLOWDOWN, Picture, evenly, write_audit
from shallowdeep.runs.config import CONFIG, read_config
from shallowdeep.runs.opened_run import OpenedRun, open_run
from shallowdeep.runs.preparation import check_classes
from shallowdeep.runtime import pick_precision
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.security.deepsloth import LEVELS, DeepSloth, to_pixels, with_perturbation
from shallowdeep.security.slowdown import limited, published_policies, sizing, slowdown_block

PICTURES = 6
UNIVERSAL_IMAGES, UNIVERSAL_PASSES = 500, 10
JITTER = 0.1
_ROUNDED_AWAY = 0.5  # of a level: images are rounded to 8 bits
OWN_POLICY = "the run's policy"


@dataclass(frozen=True)
class SlowdownAudit:
    """How a run is attacked.

    Attributes:
        samples: test images that are changed.
        iterations: steps for each.
        epsilon: largest change of a pixel, of 255.
        step: its change a step, of 255; None for a quarter of ``epsilon``, as published.
        seed: which images, and moved thresholds.
        batch_size: images that are changed at a time.
        data: what the run was trained on, where it does not say so; or None.
        transfer: another run, on which changes are made too; or None.
        hardened: the same run with exits trained under attack (``train --adversarial-steps``), or None.
        timing: time the engine on clean and on changed images too.
    """

    samples: int = 500
    iterations: int = 30
    epsilon: float = 8.0
    step: float | None = None
    seed: int = 0
    batch_size: int = 125
    data: str | None = None
    transfer: Path | None = None
    hardened: Path | None = None
    timing: bool = True

    @property
    def step_size(self) -> float:
        """The step, of 255."""
        return self.epsilon / 4 if self.step is None else self.step


def audit_slowdown(run: Path, audit: SlowdownAudit, context: RunContext) -> tuple[dict[str, Any], list[Path]]:
    """The ``audit slowdown`` document of a run, and the files written to it.

    Images are changed on the test split, 8 bits a channel, and evaluated under the run's policy (where it has one) and
    under thresholds chosen on ``tune`` for a loss of 5 and 15 % of the accuracy, as published.

    Raises:
        ShallowDeepError: a run without internal classifiers, or runs that do not go together.
    """
    _check_settings(audit)
    if audit.hardened is not None:
        _check_hardened(audit.hardened, audit.epsilon)

    def opened(path: Path) -> OpenedRun:
        return open_run(path, context, audit.data)

    victim = opened(run)
    transfer, hardened = (None if path is None else opened(path) for path in (audit.transfer, audit.hardened))
    for other in (transfer, hardened):
        if other is not None:
            check_classes(victim.splits.classes, str(run), other.splits.classes, str(other.path))
            if other.preprocessing.size != victim.preprocessing.size:
                raise ConfigurationError(f"Expected runs on images of one size, got another in {other.path}")
    if hardened is not None and not np.array_equal(hardened.splits.test.positions, victim.splits.test.positions):
        raise ConfigurationError(
            f"Expected {hardened.path} cut into the same splits as {run}; it may have trained on the images shown"
        )
    return _Attack(victim, audit).document(transfer, hardened, context.command)


def _check_settings(audit: SlowdownAudit) -> None:
    """Refuse numbers that are no attack.

    Raises:
        ConfigurationError: which, and what it may be.
    """
    if min(audit.samples, audit.batch_size) < 1:
        raise ConfigurationError(f"Expected samples and batch size of at least 1, got {audit}")
    if not 0 < audit.epsilon <= LEVELS:
        raise ConfigurationError(f"Expected epsilon in (0, {LEVELS}], got {audit.epsilon:g}")
    if audit.step is not None and not 0 < audit.step <= LEVELS:
        raise ConfigurationError(f"Expected step in (0, {LEVELS}], got {audit.step:g}")
    reach = min(audit.epsilon, audit.iterations * audit.step_size)
    if reach < _ROUNDED_AWAY:
        raise ConfigurationError(
            f"Expected pixels to change by at least {_ROUNDED_AWAY:g} of {LEVELS}, less is rounded away; "
            f"epsilon, and iterations times step, allow {reach:g}"
        )


def _check_hardened(path: Path, epsilon: float) -> None:
    """Refuse a run whose exits were not trained under this attack.

    Raises:
        ConfigurationError: what it was trained under.
    """
    config = read_config(path / CONFIG)
    if not config.adversarial_steps or config.adversarial_epsilon != epsilon:
        how = f"changes of {config.adversarial_epsilon:g}" if config.adversarial_steps else "no attack"
        raise ConfigurationError(
            f"Expected a run trained with --adversarial-steps and --adversarial-epsilon {epsilon:g} as --hardened, "
            f"{path} was trained under {how}"
        )


class _Attack:
    """One run under attack."""

    def __init__(self, victim: OpenedRun, audit: SlowdownAudit) -> None:
        self.victim, self.audit = victim, audit
        test, tune = victim.splits.test, victim.splits.tune
        self.pixels, self.labels = test.fetch(np.sort(seeded_order(len(test), audit.seed)[: audit.samples]))
        self.crafting, _ = tune.fetch(seeded_order(len(tune), audit.seed)[:UNIVERSAL_IMAGES])

    def document(
        self, transfer: OpenedRun | None, hardened: OpenedRun | None, command: str
    ) -> tuple[dict[str, Any], list[Path]]:
        """Everything, and the files written."""
        victim, audit = self.victim, self.audit
        tune = victim.predicted(victim.splits.tune)
        policies = self._policies(tune)
        first = next(iter(policies.values()))
        changed, speed = self._changed(transfer)
        clean = self._predicted(victim, self.pixels)
        adversarial = {kind: self._predicted(victim, pixels) for kind, pixels in changed.items()}
        inputs = [victim.input(pixels) for pixels in (self.pixels, changed["per_sample"])]
        timing, latencies = self._timed(policies, *inputs)
        blocks: list[dict[str, Any]] = [
            {
                "name": name, "thresholds": list(policy.thresholds),
                "clean": slowdown_block(policy, clean),
                **{kind: slowdown_block(policy, pred) for kind, pred in adversarial.items()},
                "latency": latencies[name],
            }
            for name, policy in policies.items()
        ]  # fmt: skip
        name = list(policies)[-2]  # the published one that loses less
        shares = [blocks[0][kind]["efficacy"] for kind in ("clean", "per_sample")]
        document: dict[str, Any] = {
            "audit": "slowdown", "weights": victim.network.weights, "run": str(victim.path),
            "data": victim.splits.name, "samples": len(self.pixels), "epsilon": audit.epsilon / LEVELS,
            "iterations": audit.iterations, "step": audit.step_size / LEVELS, "seed": audit.seed,
            "command": command, "exits": [exit_.name for exit_ in victim.network.exits],
            "costs": list(victim.network.costs),
            "policy": blocks[0]["name"],
            "efficacy": {"before": shares[0], "after": shares[1]},
            "policies": blocks, "images_per_second": speed, "machine": timing.machine(), "backend": timing.backend,
            "defences": self._defences(policies[name], tune, clean, adversarial["per_sample"], hardened),
            "defended_policy": name,
            "sizing": sizing(first, blocks[0], victim.network.costs),
        }  # fmt: skip
        pictures = self._pictures(changed["per_sample"], first, clean, adversarial["per_sample"])
        return document, write_audit(victim.path, SLOWDOWN, document, pictures)

    def _timed(
        self, policies: Mapping[str, Policy], clean: Tensor, adversarial: Tensor
    ) -> tuple[Timing, dict[str, list[dict[str, Any]]]]:
        """How long batches of both kinds of input take, by policy; nothing where that is not asked for."""
        if not self.audit.timing:
            return Timing(self.victim.network, SILENT.start("", "", None)), {name: [] for name in policies}
        rounds = TIMING_ROUNDS * len(policies)
        with self.victim.context.progress.start("timing", "rounds", rounds) as bar:
            timing = Timing(self.victim.network, bar)
            return timing, {name: latency(timing, policy, clean, adversarial) for name, policy in policies.items()}

    def _policies(self, tune: ExitPredictions) -> dict[str, Policy]:
        """The run's own, where it has one, and the published ones; answers are never withheld here."""
        victim = self.victim
        found = published_policies(tune)
        if not (victim.path / POLICY).exists():
            return found
        own = read_policy(victim.path / POLICY, victim.network.weights)
        return {OWN_POLICY: replace(own, abstention=None), **found}

    def _changed(self, transfer: OpenedRun | None) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Changed images (N, 3, S, S) uint8 by kind, and how many a second are crafted."""
        changed, speed = {}, {}
        changed["per_sample"], seconds = self._crafted(self.victim, "crafting")
        speed["per_sample"] = len(self.pixels) / seconds
        started = time.perf_counter()
        short = replace(self._sloth(self.victim), iterations=UNIVERSAL_PASSES)
        batches = [self.victim.input(part) for part in torch.split(self.crafting, self.audit.batch_size)]
        what, total = "crafting a universal perturbation", UNIVERSAL_PASSES * len(self.crafting)
        with self.victim.context.progress.start(what, "images", total) as bar:
            perturbation = short.universal(self.victim.network, batches, bar).cpu()
        speed["universal_steps"] = UNIVERSAL_PASSES * len(self.crafting) / (time.perf_counter() - started)
        changed["universal"] = with_perturbation(self.pixels, perturbation)
        if transfer is not None:
            changed["transfer"], _ = self._crafted(transfer, "crafting elsewhere")
        return changed, speed

    def _sloth(self, run: OpenedRun) -> DeepSloth:
        return DeepSloth(
            run.preprocessing, epsilon=self.audit.epsilon / LEVELS, step=self.audit.step_size / LEVELS,
            iterations=self.audit.iterations, precision=pick_precision("auto", run.device),
        )  # fmt: skip

    def _crafted(self, run: OpenedRun, what: str) -> tuple[Tensor, float]:
        """The test images changed against a run, uint8, and the seconds they took."""
        sloth = self._sloth(run)
        started = time.perf_counter()
        parts = []
        with run.context.progress.start(what, "images", len(self.pixels)) as bar:
            for part in torch.split(self.pixels, self.audit.batch_size):
                parts.append(to_pixels(sloth(run.network, run.input(part)), run.preprocessing).cpu())
                bar.advance(len(part))
        return torch.cat(parts), time.perf_counter() - started

    def _predicted(self, run: OpenedRun, pixels: Tensor) -> ExitPredictions:
        """Predictions on images (N, 3, S, S) uint8, as that run takes them."""
        parts = zip(*(torch.split(whole, self.audit.batch_size) for whole in (pixels, self.labels)), strict=True)
        return predict_exits(run.network, ((run.input(part), labels) for part, labels in parts))

    def _defences(
        self,
        policy: Policy,
        tune: ExitPredictions,
        clean: ExitPredictions,
        adversarial: ExitPredictions,
        hardened: OpenedRun | None,
    ) -> list[dict[str, Any]]:
        """What each defence makes of clean and of changed images."""
        seed = self.audit.seed
        cap = limited(policy, tune)
        capped = f"max_relative_cost {cap.max_relative_cost:.2f}, the first exit beyond the mean cost on tune"
        moved = f"thresholds moved by up to {JITTER} for each image"
        found = [
            ("none", "the policy alone", policy, 0.0),
            ("cost limit", capped, cap, 0.0),
            ("threshold jitter", moved, policy, JITTER),
        ]
        rows = [
            {
                "name": name, "rule": rule,
                "clean": slowdown_block(one, clean, jitter=jitter, seed=seed),
                "attacked": slowdown_block(one, adversarial, jitter=jitter, seed=seed),
            }
            for name, rule, one, jitter in found
        ]  # fmt: skip
        if hardened is not None:
            own = next(iter(published_policies(hardened.predicted(hardened.splits.tune)).values()))
            crafted, _ = self._crafted(hardened, "attacking hardened exits")
            on_clean, attacked = (
                slowdown_block(own, self._predicted(hardened, pixels)) for pixels in (self.pixels, crafted)
            )
            rule = "exits trained under attack, and attacked anew; a threshold of their own for the same loss"
            rows.append({"name": "hardened exits", "rule": rule, "clean": on_clean, "attacked": attacked})
        return rows

    def _pictures(
        self, changed: Tensor, policy: Policy, clean: ExitPredictions, adversarial: ExitPredictions
    ) -> list[Picture]:
        """Images before and after, with the change enlarged, and where they leave."""
        exits = [outcome_of(policy, pred).exits for pred in (clean, adversarial)]
        return [
            Picture(
                self.pixels[row].permute(1, 2, 0).numpy(), changed[row].permute(1, 2, 0).numpy(),
                f"{self.victim.splits.classes[int(self.labels[row])]}: leaves at exit {exits[0][row]}, changed at "
                f"{exits[1][row]}",
            )
            for row in evenly(len(changed), PICTURES)
        ]  # fmt: skip
