"""Save and load networks: safetensors and a JSON manifest; no pickle.

A saved network is a directory with ``model.safetensors`` (weights under the backbone's own names, behind
``backbone.``, and those of the internal classifiers) and ``model.json`` (how to rebuild it, class names,
preprocessing, checksums).
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shallowdeep.data.preprocessing import Preprocessing
from shallowdeep.documents import read_document, sealed
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.files import replacing_together, sha256_of
from shallowdeep.models.registry import build, is_trusted
from shallowdeep.models.weights import load_weights
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork

FORMAT = "shallowdeep-network"
FORMAT_VERSION = 2  # 1 has no cascaded internal classifiers, and other names in convolutional ones
_OLDER_NAMES = {".reduction.conv.": ".reduction.convolutions.0.", ".reduction.norm.": ".reduction.convolutions.1."}
MANIFEST, WEIGHTS = "model.json", "model.safetensors"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True)
class Architecture:
    """How to build the backbone again: its name as ``--model`` takes it, or "" for one built from an object."""

    name: str
    num_classes: int
    image_size: int


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says.

    Attributes:
        model: how to build the backbone again.
        exits: where they stand, the final one last.
        backbone_macs: of the backbone alone, per sample.
        classes: class names.
        preprocessing: how image files become input.
        weights: ``file``, ``bytes``, ``sha256`` and ``dtype`` of the weights file.
    """

    model: Architecture
    exits: tuple[Exit, ...]
    backbone_macs: int
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    weights: Mapping[str, Any]


def save(
    network: ShallowDeepNetwork, directory: Path | str, architecture: Architecture, *, dtype: str = "fp32"
) -> None:
    """Write ``network`` to ``directory``; a write that fails leaves what was there.

    Args:
        network: with its ``preprocessing`` and ``classes`` set.
        directory: made if need be; an older network there is replaced.
        architecture: how to build the backbone again.
        dtype: ``fp32`` or ``fp16`` for the floating-point weights in the file. fp16 halves it and rounds; tensors
            beyond its range (a running variance, say) stay in fp32.

    Raises:
        ConfigurationError: ``dtype`` is unknown, or ``preprocessing`` is not set.
        OutputError: the disk is full or cannot be written.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(f"Expected weights dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    if network.preprocessing is None:
        raise ConfigurationError("Expected a network with preprocessing set, got None; set network.preprocessing first")
    directory = Path(directory)
    tensors = {name: _stored(value, DTYPES[dtype]) for name, value in network.state_dict().items()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": asdict(architecture),
        "exits": [asdict(exit_) for exit_ in network.exits],
        "backbone_macs": network.backbone_macs,
        "classes": list(network.classes),
        "preprocessing": network.preprocessing.to_dict(),
    }
    with replacing_together(directory / WEIGHTS, directory / MANIFEST) as (weights, description):
        write_tensors(tensors, weights)
        size, digest = weights.stat().st_size, sha256_of(weights)
        manifest["weights"] = {"file": WEIGHTS, "bytes": size, "sha256": digest, "dtype": dtype}
        description.write_text(json.dumps(sealed(manifest), indent=2, allow_nan=False) + "\n")


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: the disk is full or cannot be written; safetensors hides the number in an error of its own.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().cpu().contiguous()
    stored = value.to(dtype, copy=True) if value.is_floating_point() else value.clone()
    lost = torch.isfinite(value).all() and not torch.isfinite(stored).all()
    return value.to(torch.float32, copy=True) if lost else stored


def read_manifest(directory: Path | str) -> Manifest:
    """The manifest of a saved network, of a format this program reads.

    Raises:
        CheckpointError: missing, truncated, altered, not one of ours, or of a newer format.
    """
    path = Path(directory) / MANIFEST
    unfinished = (
        " (an unfinished run? `train --resume` goes on with it)" if (path.parent / "config.toml").exists() else ""
    )
    absent = f"Expected a saved network with {MANIFEST} in {path.parent}, found none{unfinished}"
    document = read_document(path, FORMAT, FORMAT_VERSION, absent)
    try:
        manifest = Manifest(
            model=Architecture(**document["model"]),
            exits=tuple(Exit(**exit_) for exit_ in document["exits"]),
            backbone_macs=int(document["backbone_macs"]),
            classes=tuple(str(name) for name in document["classes"]),
            preprocessing=Preprocessing.from_dict(document["preprocessing"]),
            weights={key: document["weights"][key] for key in ("bytes", "sha256")},
        )
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise CheckpointError(
            f"Expected a complete manifest in {path}, got one that lacks or garbles: {error}"
        ) from error
    if not manifest.exits or not isinstance(manifest.model.name, str):
        raise CheckpointError(f"Expected a complete manifest in {path}, got one without exits or a model's name")
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
    tensors = _read_weights(directory, manifest.weights)
    if backbone is None:
        backbone = _rebuilt(manifest.model, directory, trust=trust)
    network = _with_exits(backbone, manifest)
    load_weights(network, {_name_now(name): value for name, value in tensors.items()}, str(directory / WEIGHTS))
    network.preprocessing, network.classes = manifest.preprocessing, manifest.classes
    network.weights = str(manifest.weights["sha256"])
    return network.eval()


def _name_now(name: str) -> str:
    """The name of a tensor of format 1 in this one."""
    if name.startswith("internal_classifiers."):
        for old, new in _OLDER_NAMES.items():
            name = name.replace(old, new)
    return name


def _rebuilt(architecture: Architecture, directory: Path, *, trust: bool) -> nn.Module:
    if not architecture.name:
        raise CheckpointError(
            f"Expected load({str(directory)!r}, backbone=...): this network was built from an object, "
            "which no file can name"
        )
    if not is_trusted(architecture.name) and not trust:
        raise CheckpointError(
            f"Expected --trust (trust=True) to import and run {architecture.name!r}, which {directory / MANIFEST} names"
        )
    return build(architecture.name, num_classes=architecture.num_classes, image_size=architecture.image_size)


def _with_exits(backbone: nn.Module, manifest: Manifest) -> ShallowDeepNetwork:
    internal = manifest.exits[:-1]
    if not internal:
        return ShallowDeepNetwork.without_exits(backbone, manifest.backbone_macs)
    size = manifest.preprocessing.size
    return convert(
        backbone,
        torch.zeros(1, 3, size, size),
        fractions=[exit_.fraction for exit_ in internal],
        heads=[exit_.head for exit_ in internal],
        cascaded=any(exit_.cascaded for exit_ in internal),
        at=[exit_.cut for exit_ in internal],
    )


def _read_weights(directory: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights whose size and checksum are the manifest's."""
    path = directory / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"Expected weights in {path}, found no such file")
    size, expected = path.stat().st_size, weights["bytes"]
    if size != expected:
        word = "truncated" if isinstance(expected, int) and size < expected else "altered"
        raise CheckpointError(f"Expected {expected} bytes in {path}, got {size}: the file is {word}")
    digest = sha256_of(path)
    if digest != weights["sha256"]:
        raise CheckpointError(f"Expected SHA-256 {weights['sha256']} for {path}, got {digest}: the file was altered")
    try:
        return load_file(path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Expected safetensors in {path}, got: {error}") from error
