"""From a saved RUN to a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallowdeep.artifacts import CONFIG, POLICY
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.context import RunContext
from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.abstention import CONFUSION
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.files import reading
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.export import Origin, write_bundle
from shallowdeep.inference.precision import F32, INT8, Precision
from shallowdeep.runs.config import read_config
from shallowdeep.runs.confusion_file import read_statistics
from shallowdeep.runs.data_record import check_record
from shallowdeep.runs.paths import absolute, located
from shallowdeep.runs.splits import own_splits, scaling_images
from shallowdeep.sdn.network import ShallowDeepNetwork


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
    """

    out: str
    backend: str
    precision: str
    model: str
    segments: tuple[ExportedSegment, ...]
    static: str | None


def summary_of(bundle: Bundle) -> ExportSummary:
    """What was written."""
    segments = tuple(
        ExportedSegment(name, (bundle.path / name).stat().st_size, segment.exit, segment.relative_cost)
        for segment, name in zip(bundle.segments, bundle.files, strict=True)
    )
    return ExportSummary(str(bundle.path), bundle.backend, bundle.precision, bundle.model, segments, bundle.static)


def export_run(
    run: Path,
    directory: Path,
    *,
    backend: str = "onnxruntime",
    precision: str = F32,
    policy: Path | None = None,
    data: str | None = None,
    static: bool = True,
    overwrite: bool = False,
    context: RunContext,
) -> Bundle:
    """Write the bundle of a run and its policy.

    Args:
        run: a RUN.
        directory: of the bundle.
        backend: the runtime to write for.
        precision: ``f32``, ``bf16`` or ``int8``; the last finds its scales by training images without augmentation.
        policy: a policy file; the run's own when None.
        data: where the run's own data is now; None for where it was.
        static: write the unmodified backbone too.
        overwrite: replace a bundle that is there.
        context: whether the run's manifest may name code to run, and progress.

    Raises:
        ShallowDeepError: the run or the policy cannot be read or do not go together, or the bundle cannot be written.
    """
    with reading(run):
        network, chosen, statistics = _read(run, policy, context)
        images = scaling_images(own_splits(run, network, data, context=context)) if precision == INT8 else None
        bundle = write_bundle(
            network, chosen, directory, backend, Origin(_trained_on(run), statistics),
            precision=Precision(precision, images), static=static, overwrite=overwrite, progress=context.progress,
        )  # fmt: skip
        if chosen.promise is not None and bundle.policy.promise is None:
            about = chosen.promise.runtime or "float32"
            context.progress.say(f"The policy's promise is about {about}, and is left out")
        return bundle


def _read(
    run: Path, policy: Path | None, context: RunContext
) -> tuple[ShallowDeepNetwork, Policy, ConfusionStatistics | None]:
    """A run's network, the policy to export, and statistics of confusion."""
    manifest = read_manifest(run)
    check_record(run)
    if len(manifest.exits) == 1:
        raise ConfigurationError(f"Expected a run with internal classifiers, {run} holds a plain backbone")
    weights = str(manifest.weights["sha256"])
    chosen = read_policy(policy if policy is not None else run / POLICY, weights)
    statistics = read_statistics(run, weights)
    if statistics is None and chosen.abstention is not None and chosen.abstention.indicator == CONFUSION:
        raise ConfigurationError(
            f"Expected statistics of confusion in {run} for a policy that abstains by it; `calibrate` makes them"
        )
    return load(run, trust=context.trust), chosen, statistics


def _trained_on(run: Path) -> dict[str, Any]:
    """What `bench` needs to find the run's test images again; nothing for a network saved without settings."""
    if not (run / CONFIG).exists():
        return {}
    config = absolute(located(read_config(run / CONFIG), run))
    fingerprint = read_manifest(run).data.get("fingerprint")
    return {
        "source": config.data,
        **({} if fingerprint is None else {"fingerprint": fingerprint}),
        "seed": config.seed,
        "calibration_fraction": config.calibration_fraction,
        "test_fraction": config.test_fraction,
        "skip_bad_images": config.skip_bad_images,
        "memory_budget": int(config.memory_budget * 2**30),
    }
