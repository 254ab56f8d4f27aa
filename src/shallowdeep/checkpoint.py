"""Save and load networks: safetensors and a JSON manifest; no pickle.

A saved network is a directory with ``model.safetensors`` (weights under the backbone's own names, behind
``backbone.``, and those of the internal classifiers) and ``model.json`` (how to rebuild it, class names,
preprocessing, checksums).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.files import replacing, sha256_of, write_json
from shallowdeep.models.registry import build, is_trusted
from shallowdeep.models.weights import load_weights
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork

FORMAT = "shallowdeep-network"
FORMAT_VERSION = 1
MANIFEST, WEIGHTS = "model.json", "model.safetensors"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True)
class Architecture:
    """How to build the backbone again: its name as ``--model`` takes it, or "" for one built from an object."""

    name: str
    num_classes: int
    image_size: int


def save(network: ShallowDeepNetwork, directory: Path | str, architecture: Architecture, *, dtype: str = "fp32") -> None:
    """Write ``network`` to ``directory``, each file whole or not at all.

    Args:
        network: with its ``preprocessing`` and ``classes`` set.
        directory: made if need be; an older network there is replaced.
        architecture: how to build the backbone again.
        dtype: ``fp32`` or ``fp16`` for the floating-point weights in the file; fp16 halves it and rounds.

    Raises:
        ConfigurationError: ``dtype`` is unknown, ``preprocessing`` is not set, or a weight does not fit fp16.
        OutputError: the disk is full or cannot be written.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(f"Expected weights dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    if network.preprocessing is None:
        raise ConfigurationError("Expected a network with preprocessing set, got None; set network.preprocessing first")
    directory = Path(directory)
    tensors = {name: _stored(name, value, DTYPES[dtype]) for name, value in network.state_dict().items()}
    (directory / MANIFEST).unlink(missing_ok=True)  # an old manifest must not stand beside new weights
    with replacing(directory / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": asdict(architecture),
        "exits": [asdict(exit_) for exit_ in network.exits],
        "backbone_macs": network.backbone_macs,
        "classes": list(network.classes),
        "preprocessing": network.preprocessing.to_dict(),
        "weights": {
            "file": WEIGHTS,
            "bytes": (directory / WEIGHTS).stat().st_size,
            "sha256": sha256_of(directory / WEIGHTS),
            "dtype": dtype,
        },
    }
    write_json(directory / MANIFEST, manifest)


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value.clone()
    stored = value.to(dtype, copy=True)
    if torch.isfinite(value).all() and not torch.isfinite(stored).all():
        raise ConfigurationError(f"Expected weights within the range of fp16, got {name} beyond it; save as fp32")
    return stored


def read_manifest(directory: Path | str) -> dict[str, Any]:
    """The manifest of a saved network, of a format this program reads.

    Raises:
        CheckpointError: missing, not JSON, not one of ours, or of a newer format.
    """
    path = Path(directory) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError as error:
        unfinished = " (an unfinished run? `train --resume` goes on with it)" if path.parent.is_dir() else ""
        raise CheckpointError(f"Expected a saved network with {MANIFEST} in {directory}, found none{unfinished}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Expected JSON in {path}, got: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"Expected a manifest of format {FORMAT!r} in {path}, got another document")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"Expected format version {FORMAT_VERSION} or older in {path}, got {version}; a newer shallowdeep reads it"
        )
    return manifest


def load(path: Path | str, *, backbone: nn.Module | None = None, trust: bool = False) -> ShallowDeepNetwork:
    """The network saved at ``path``, in eval mode on the CPU, with ``.preprocessing`` and ``.classes``.

    Args:
        path: a directory written by `save`, such as a RUN.
        backbone: an object to rebuild on, for networks that were built from one; its weights are replaced.
        trust: allow a manifest that names ``package.module:callable`` to import and run that code.

    Raises:
        CheckpointError: truncated, altered or of a newer format; or trust or a backbone is needed.
        WeightsMismatchError: the weights do not fit the rebuilt network.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    try:
        architecture = Architecture(**manifest["model"])
        exits = tuple(Exit(**exit_) for exit_ in manifest["exits"])
        preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
        classes = tuple(str(name) for name in manifest["classes"])
        weights, macs = dict(manifest["weights"]), int(manifest["backbone_macs"])
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise CheckpointError(f"Expected a complete manifest in {directory / MANIFEST}, got one that lacks or garbles: {error}") from error
    tensors = _read_weights(directory, weights)
    if backbone is None:
        backbone = _rebuilt(architecture, directory, trust=trust)
    network = _with_exits(backbone, exits, macs, preprocessing.size)
    load_weights(network, tensors, str(directory / WEIGHTS))
    network.preprocessing, network.classes = preprocessing, classes
    return network.eval()


def _rebuilt(architecture: Architecture, directory: Path, *, trust: bool) -> nn.Module:
    if not architecture.name:
        raise CheckpointError(
            f"Expected load({str(directory)!r}, backbone=...): this network was built from an object, which no file can name"
        )
    if not is_trusted(architecture.name) and not trust:
        raise CheckpointError(
            f"Expected --trust (trust=True) to import and run {architecture.name!r}, which {directory / MANIFEST} names"
        )
    return build(architecture.name, num_classes=architecture.num_classes, image_size=architecture.image_size)


def _with_exits(backbone: nn.Module, exits: tuple[Exit, ...], macs: int, size: int) -> ShallowDeepNetwork:
    internal = exits[:-1]
    if not internal:
        return ShallowDeepNetwork.without_exits(backbone, macs)
    example = torch.zeros(1, 3, size, size)
    return convert(
        backbone,
        example,
        fractions=[exit_.fraction for exit_ in internal],
        heads=[exit_.head for exit_ in internal],
        at=[exit_.cut for exit_ in internal],
    )


def _read_weights(directory: Path, weights: dict[str, Any]) -> dict[str, Tensor]:
    """Weights whose size and checksum are the manifest's."""
    path = directory / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"Expected weights in {path}, found no such file")
    size = path.stat().st_size
    if size != weights.get("bytes"):
        word = "truncated" if size < int(weights.get("bytes", 0)) else "altered"
        raise CheckpointError(f"Expected {weights.get('bytes')} bytes in {path}, got {size}: the file is {word}")
    digest = sha256_of(path)
    if digest != weights.get("sha256"):
        raise CheckpointError(f"Expected SHA-256 {weights.get('sha256')} for {path}, got {digest}: the file was altered")
    try:
        return load_file(path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Expected safetensors in {path}, got: {error}") from error
