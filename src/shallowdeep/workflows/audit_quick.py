"""Audits of a small network on the embedded digits, from training to findings, in minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shallowdeep.context import RunContext
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.directory import claim
from shallowdeep.workflows.audit_backdoor import BackdoorStudy
from shallowdeep.workflows.audit_slowdown import SlowdownAudit, audit_slowdown
from shallowdeep.workflows.train import train_run

DATA, MODEL = "mnist5k", "resnet20"
EPOCHS, IC_EPOCHS, HARDENED_EPOCHS, STEPS = 4, 10, 2, 3
SAMPLES = 200
EPSILON = 32.0  # of 255: digits are black and white, 8 hardly shows
RUN, OTHER, HARDENED = "victim", "transfer", "hardened"


def quick_study(seed: int) -> BackdoorStudy:
    """The paper's trigger on digits."""
    return BackdoorStudy(DATA, MODEL, epochs=EPOCHS, ic_epochs=IC_EPOCHS, seed=seed, samples=SAMPLES)


def quick_slowdown(
    out: Path, *, seed: int, resume: bool, overwrite: bool, context: RunContext
) -> tuple[dict[str, Any], list[Path]]:
    """`audit_slowdown` of a joint network, with another to transfer from and one with hardened exits, in ``out``.

    Raises:
        OutputError: a run is there already, and neither ``resume`` nor ``overwrite`` may touch it.
    """
    joint = TrainConfig(data=DATA, model=MODEL, recipe="joint", epochs=EPOCHS, seed=seed, device=context.device)
    configs = {
        RUN: joint,
        OTHER: replace(joint, recipe="mixed"),  # the same classes, other weights and another way of training
        HARDENED: replace(
            joint, recipe="ic-only", model="", init=str(out / RUN), epochs=HARDENED_EPOCHS, adversarial_steps=STEPS,
            adversarial_epsilon=EPSILON,
        ),
    }  # fmt: skip
    for name, config in configs.items():
        claim(out / name, replace(config, model=MODEL), resume=resume, overwrite=overwrite)
    for name, config in configs.items():
        train_run(config, out / name, resume=resume, overwrite=overwrite, context=context)
    audit = SlowdownAudit(samples=SAMPLES, epsilon=EPSILON, seed=seed, transfer=out / OTHER, hardened=out / HARDENED)
    return audit_slowdown(out / RUN, audit, context)
