"""Audits of a small network on the bundled digits, from training to findings, in minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from shallowdeep.audits.slowdown_audit import SlowdownAudit
from shallowdeep.audits.suspects_audit import SuspectsAudit, TriggersAudit
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError
from shallowdeep.files import exclusive, replacing
from shallowdeep.runs.config import BackdoorAttack, TrainConfig
from shallowdeep.runs.directory import claim
from shallowdeep.workflows.audit_backdoor import BackdoorStudy
from shallowdeep.workflows.audit_slowdown import SlowdownSettings, audit_slowdown
from shallowdeep.workflows.audit_suspects import HELD_OUT, audit_suspects
from shallowdeep.workflows.train import train_run

DATA, MODEL = "mnist5k", "resnet20"
EPOCHS, IC_EPOCHS, HARDENED_EPOCHS, STEPS = 4, 10, 2, 3
SAMPLES = 200
EPSILON = 32.0  # of 255: digits are black and white, 8 hardly shows
RUN, OTHER, HARDENED, EXAMINED = "victim", "transfer", "hardened", "examined"
ATTACK = BackdoorAttack("badnets", target=5, poison_ratio=0.1)


def quick_study(seed: int) -> BackdoorStudy:
    """The paper's trigger on digits."""
    return BackdoorStudy(DATA, MODEL, epochs=EPOCHS, ic_epochs=IC_EPOCHS, seed=seed, samples=SAMPLES)


def quick_slowdown(
    out: Path, *, seed: int, resume: bool, overwrite: bool, context: RunContext
) -> tuple[SlowdownAudit, list[Path]]:
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
    with exclusive(out):
        for name, config in configs.items():
            claim(out / name, replace(config, model=MODEL), resume=resume, overwrite=overwrite)
        for name, config in configs.items():
            train_run(config, out / name, resume=resume, overwrite=overwrite, context=context)
        settings = SlowdownSettings(
            samples=SAMPLES, epsilon=EPSILON, seed=seed, transfer=out / OTHER, hardened=out / HARDENED
        )
        return audit_slowdown(out / RUN, settings, context)


def quick_suspects(
    out: Path, *, seed: int, resume: bool, overwrite: bool, context: RunContext
) -> tuple[SuspectsAudit | TriggersAudit, list[Path]]:
    """`audit_suspects`, by known triggers, of a network with the paper's backdoor, in ``out``.

    Raises:
        OutputError: a run is there already, and neither ``resume`` nor ``overwrite`` may touch it.
    """
    victim = TrainConfig(
        data=DATA, model=MODEL, recipe="backbone", epochs=EPOCHS, seed=seed, device=context.device, attack=ATTACK
    )
    with exclusive(out):
        weights = out / f"{RUN}.safetensors"
        trained = train_run(victim, out / RUN, resume=resume, overwrite=overwrite, context=context).network
        if trained.preprocessing is None:
            raise ConfigurationError(f"Expected a run with preprocessing in {out / RUN}, got one without")
        state = {name: value.cpu().contiguous() for name, value in trained.to_backbone().state_dict().items()}
        with replacing(weights) as temporary:
            save_file(state, temporary)
        examined = TrainConfig(
            data=DATA, model=MODEL, recipe="ic-only", weights=str(weights), epochs=IC_EPOCHS, seed=seed,
            mean=trained.preprocessing.mean, std=trained.preprocessing.std, calibration_fraction=HELD_OUT,
            device=context.device,
        )  # fmt: skip
        return audit_suspects(examined, None, out / EXAMINED, resume=resume, overwrite=overwrite, context=context)
