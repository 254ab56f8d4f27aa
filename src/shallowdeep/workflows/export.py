"""From a saved RUN to a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.artifacts import CONFIG, POLICY
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError, ShallowDeepError
from shallowdeep.exits.abstention import CONFUSION
from shallowdeep.exits.choice import Found, Static
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.exits.restriction import kept_exits
from shallowdeep.files import reading
from shallowdeep.inference.bundle import Agreement, Bundle
from shallowdeep.inference.export import Origin, write_bundle
from shallowdeep.inference.precision import F32, INT8, Precision, Runtime
from shallowdeep.inference.promise_here import promises_of, why_not_for
from shallowdeep.inference.verification import LEAST_EQUAL
from shallowdeep.runs.config import read_config
from shallowdeep.runs.confusion_file import read_statistics
from shallowdeep.runs.data_record import check_record
from shallowdeep.runs.paths import absolute, located
from shallowdeep.runs.plan_file import read_plan
from shallowdeep.runs.splits import judged_on, own_splits, precision_on
from shallowdeep.sdn.network import ShallowDeepNetwork

DEFAULT_BACKEND = "onnxruntime"


@dataclass(frozen=True)
class ExportedSegment:
    """One segment of a bundle.

    Attributes:
        file: its name in the bundle.
        bytes: size of the file.
        exit: that it ends at, from 0.
        relative_cost: of stopping after it, as a fraction of the backbone's.
    """

    file: str
    bytes: int
    exit: int
    relative_cost: float


@dataclass(frozen=True)
class ExportSummary:
    """What the command ``export`` tells.

    Attributes:
        out: path of the bundle.
        backend: that runs it.
        precision: that it computes in.
        model: name of the network.
        segments: in the order they run.
        static: name of the static network's file; None where it was left out.
        agreement: how often it answers as float32 does, at lower precision; None where that was not compared.
    """

    out: str
    backend: str
    precision: str
    model: str
    segments: tuple[ExportedSegment, ...]
    static: str | None
    agreement: Agreement | None


def summary_of(bundle: Bundle) -> ExportSummary:
    """What was written."""
    segments = tuple(
        ExportedSegment(name, (bundle.path / name).stat().st_size, segment.exit, segment.relative_cost)
        for segment, name in zip(bundle.segments, bundle.files, strict=True)
    )
    return ExportSummary(
        str(bundle.path), bundle.backend, bundle.precision, bundle.model, segments, bundle.static, bundle.agreement
    )


def export_run(
    run: Path,
    directory: Path,
    *,
    backend: str | None = None,
    precision: str | None = None,
    policy: Path | None = None,
    exits: Sequence[int] | None = None,
    data: str | None = None,
    static: bool = True,
    overwrite: bool = False,
    least_equal: float | None = None,
    context: RunContext,
) -> Bundle:
    """Write the bundle of a run and its policy.

    Args:
        run: a RUN.
        directory: of the bundle.
        backend: the runtime to write for; None for the one that the policy was found for, or else ONNX Runtime.
        precision: ``f32``, ``bf16`` or ``int8``; the last finds its scales by training images without augmentation.
            None for the one that the policy was found for, or ``f32``.
        policy: a policy file; the run's own when None. Without that, a plan for this machine that keeps no exit.
        exits: internal classifiers to keep of those that a policy without promise uses; None for all.
        data: where the run's own data is now; None for where it was.
        static: write the unmodified backbone too.
        overwrite: replace a bundle that is there.
        least_equal: share of the answers at lower precision that must be float32's, on ``tune``; None for 0.98, or for
            any where the policy was found on these very outputs: what it loses was measured there.
        context: whether the run's manifest may name code to run, and progress.

    Raises:
        ShallowDeepError: the run or the policy cannot be read or do not go together, or the bundle cannot be written.
    """
    with reading(run):
        network, chosen, statistics = _read(run, policy, context)
        if exits is not None:
            chosen = _with_exits(chosen, exits, network)
        runtime = _runtime(chosen, backend, precision)
        numbers, compared = _numbers(run, network, data, runtime.precision, context)
        bundle = write_bundle(
            network, chosen, directory, runtime.backend, Origin(_trained_on(run), statistics),
            precision=numbers, static=static, overwrite=overwrite, compared=compared,
            least_equal=_least_equal(chosen, runtime) if least_equal is None else least_equal,
            progress=context.progress,
        )  # fmt: skip
        lost = [why_not_for(promise, bundle.backend, bundle.precision) for promise in promises_of(chosen)]
        told = [bundle.withdrawn, *(f"The policy's promise is left out: {why}" for why in lost if why)]
        for line in filter(None, told):
            context.progress.say(line)
        _say_how_planned(run, chosen, explicit=backend is not None, context=context)
        return bundle


def _least_equal(policy: Policy, runtime: Runtime) -> float:
    """Share of answers that must be float32's where none is asked for."""
    found = policy.found
    measured = found is not None and (found.backend, found.precision) == (runtime.backend, runtime.precision)
    return 0.0 if measured else LEAST_EQUAL


