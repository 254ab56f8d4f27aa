"""Can a run be slowed down: crafts changed images, follows its policy on them, times its engine, tries defences."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shallowdeep.artifacts import CONFIG, POLICY, SLOWDOWN_AUDIT
from shallowdeep.audits.slowdown_audit import (
    AttackedPolicy,
    CraftingSpeed,
    Defence,
    EfficacyChange,
    SlowdownAudit,
)
from shallowdeep.bench.latency import TIMING_ROUNDS, Latency, Timing, latency
from shallowdeep.context import RunContext
from shallowdeep.data.splits import seeded_order
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import reading, require_writable
from shallowdeep.progress import SILENT
from shallowdeep.runs.audit_files import Picture, evenly, write_audit
from shallowdeep.runs.config import read_config
from shallowdeep.runs.opened_run import OpenedRun, open_run
from shallowdeep.runs.paths import data_is_there, located
from shallowdeep.runs.preparation import check_classes
from shallowdeep.runtime import pick_precision
from shallowdeep.sdn.prediction import predict_exits
from shallowdeep.security.deepsloth import GREY_LEVELS, DeepSloth, to_pixels, with_perturbation
from shallowdeep.security.slowdown import LEAST_DROP, limited, policy_name, published_policies, sizing, slowdown_block

PICTURES = 6
UNIVERSAL_IMAGES, UNIVERSAL_PASSES = 500, 10
JITTER = 0.1
_ROUNDED_AWAY = 0.5  # of a level: images are rounded to 8 bits
OWN_POLICY = "the run's policy"
DEFENDED = policy_name(LEAST_DROP)


@dataclass(frozen=True)
class SlowdownSettings:
    """How a run is attacked.

    Attributes:
        samples: test images that are changed.
        iterations: steps for each.
        epsilon: largest change of a pixel, of 255.
        step: its change a step, of 255; None for a quarter of ``epsilon``, as published.
        seed: which images, and moved thresholds.
        batch_size: images that are changed at a time.
        data: where the data is now that the runs were trained on; None for where it was.
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


def audit_slowdown(run: Path, settings: SlowdownSettings, context: RunContext) -> tuple[SlowdownAudit, list[Path]]:
    """What ``audit slowdown`` finds about a run, and the files written to it.

    Images are changed on the test split, 8 bits a channel, and evaluated under the run's policy (where it has one) and
    under thresholds chosen on ``tune`` for a loss of 5 and 15 % of the accuracy, as published.

    Raises:
        ShallowDeepError: a run without internal classifiers, or runs that do not go together.
    """
    _check_settings(settings)
    if settings.hardened is not None:
        _check_hardened(settings.hardened, settings.epsilon)
    with ExitStack() as stack:
        for path in (run, settings.transfer, settings.hardened):
            if path is not None:
                stack.enter_context(reading(path))
        return _audited(run, settings, context)


def _audited(run: Path, settings: SlowdownSettings, context: RunContext) -> tuple[SlowdownAudit, list[Path]]:
    """What `audit_slowdown` returns of runs that nobody writes to."""
    require_writable(run)
    victim = open_run(run, context, settings.data)
    transfer, hardened = (
        None if path is None else open_run(path, context, _data_of(path, settings.data))
        for path in (settings.transfer, settings.hardened)
    )
    for other in (transfer, hardened):
        if other is not None:
            check_classes(victim.splits.classes, str(run), other.splits.classes, str(other.path))
            if other.preprocessing.size != victim.preprocessing.size:
                raise ConfigurationError(f"Expected runs on images of one size, got another in {other.path}")
    if hardened is not None and not np.array_equal(hardened.splits.test.positions, victim.splits.test.positions):
        raise ConfigurationError(
            f"Expected {hardened.path} cut into the same splits as {run}; it may have trained on the images shown"
        )
    attack = _Attack(victim, settings)
    audit, pictures = attack.audit(transfer, hardened, context.command)
    return audit, write_audit(run, SLOWDOWN_AUDIT, audit, pictures)


def _data_of(other: Path, data: str | None) -> str | None:
    """Where to read another run's data: where it was, if it is there still, for it may be other data."""
    path = other / CONFIG
    return None if path.exists() and data_is_there(located(read_config(path), other)) else data


