"""From a network, a bundle or its path to what an engine runs on."""

# ruff: noqa: PLC0415 - what needs torch is imported for networks alone: bundles run without it
from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.backends.backend import Backend
from shallowdeep.inference.backends.registry import backend_module, open_segments
from shallowdeep.inference.bundle import Bundle, check_weights, read_bundle
from shallowdeep.inference.planner import Segment, plan_segments

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

CHANNELS = 3
TORCH = "torch"


@dataclass(frozen=True)
class Opened:
    """What an engine runs on.

    Attributes:
        backend: runs segments.
        segments: in turn.
        policy: whose exits in use are the segments'.
        size: side of the images in pixels, or None where any will do.
        backbone_macs: of one image.
        confusion: statistics that a bundle brings, or None.
    """

    backend: Backend
    segments: tuple[Segment, ...]
    policy: Policy
    size: int | None
    backbone_macs: int
    confusion: ConfusionStatistics | None = None


def open_any(
    network: ShallowDeepNetwork | Bundle | Path | str,
    policy: Policy | None,
    backend: str | None,
    threads: int | None,
    pool: str | None,
) -> Opened:
    """Open a network, a bundle or the path of one.

    Raises:
        ConfigurationError: a policy that is missing or does not fit, or a backend that is not there.
        CheckpointError: a bundle that is damaged or of a newer format.
    """
    if isinstance(network, (str, Path)):
        network = read_bundle(network)
    if isinstance(network, Bundle):
        return _open_bundle(network, policy, backend, threads, pool)
    if policy is None:
        raise ConfigurationError("Expected a policy beside a network, got none")
    check_weights(policy, network.weights, "the network")
    return _open_network(network, policy, backend or TORCH, threads, pool)


def _open_bundle(
    bundle: Bundle, policy: Policy | None, backend: str | None, threads: int | None, pool: str | None
) -> Opened:
    if backend not in {None, bundle.backend}:
        raise ConfigurationError(f"Expected the backend of {bundle.path}, {bundle.backend!r}, got {backend!r}")
    chosen = bundle.policy if policy is None else _within(policy, bundle)
    return Opened(
        open_segments(bundle, threads, pool), bundle.segments, chosen, bundle.preprocessing.size, bundle.backbone_macs,
        bundle.confusion,
    )  # fmt: skip


def _open_network(
    network: ShallowDeepNetwork, policy: Policy, backend: str, threads: int | None, pool: str | None
) -> Opened:
    """Open a network in place on ``torch``, else by way of a bundle that is not kept."""
    from shallowdeep.sdn.head_costs import head_costs

    if backend == TORCH:
        from shallowdeep.inference.backends.torch_eager import TorchEager

        heads = head_costs(network.exits, network.backbone_macs)
        segments = plan_segments(policy, network.costs, heads, cascaded=network.cascaded)
        size = network.preprocessing.size if network.preprocessing is not None else None
        return Opened(TorchEager(network, segments), segments, policy, size, network.backbone_macs)
    backend_module(backend)  # refused before anything is written
    from shallowdeep.checkpoint import Architecture
    from shallowdeep.inference.export import Origin, write_bundle

    with tempfile.TemporaryDirectory() as directory:
        origin = Origin(Architecture("", 0, 0), policy.weights)
        bundle = write_bundle(
            copy.deepcopy(network).cpu(), policy, Path(directory) / "bundle", backend, origin, static=False
        )
        return _open_bundle(bundle, None, backend, threads, pool)


def _within(policy: Policy, bundle: Bundle) -> Policy:
    """``policy``, once it is known to do with a bundle's exits.

    Where a cost limit ends a bundle before the final exit, it ends a policy that uses other exits elsewhere: each head
    that is not run leaves room to go further. Such a policy needs a bundle of its own.

    Raises:
        ConfigurationError: it uses exits that the bundle lacks, other ones than a bundle that a cost limit ends, was
            made for other weights, or limits costs otherwise.
    """
    check_weights(policy, bundle.weights, str(bundle.path))
    if policy.exits != bundle.policy.exits or policy.max_relative_cost != bundle.policy.max_relative_cost:
        raise ConfigurationError(
            f"Expected a policy for {bundle.policy.exits} exits and a cost limit of {bundle.policy.max_relative_cost}, "
            f"as {bundle.path} has, got {policy.exits} and {policy.max_relative_cost}"
        )
    there = [segment.exit for segment in bundle.segments]
    if there[-1] < bundle.policy.exits - 1 and policy.in_use != bundle.policy.in_use:
        raise ConfigurationError(
            f"Expected a policy that uses exits {list(bundle.policy.in_use)} as {bundle.path}, which a cost limit "
            f"ends, got {list(policy.in_use)}; export again"
        )
    missing = [exit_ for exit_ in policy.in_use if exit_ not in there and exit_ < there[-1]]
    if missing:
        raise ConfigurationError(
            f"Expected a policy that uses exits {there} of {bundle.path} alone, got {missing} besides; export again"
        )
    return policy
