"""The plans of a RUN: one file for each machine, made for one set of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shallowdeep.artifacts import PLANS
from shallowdeep.calibration.objective import Objective
from shallowdeep.documents import plain, read_document, sealed
from shallowdeep.errors import CheckpointError
from shallowdeep.files import write_json
from shallowdeep.inference.plan_record import Plan, plan_from
from shallowdeep.inference.precision import PRECISIONS
from shallowdeep.instruction_set import instruction_set
from shallowdeep.machine import available_cores, this_machine

FORMAT, FORMAT_VERSION = "shallowdeep-plan", 1
_RUNTIMES = ("onnxruntime", "openvino", "nncf", "shallowdeep")
_SHOWN = 12  # digits of a hash in a file's name


def machine_setting() -> dict[str, Any]:
    """Return what times depend on: processor, threads, instructions."""
    machine = asdict(this_machine(available_cores()))
    return {
        **{name: machine[name] for name in ("cpu", "cores", "threads")},
        "instructions": {precision: instruction_set(precision) for precision in PRECISIONS},
    }


def runtime_versions() -> dict[str, str]:
    """Return versions of the runtimes that are installed."""
    found = {}
    for package in _RUNTIMES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def plan_path(run: Path) -> Path:
    """Return where the plan of a run for this machine is."""
    digest = hashlib.sha256(json.dumps(machine_setting(), sort_keys=True).encode()).hexdigest()
    return run / PLANS / f"{digest[:_SHOWN]}.json"


def write_plan(run: Path, plan: Plan) -> Path:
    """Write the plan of a run for this machine.

    Raises:
        OutputError: it cannot be written.
    """
    path = plan_path(run)
    path.parent.mkdir(exist_ok=True)
    write_json(path, sealed({"format": FORMAT, "format_version": FORMAT_VERSION, **plain(plan)}))
    return path


def read_plan(run: Path, weights: str) -> Plan | None:
    """Return the plan of a run for this machine; None where there is none for these weights.

    Raises:
        CheckpointError: there is one that cannot be read.
    """
    path = plan_path(run)
    if not path.exists():
        return None
    document = read_document(path, FORMAT, FORMAT_VERSION, f"Expected a plan in {path}, found none")
    try:
        fields = {key: value for key, value in document.items() if key not in {"format", "format_version", "sha256"}}
        plan = plan_from(fields)
        known = str(plan.setting["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"Expected a complete plan in {path}, got one that lacks or garbles: {error}; plan --renew makes another"
        ) from error
    return plan if known == weights else None


def differences(plan: Plan, objective: Objective, data: str) -> list[str]:
    """Return what a plan for these weights and this machine was made for otherwise, in words.

    Args:
        plan: as it was read.
        objective: what is asked for now.
        data: fingerprint of what is planned and calibrated on now.
    """
    now = {"objective": plain(objective), "data": data, "versions": runtime_versions()}
    words = {"objective": "another objective", "data": "other images", "versions": "other versions of the runtimes"}
    return [words[name] for name, value in now.items() if plain(plan.setting.get(name)) != value]


def same_setting(plan: Plan, setting: Mapping[str, Any]) -> bool:
    """Return whether a plan was made with a setting."""
    return bool(plain(plan.setting) == plain(setting))
