"""What ``audit slowdown`` finds: what changed images cost under a policy, and what defences restore."""

from __future__ import annotations

from dataclasses import dataclass

from shallowdeep.bench.latency import Latency
from shallowdeep.machine import Machine


@dataclass(frozen=True)
class SlowdownFigures:
    """What inputs cost under a policy.

    Attributes:
        samples: number of inputs.
        accuracy: share answered rightly.
        efficacy: how much early exits save, in [0, 1]; see `shallowdeep.security.slowdown.efficacy`.
        relative_cost: mean cost, divided by the backbone's.
        worst_relative_cost: largest cost, divided by the backbone's.
        exit_shares: share of the inputs that stop at each of the E exits.
    """

    samples: int
    accuracy: float
    efficacy: float
    relative_cost: float
    worst_relative_cost: float
    exit_shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class AttackedPolicy:
    """One policy on clean and on changed images.

    Attributes:
        name: of the policy.
        thresholds: of the exits before the last; None switches one off.
        clean: images as they are.
        per_sample: images each changed on its own.
        universal: images with one perturbation for all.
        transfer: images changed against another network; None without one.
        latency: of clean images and of those each changed on its own, by batch size; empty where it was not timed.
    """

    name: str
    thresholds: tuple[float | None, ...]
    clean: SlowdownFigures
    per_sample: SlowdownFigures
    universal: SlowdownFigures
    transfer: SlowdownFigures | None = None
    latency: tuple[Latency, ...] = ()


@dataclass(frozen=True)
class Defence:
    """What one defence makes of clean and of changed images.

    Attributes:
        name: short.
        rule: what it does, in words.
        clean: images as they are.
        attacked: images each changed on its own.
    """

    name: str
    rule: str
    clean: SlowdownFigures
    attacked: SlowdownFigures


@dataclass(frozen=True)
class EfficacyChange:
    """Efficacy of the first policy.

    Attributes:
        before: on clean images.
        after: on images each changed on its own.
    """

    before: float
    after: float


@dataclass(frozen=True)
class CraftingSpeed:
    """How fast images are changed.

    Attributes:
        per_sample: images a second, each changed on its own.
        universal_steps: images a second in one step of a universal perturbation.
    """

    per_sample: float
    universal_steps: float


@dataclass(frozen=True, kw_only=True)
class SlowdownAudit:
    """What ``audit slowdown`` found.

    Attributes:
        audit: ``slowdown``.
        weights: SHA-256 of the network's.
        run: path of the run.
        data: name of the dataset.
        samples: number of test images that were changed.
        epsilon: largest change of a pixel, as a fraction of its range.
        iterations: steps for each image.
        step: change of a pixel a step, as a fraction of its range; None in files of version 0.1.0.
        seed: of the images chosen and of moved thresholds.
        command: that was typed.
        exits: names of the E exits.
        costs: relative cost of each exit.
        policy: name of the policy that sizing and efficacy are about.
        efficacy: of that policy.
        policies: the run's own, where it has one, and the published ones.
        images_per_second: how fast images were changed.
        machine: that was used.
        backend: of the engine that was timed.
        defences: under the policy defended.
        defended_policy: its name.
        sizing: what a server has to be sized for, in words.
    """

    audit: str = "slowdown"
    weights: str
    run: str
    data: str
    samples: int
    epsilon: float
    iterations: int
    step: float | None = None
    seed: int
    command: str
    exits: tuple[str, ...]
    costs: tuple[float, ...]
    policy: str
    efficacy: EfficacyChange
    policies: tuple[AttackedPolicy, ...]
    images_per_second: CraftingSpeed
    machine: Machine
    backend: str
    defences: tuple[Defence, ...]
    defended_policy: str
    sizing: str

    @property
    def sized_for(self) -> AttackedPolicy:
        """The policy that sizing and efficacy are about."""
        return {block.name: block for block in self.policies}[self.policy]