def _check_settings(settings: SlowdownSettings) -> None:
    """Refuse numbers that are no attack.

    Raises:
        ConfigurationError: which, and what it may be.
    """
    if min(settings.samples, settings.batch_size) < 1:
        raise ConfigurationError(f"Expected samples and batch size of at least 1, got {settings}")
    if not 0 < settings.epsilon <= GREY_LEVELS:
        raise ConfigurationError(f"Expected epsilon in (0, {GREY_LEVELS}], got {settings.epsilon:g}")
    if settings.step is not None and not 0 < settings.step <= GREY_LEVELS:
        raise ConfigurationError(f"Expected step in (0, {GREY_LEVELS}], got {settings.step:g}")
    reach = min(settings.epsilon, settings.iterations * settings.step_size)
    if reach < _ROUNDED_AWAY:
        raise ConfigurationError(
            f"Expected pixels to change by at least {_ROUNDED_AWAY:g} of {GREY_LEVELS}, less is rounded away; "
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


@dataclass(frozen=True, eq=False)
class _Changed:
    """Changed images, (N, 3, S, S) uint8.

    Attributes:
        per_sample: each on its own.
        universal: with one perturbation for all.
    """

    per_sample: Tensor
    universal: Tensor


class _Attack:
    """One run under attack."""

    def __init__(self, victim: OpenedRun, settings: SlowdownSettings) -> None:
        self.victim, self.settings = victim, settings
        test, tune = victim.splits.test, victim.splits.tune
        self.pixels, self.labels = test.fetch(np.sort(seeded_order(len(test), settings.seed)[: settings.samples]))
        self.crafting, _ = tune.fetch(seeded_order(len(tune), settings.seed)[:UNIVERSAL_IMAGES])

    def audit(
        self, transfer: OpenedRun | None, hardened: OpenedRun | None, command: str
    ) -> tuple[SlowdownAudit, list[Picture]]:
        """What was found, and some of the images."""
        victim, settings = self.victim, self.settings
        tune = victim.predicted(victim.splits.tune)
        policies = self._policies(tune)
        leading = OWN_POLICY if OWN_POLICY in policies else DEFENDED
        changed, speed = self._changed()
        clean, per_sample, universal = (
            self._predicted(victim, pixels) for pixels in (self.pixels, changed.per_sample, changed.universal)
        )
        elsewhere = None if transfer is None else self._transferred(transfer)
        timing, latencies = self._timed(policies, victim.input(self.pixels), victim.input(changed.per_sample))
        blocks = {
            name: AttackedPolicy(
                name=name, thresholds=policy.thresholds, clean=slowdown_block(policy, clean),
                per_sample=slowdown_block(policy, per_sample), universal=slowdown_block(policy, universal),
                transfer=None if elsewhere is None else slowdown_block(policy, elsewhere), latency=latencies[name],
            )
            for name, policy in policies.items()
        }  # fmt: skip
        first = blocks[leading]
        audit = SlowdownAudit(
            weights=victim.network.weights, run=str(victim.path), data=victim.splits.name, samples=len(self.pixels),
            epsilon=settings.epsilon / GREY_LEVELS, iterations=settings.iterations,
            step=settings.step_size / GREY_LEVELS, seed=settings.seed, command=command,
            exits=tuple(exit_.name for exit_ in victim.network.exits),
            costs=tuple(victim.network.costs), policy=leading,
            efficacy=EfficacyChange(first.clean.efficacy, first.per_sample.efficacy), policies=tuple(blocks.values()),
            images_per_second=speed, machine=timing.machine(), backend=timing.backend,
            defences=self._defences(policies[DEFENDED], tune, clean, per_sample, hardened), defended_policy=DEFENDED,
            sizing=sizing(policies[leading], first, victim.network.costs),
        )  # fmt: skip
        return audit, self._pictures(changed.per_sample, policies[leading], clean, per_sample)

    def _timed(
        self, policies: Mapping[str, Policy], clean: Tensor, adversarial: Tensor
    ) -> tuple[Timing, dict[str, tuple[Latency, ...]]]:
        """How long batches of both kinds of input take, by policy; nothing where that is not asked for."""
        if not self.settings.timing:
            return Timing(self.victim.network, SILENT.start("", "", None)), dict.fromkeys(policies, ())
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

    def _changed(self) -> tuple[_Changed, CraftingSpeed]:
        """Changed images, and how fast they are crafted."""
        per_sample, seconds = self._crafted(self.victim, "crafting")
        started = time.perf_counter()
        short = replace(self._sloth(self.victim), iterations=UNIVERSAL_PASSES)
        batches = [self.victim.input(part) for part in torch.split(self.crafting, self.settings.batch_size)]
        what, total = "crafting a universal perturbation", UNIVERSAL_PASSES * len(self.crafting)
        with self.victim.context.progress.start(what, "images", total) as bar:
            perturbation = short.universal(self.victim.network, batches, bar).cpu()
        steps = UNIVERSAL_PASSES * len(self.crafting) / (time.perf_counter() - started)
        changed = _Changed(per_sample, with_perturbation(self.pixels, perturbation))
        return changed, CraftingSpeed(len(self.pixels) / seconds, steps)

    def _transferred(self, transfer: OpenedRun) -> ExitPredictions:
        """The victim's predictions on images changed against another run."""
        crafted, _ = self._crafted(transfer, "crafting elsewhere")
        return self._predicted(self.victim, crafted)

    def _sloth(self, run: OpenedRun) -> DeepSloth:
        return DeepSloth(
            run.preprocessing, epsilon=self.settings.epsilon / GREY_LEVELS, step=self.settings.step_size / GREY_LEVELS,
            iterations=self.settings.iterations, precision=pick_precision("auto", run.device),
        )  # fmt: skip

    def _crafted(self, run: OpenedRun, what: str) -> tuple[Tensor, float]:
        """The test images changed against a run, uint8, and the seconds they took."""
        sloth = self._sloth(run)
        started = time.perf_counter()
        parts = []
        with run.context.progress.start(what, "images", len(self.pixels)) as bar:
            for part in torch.split(self.pixels, self.settings.batch_size):
                parts.append(to_pixels(sloth(run.network, run.input(part)), run.preprocessing).cpu())
                bar.advance(len(part))
        return torch.cat(parts), time.perf_counter() - started

    def _predicted(self, run: OpenedRun, pixels: Tensor) -> ExitPredictions:
        """Predictions on images (N, 3, S, S) uint8, as that run takes them."""
        parts = zip(*(torch.split(whole, self.settings.batch_size) for whole in (pixels, self.labels)), strict=True)
        return predict_exits(run.network, ((run.input(part), labels) for part, labels in parts))

    def _defences(
        self,
        policy: Policy,
        tune: ExitPredictions,
        clean: ExitPredictions,
        adversarial: ExitPredictions,
        hardened: OpenedRun | None,
    ) -> tuple[Defence, ...]:
        """What each defence makes of clean and of changed images."""
        seed = self.settings.seed
        cap = limited(policy, tune)
        capped = f"max_relative_cost {cap.max_relative_cost:.2f}, the first exit beyond the mean cost on tune"
        moved = f"thresholds moved by up to {JITTER} for each image"
        found = [
            ("none", "the policy alone", policy, 0.0),
            ("cost limit", capped, cap, 0.0),
            ("threshold jitter", moved, policy, JITTER),
        ]
        rows = [
            Defence(
                name, rule, clean=slowdown_block(one, clean, jitter=jitter, seed=seed),
                attacked=slowdown_block(one, adversarial, jitter=jitter, seed=seed),
            )
            for name, rule, one, jitter in found
        ]  # fmt: skip
        if hardened is not None:
            own = published_policies(hardened.predicted(hardened.splits.tune))[DEFENDED]
            crafted, _ = self._crafted(hardened, "attacking hardened exits")
            on_clean, attacked = (
                slowdown_block(own, self._predicted(hardened, pixels)) for pixels in (self.pixels, crafted)
            )
            rule = "exits trained under attack, and attacked anew; a threshold of their own for the same loss"
            rows.append(Defence("hardened exits", rule, on_clean, attacked))
        return tuple(rows)

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
