"""Audits of a small network on the embedded digits, from training to findings, in minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shallowdeep.experiment.backdoor_study import BackdoorStudy, study_backdoor
from shallowdeep.experiment.config import TrainConfig
from shallowdeep.experiment.preparation import DataProgress
from shallowdeep.experiment.slowdown_audit import SlowdownAudit, audit_slowdown
from shallowdeep.experiment.training import run_training
from shallowdeep.training.observer import Observer

DATA, MODEL = "mnist5k", "resnet20"
EPOCHS, IC_EPOCHS, HARDENED_EPOCHS, STEPS = 4, 10, 2, 3
SAMPLES = 200
EPSILON = 32.0  # of 255: digits are black and white, 8 hardly shows
RUN, OTHER, HARDENED = "victim", "transfer", "hardened"

Found = tuple[dict[str, Any], list[Path]]


def quick_backdoor(
    out: Path, *, seed: int, command: str, observer: Observer, data_progress: DataProgress | None = None
) -> Found:
    """`study_backdoor` with the paper's trigger, in ``out``, whose runs are renewed."""
    study = BackdoorStudy(DATA, MODEL, epochs=EPOCHS, ic_epochs=IC_EPOCHS, seed=seed, samples=SAMPLES)
    return study_backdoor(
        study, out, resume=False, overwrite=True, command=command, observer=observer, data_progress=data_progress
    )


def quick_slowdown(
    out: Path, *, seed: int, command: str, observer: Observer, data_progress: DataProgress | None = None
) -> Found:
    """`audit_slowdown` of a joint network, with another to transfer from and one with hardened exits, in ``out``."""
    how: dict[str, Any] = {"overwrite": True, "observer": observer, "data_progress": data_progress}
    joint = TrainConfig(data=DATA, model=MODEL, recipe="joint", epochs=EPOCHS, seed=seed)
    run_training(joint, out / RUN, **how)
    other = replace(joint, recipe="mixed")  # the same classes, other weights and another way of training
    run_training(other, out / OTHER, **how)
    hardened = TrainConfig(
        data=DATA, recipe="ic-only", init=str(out / RUN), epochs=HARDENED_EPOCHS, adversarial_steps=STEPS, seed=seed
    )
    run_training(hardened, out / HARDENED, **how)
    audit = SlowdownAudit(samples=SAMPLES, epsilon=EPSILON, seed=seed, transfer=out / OTHER, hardened=out / HARDENED)
    return audit_slowdown(out / RUN, audit, command=command, observer=observer, data_progress=data_progress)
