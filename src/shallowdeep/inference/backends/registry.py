"""Backends by name; each is imported when it is used."""

# ruff: noqa: PLC0415 - a backend's runtime may not be installed, and torch is not needed by all
from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.backends.backend import Backend, BackendModule
from shallowdeep.inference.planner import Segment, plan_segments

if TYPE_CHECKING:
    from shallowdeep.inference.bundle import Bundle
    from shallowdeep.sdn.network import ShallowDeepNetwork

BACKENDS = {"torch": "torch_eager", "onnxruntime": "onnx_runtime"}
_EXTRAS = {"onnxruntime": "onnx", "onnx": "onnx", "onnxscript": "onnx"}  # which extra brings a package


def backend_module(name: str) -> BackendModule:
    """The module that runs and writes bundles for the backend ``name``.

    Raises:
        UnknownNameError: there is no such backend.
        ConfigurationError: its runtime is not installed; says which extra brings it.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    try:
        module: BackendModule = importlib.import_module(f"shallowdeep.inference.backends.{BACKENDS[name]}")
    except ModuleNotFoundError as error:
        raise not_installed(name, error) from error
    return module


def not_installed(backend: str, error: ModuleNotFoundError) -> ConfigurationError:
    """The one-line error for a backend that lacks a package."""
    package = (error.name or "").split(".")[0]
    extra = _EXTRAS.get(package)
    remedy = f"pip install 'shallowdeep[{extra}]'" if extra else f"pip install {package}"
    return ConfigurationError(f"Expected {package} for the backend {backend!r}, found it not installed; {remedy}")


def open_segments(bundle: Bundle, threads: int | None, pool: str | None) -> Backend:
    """A bundle's segments, ready to run.

    Raises:
        UnknownNameError: the backend has no such pool.
    """
    module = backend_module(bundle.backend)
    return module.open_bundle(bundle, threads, _known(pool, module))


def _known(pool: str | None, module: BackendModule) -> str:
    if pool is not None and pool not in module.POOLS:
        raise UnknownNameError("pool of threads", pool, module.POOLS)
    return pool or module.POOLS[0]


def open_network(
    backend: str, network: ShallowDeepNetwork, policy: Policy, threads: int | None, pool: str | None
) -> tuple[Backend, tuple[Segment, ...]]:
    """A network's segments, ready to run: in place on ``torch``, else by way of a bundle that is not kept."""
    from shallowdeep.sdn.head_costs import head_costs

    segments = plan_segments(policy, network.costs, head_costs(network.exits, network.backbone_macs))
    module = backend_module(backend)
    if backend == "torch":
        from shallowdeep.inference.backends.torch_eager import TorchEager

        return TorchEager(network, segments), segments
    from shallowdeep.checkpoint import Architecture
    from shallowdeep.inference.export import Origin, write_bundle

    with tempfile.TemporaryDirectory() as directory:
        origin = Origin(Architecture("", 0, 0), policy.weights)
        bundle = write_bundle(network, policy, Path(directory) / "bundle", backend, origin, static=False)
        return module.open_bundle(bundle, threads, _known(pool, module)), segments
