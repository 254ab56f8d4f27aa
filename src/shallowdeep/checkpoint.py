"""To load a saved network: safetensors and a JSON manifest, no pickle. `shallowdeep.sdn.saving` writes it.

A saved network is a directory with ``model.safetensors`` (weights under the backbone's own names, behind
``backbone.``, and those of the internal classifiers) and ``model.json`` (how to rebuild it, class names,
preprocessing, checksums).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shallowdeep.artifacts import CONFIG, MODEL_MANIFEST, MODEL_WEIGHTS
from shallowdeep.data.any_preprocessing import AnyPreprocessing, preprocessing_from
from shallowdeep.data.preprocessing import input_shape_from
from shallowdeep.documents import read_document
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.files import sha256_of
from shallowdeep.image_size import size_from
from shallowdeep.input_spec import InputSpec, inputs_from
from shallowdeep.models import hf_zoo
from shallowdeep.models.registry import build, is_trusted
from shallowdeep.models.weights import load_weights
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.hub import PREFIX, fetched
from shallowdeep.sdn.inputs import example_of
from shallowdeep.sdn.network import Exit, ShallowDeepNetwork
from shallowdeep.sdn.saving import FORMAT, FORMAT_VERSION, Architecture

_OLDER_NAMES = {".reduction.conv.": ".reduction.convolutions.0.", ".reduction.norm.": ".reduction.convolutions.1."}


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says.

    Attributes:
        model: how to build the backbone again.
        exits: where they stand, the final one last.
        backbone_macs: of the backbone alone, per sample.
        classes: class names.
        preprocessing: how image files become input; None for a network made from Python without it.
        inputs: what the network takes.
        weights: ``file``, ``bytes``, ``sha256`` and ``dtype`` of the weights file.
        data: what it was trained on: ``fingerprint`` of the split, and the settings that it follows from; empty for
            networks made from Python, and in older manifests.
        extra_state: what modules keep besides tensors, by its name in the state dict.
    """

    model: Architecture
    exits: tuple[Exit, ...]
    backbone_macs: int
    classes: tuple[str, ...]
    preprocessing: AnyPreprocessing | None
    inputs: tuple[InputSpec, ...]
    weights: Mapping[str, Any]
    data: Mapping[str, Any]
    extra_state: Mapping[str, Any]


def read_manifest(directory: Path | str) -> Manifest:
    """The manifest of a saved network, of a format this program reads.

    Raises:
        CheckpointError: missing, truncated, altered, not one of ours, or of a newer format.
    """
    path = Path(directory) / MODEL_MANIFEST
    unfinished = " (an unfinished run? `train --resume` goes on with it)" if (path.parent / CONFIG).exists() else ""
    absent = f"Expected a saved network with {MODEL_MANIFEST} in {path.parent}, found none{unfinished}"
    document = read_document(path, FORMAT, FORMAT_VERSION, absent)
    try:
        given = document["preprocessing"]
        preprocessing = None if given is None else preprocessing_from(given)
        manifest = Manifest(
            model=_architecture(document["model"]),
            exits=tuple(Exit(**exit_) for exit_ in document["exits"]),
            backbone_macs=int(document["backbone_macs"]),
            classes=tuple(str(name) for name in document["classes"]),
            preprocessing=preprocessing,
            inputs=inputs_from(document, input_shape_from(document, preprocessing)),
            weights={key: document["weights"][key] for key in ("bytes", "sha256")},
            data=dict(document.get("data", {})),
            extra_state=dict(document.get("extra_state", {})),
        )
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise CheckpointError(
            f"Expected a complete manifest in {path}, got one that lacks or garbles: {error}"
        ) from error
    if not manifest.exits or not isinstance(manifest.model.name, str):
        raise CheckpointError(f"Expected a complete manifest in {path}, got one without exits or a model's name")
    return manifest


def _architecture(document: Mapping[str, Any]) -> Architecture:
    known = Architecture(**document)
    return replace(known, image_size=size_from(known.image_size))


def load(path: Path | str, *, backbone: nn.Module | None = None, trust: bool = False) -> ShallowDeepNetwork:
    """The network saved at ``path``, in eval mode on the CPU, with ``.preprocessing`` and ``.classes``.

    Args:
        path: a directory written by `save`, such as a RUN; or ``hf:OWNER/NAME``, a network on the Hugging Face hub.
        backbone: an object to rebuild on, for networks that were built from one; its weights are replaced.
        trust: allow a manifest that names ``package.module:callable`` to import and run that code.

    Raises:
        CheckpointError: truncated, altered or of a newer format; or trust or a backbone is needed.
        WeightsMismatchError: the weights do not fit the rebuilt network.
        ModelError: there is no such network on the hub.

    Example:
        >>> import tempfile, torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32), fractions=[0.5])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network.save(folder)
        ...     again = shallowdeep.load(folder, backbone=shallowdeep.build("resnet20", num_classes=10, image_size=32))
        >>> again.weights == network.weights
        True
    """
    directory = _directory(path)
    manifest = read_manifest(directory)
    tensors = _read_weights(directory, manifest.weights)
    if backbone is None:
        backbone = _rebuilt(manifest.model, directory, trust=trust)
    network = _with_exits(backbone, manifest)
    state = {_name_now(name): value for name, value in tensors.items()} | dict(manifest.extra_state)
    load_weights(network, state, str(directory / MODEL_WEIGHTS))
    network.preprocessing, network.classes = manifest.preprocessing, manifest.classes
    network.architecture, network.inputs = manifest.model, manifest.inputs
    network.weights = str(manifest.weights["sha256"])
    return network.eval()


def _directory(path: Path | str) -> Path:
    """Where a network is: at a path, behind ``hf:`` in a local folder or on the hub."""
    if not isinstance(path, str) or not path.startswith(PREFIX) or Path(path).exists():
        return Path(path)
    local = Path(path.removeprefix(PREFIX)).expanduser()
    return local if local.is_dir() else fetched(path)


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
            f"Expected --trust (trust=True) to import and run {architecture.name!r}, "
            f"which {directory / MODEL_MANIFEST} names"
        )
    if architecture.config is not None:
        return hf_zoo.from_config(
            architecture.config, architecture.num_classes, architecture.image_size, architecture.channels
        )
    return build(
        architecture.name,
        num_classes=architecture.num_classes,
        image_size=architecture.image_size,
        channels=architecture.channels,
    )


def _with_exits(backbone: nn.Module, manifest: Manifest) -> ShallowDeepNetwork:
    internal = manifest.exits[:-1]
    if not internal:
        return ShallowDeepNetwork.without_exits(backbone, manifest.backbone_macs, manifest.inputs)
    return convert(
        backbone,
        example_of(manifest.inputs, 1),
        fractions=[exit_.fraction for exit_ in internal],
        heads=[exit_.head for exit_ in internal],
        cascaded=any(exit_.cascaded for exit_ in internal),
        at=[exit_.cut for exit_ in internal],
        saved=True,
    )


def _read_weights(directory: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights whose size and checksum are the manifest's."""
    path = directory / MODEL_WEIGHTS
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
