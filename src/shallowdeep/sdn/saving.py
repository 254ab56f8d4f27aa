"""To save a network: safetensors and a JSON manifest, no pickle. `shallowdeep.checkpoint` loads it."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from shallowdeep.artifacts import MODEL_MANIFEST, MODEL_WEIGHTS
from shallowdeep.documents import sealed
from shallowdeep.errors import ConfigurationError
from shallowdeep.files import replacing_together, sha256_of
from shallowdeep.image_size import Size, size_from
from shallowdeep.input_spec import inputs_document

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

FORMAT = "shallowdeep-network"
FORMAT_VERSION = 3
"""1 has no cascaded internal classifiers and other names in convolutional ones, 2 no input shape."""

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True)
class Architecture:
    """How to build the backbone again: its name as ``--model`` takes it, or "" for one built from an object.

    One of transformers is built from its ``config``, what `config.json` holds, wherever its folder is by then.

    Example:
        >>> import shallowdeep
        >>> shallowdeep.Architecture("resnet56", num_classes=10, image_size=32).name
        'resnet56'
    """

    name: str
    num_classes: int
    image_size: Size
    channels: int = 3
    config: Mapping[str, Any] | None = None


def save(
    network: ShallowDeepNetwork,
    directory: Path | str,
    architecture: Architecture | None = None,
    *,
    dtype: str = "fp32",
) -> None:
    """Write ``network`` to ``directory``; a write that fails leaves what was there.

    Args:
        network: its ``weights`` become those of the file.
        directory: made if need be; an older network there is replaced.
        architecture: how to build the backbone again; None for the network's own, which one made from an object has
            not: `shallowdeep.load` then asks for the object.
        dtype: ``fp32`` or ``fp16`` for the floating-point weights in the file. fp16 halves it and rounds; tensors
            beyond its range (a running variance, say) stay in fp32.

    Raises:
        ConfigurationError: ``dtype`` is unknown, the network knows no input shape, or a module keeps something that is
            neither a tensor nor fit for JSON.
        OutputError: the disk is full or cannot be written.

    Example:
        >>> import tempfile, torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32), fractions=[0.5])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shallowdeep.save(network, folder)  # the same as network.save(folder)
        ...     again = shallowdeep.load(folder, backbone=shallowdeep.build("resnet20", num_classes=10, image_size=32))
        >>> again.weights == network.weights
        True
    """
    write_network(network, directory, architecture, dtype=dtype)


def write_network(
    network: ShallowDeepNetwork,
    directory: Path | str,
    architecture: Architecture | None = None,
    *,
    dtype: str = "fp32",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write ``network`` as `save` does, with a record of the data it was trained on in the manifest.

    Args:
        network: as for `save`.
        directory: as for `save`.
        architecture: as for `save`.
        dtype: as for `save`.
        data: what `shallowdeep.runs.data_record` compares later; None records nothing.

    Raises:
        ConfigurationError: as for `save`.
        OutputError: as for `save`.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(f"Expected weights dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    if network.input_shape is None:
        raise ConfigurationError(
            "Expected a network that knows the shape of its images, got one without; set network.input_shape"
        )
    directory = Path(directory)
    known = architecture or network.architecture or _unnamed(network.num_classes, network.input_shape)
    state = network.state_dict()
    tensors = {name: _stored(value, DTYPES[dtype]) for name, value in state.items() if isinstance(value, Tensor)}
    extra = extra_state(state)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": {key: value for key, value in asdict(known).items() if value is not None},
        "exits": [asdict(exit_) for exit_ in network.exits],
        "backbone_macs": network.backbone_macs,
        "classes": list(network.classes),
        "preprocessing": None if network.preprocessing is None else network.preprocessing.to_dict(),
        "input_shape": list(network.input_shape),
        **inputs_document(network.inputs),
        **({} if data is None else {"data": dict(data)}),
        **({"extra_state": extra} if extra else {}),
    }
    with replacing_together(directory / MODEL_WEIGHTS, directory / MODEL_MANIFEST) as (weights, description):
        write_tensors(tensors, weights)
        size, digest = weights.stat().st_size, sha256_of(weights)
        manifest["weights"] = {"file": MODEL_WEIGHTS, "bytes": size, "sha256": digest, "dtype": dtype}
        description.write_text(json.dumps(sealed(manifest), indent=2, allow_nan=False) + "\n")
    network.weights = digest


def extra_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what modules keep besides tensors, by their ``get_extra_state``; it goes into JSON, not into a pickle.

    Raises:
        ConfigurationError: JSON cannot hold it; names the module.
    """
    found = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    for name, value in found.items():
        try:
            same = json.loads(json.dumps(value)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ConfigurationError(
                f"Expected extra state of {name.rpartition('.')[0] or 'the network'} that JSON can hold (numbers, "
                f"text, lists, dictionaries with text keys), got {type(value).__name__}"
            )
    return found


def _unnamed(num_classes: int, shape: tuple[int, ...]) -> Architecture:
    """That of a network built from an object."""
    return Architecture("", num_classes, size_from(shape[1:]) if len(shape) == 3 else 1, shape[0])  # noqa: PLR2004 - (C, H, W)


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