def _numbers(
    run: Path, network: ShallowDeepNetwork, data: str | None, precision: str, context: RunContext
) -> tuple[Precision, NDArray[np.float32] | None]:
    """A precision with what it needs of a run's data, and images of ``tune`` to compare it with float32 on.

    Raises:
        ShallowDeepError: the data of a run that is to be quantised cannot be read.
    """
    if precision == F32:
        return Precision(), None
    try:
        splits = own_splits(run, network, data, context=context)
    except ShallowDeepError as error:
        if precision == INT8:
            raise
        context.progress.say(f"Not compared with float32 on the run's own images. {error}")
        return Precision(precision), None
    numbers = precision_on(splits, precision)
    return numbers, (numbers.judged or judged_on(splits)).images


def _runtime(policy: Policy, backend: str | None, precision: str | None) -> Runtime:
    """Return what to write for: what is asked for, else what the policy was found for."""
    found = policy.found
    if backend is None and found is not None and found.backend is not None:
        return Runtime(found.backend, precision or found.precision or F32)
    return Runtime(backend or DEFAULT_BACKEND, precision or F32)


def _with_exits(policy: Policy, exits: Sequence[int], network: ShallowDeepNetwork) -> Policy:
    """Return a policy that uses some of its exits alone.

    Raises:
        ConfigurationError: it uses none of that number, or something is promised of it.
    """
    kept = kept_exits(exits, policy.exits, cascaded=network.costs.cascaded)
    missing = [exit_ for exit_ in kept if exit_ not in policy.in_use]
    if missing:
        raise ConfigurationError(
            f"Expected exits that the policy uses, {', '.join(map(str, policy.in_use))}, got {missing[0]}"
        )
    promised = policy.promise is not None or (policy.abstention is not None and policy.abstention.promise is not None)
    if promised and kept != policy.in_use:
        numbers = ",".join(map(str, exits))
        raise ConfigurationError(
            "Expected a policy without a promise to leave exits out of: what is promised holds with all of them; "
            f"calibrate --exits {numbers} promises something of these"
        )
    if policy.ensemble is not None and kept != policy.in_use:
        raise ConfigurationError(
            "Expected a policy without an ensemble to leave exits out of; calibrate --exits "
            f"{','.join(map(str, exits))} fits one for these"
        )
    thresholds = (value if exit_ in kept else None for exit_, value in enumerate(policy.thresholds))
    return replace(policy, thresholds=tuple(thresholds))


def _say_how_planned(run: Path, policy: Policy, *, explicit: bool, context: RunContext) -> None:
    """Tell whether the policy's exits are those of a plan for this machine."""
    if explicit:
        return
    plan = read_plan(run, str(read_manifest(run).weights["sha256"]))
    if policy.found is not None and policy.found.planned:
        if plan is None:
            context.progress.say("The policy follows a plan, but none for this machine: `plan` tells what pays here")
        elif not set(policy.in_use[:-1]) <= set(plan.exits):
            context.progress.say("The plan for this machine keeps other exits than the policy; `calibrate` follows it")
    elif plan is None:
        context.progress.say("No plan for this machine: all exits of the policy are kept. `plan` tells which pay")
    else:
        context.progress.say("The policy was found without the plan for this machine; `calibrate` follows it")


def _read(
    run: Path, policy: Path | None, context: RunContext
) -> tuple[ShallowDeepNetwork, Policy, ConfusionStatistics | None]:
    """A run's network, the policy to export, and statistics of confusion."""
    manifest = read_manifest(run)
    check_record(run)
    if len(manifest.exits) == 1:
        raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
    weights = str(manifest.weights["sha256"])
    chosen = _policy(run, policy, weights, len(manifest.exits), context)
    statistics = read_statistics(run, weights)
    if statistics is None and chosen.abstention is not None and chosen.abstention.indicator == CONFUSION:
        raise ConfigurationError(
            f"Expected statistics of confusion in {run} for a policy that abstains by it; `calibrate` makes them"
        )
    return load(run, trust=context.trust), chosen, statistics


def _policy(run: Path, path: Path | None, weights: str, exits: int, context: RunContext) -> Policy:
    """A policy file; where the run has none, what a plan for this machine says that keeps no exit."""
    plan = read_plan(run, weights) if path is None and not (run / POLICY).exists() else None
    if plan is None or plan.exits:
        return read_policy(path if path is not None else run / POLICY, weights)
    context.progress.say(f"By the plan for this machine: the static network in {plan.name}; nothing is promised of it")
    found = Found(Static(note=plan.sentence), backend=plan.backend, precision=plan.precision, planned=True)
    return Policy((None,) * (exits - 1), weights=weights, found=found)


def _trained_on(run: Path) -> dict[str, Any]:
    """What `bench` needs to find the run's test images again; nothing for a network saved without settings."""
    if not (run / CONFIG).exists():
        return {}
    config = absolute(located(read_config(run / CONFIG), run))
    fingerprint = read_manifest(run).data.get("fingerprint")
    return {
        "source": config.data,
        **({"text_column": config.text_column} if config.text_column else {}),
        **({} if fingerprint is None else {"fingerprint": fingerprint}),
        "seed": config.seed,
        "calibration_fraction": config.calibration_fraction,
        "test_fraction": config.test_fraction,
        "skip_bad_images": config.skip_bad_images,
        "memory_budget": int(config.memory_budget * 2**30),
    }
