"""Backends by name; each is imported when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from shallowdeep.errors import ConfigurationError, UnknownNameError, not_installed
from shallowdeep.inference.backends.backend import Backend, BackendModule

if TYPE_CHECKING:
    from shallowdeep.inference.bundle import Bundle

BACKENDS = {
    "torch": "torch_eager",
    "onnxruntime": "onnx_runtime",
    "openvino": "openvino_runtime",
    "cuda-graphs": "cuda_graphs",
}


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
        raise missing(name, error) from error
    return module


def missing(backend: str, error: ModuleNotFoundError) -> ConfigurationError:
    """The one-line error for a backend that lacks a package."""
    what = f"the backend {backend!r}"
    package = (error.name or "").split(".")[0]
    plain = f"Expected {package} for {what}, found it not installed; pip install {package}"
    return not_installed(error, what) or ConfigurationError(plain)


def open_segments(bundle: Bundle, threads: int | None, pool: str | None) -> Backend:
    """A bundle's segments, ready to run.

    Raises:
        UnknownNameError: the backend has no such pool.
    """
    module = backend_module(bundle.backend)
    return module.open_bundle(bundle, threads, known_pool(pool, module))


def known_pool(pool: str | None, module: BackendModule) -> str:
    """The pool, or the one that is best in general where none is given.

    Raises:
        UnknownNameError: the backend has no such pool.
    """
    if pool is not None and pool not in module.POOLS:
        raise UnknownNameError("pool of threads", pool, module.POOLS)
    return pool or module.POOLS[0]
