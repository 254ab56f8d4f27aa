"""A bundle: what runs elsewhere. Segment files for one backend, the static backbone, and a manifest (no torch).

Every file stands in the manifest with its size and checksum; nothing that was altered is run. The static backbone is
for comparisons alone: a bundle answers without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shallowdeep.artifacts import BUNDLE_MANIFEST, MODEL_MANIFEST
from shallowdeep.data.any_preprocessing import AnyPreprocessing, preprocessing_from
from shallowdeep.data.preprocessing import input_shape_from
from shallowdeep.documents import SEAL, read_document, sealed
from shallowdeep.errors import CheckpointError, ConfigurationError
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import policy_document, policy_from
from shallowdeep.files import sha256_of, write_json
from shallowdeep.inference.precision import F32
from shallowdeep.inference.promise_here import kept_here
from shallowdeep.inference.runtime_record import RuntimeRecord, check_runtime
from shallowdeep.inference.segments import Segment
from shallowdeep.input_spec import InputSpec, inputs_document, inputs_from

FORMAT, FORMAT_VERSION = "shallowdeep-bundle", 2  # 1 has no input shape


@dataclass(frozen=True)
class Agreement:
    """How often a bundle at lower precision answers as its network does in float32.

    Attributes:
        images: that were compared.
        equal: share of them, a fraction.
    """

    images: int
    equal: float


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are those that were written; of the static backbone that is not known unless asked for.

    Attributes:
        path: its directory.
        backend: the runtime its files are for.
        model: what the backbone was called.
        segments: in turn.
        files: of each segment, relative to the directory.
        static: the unmodified backbone's file, or None where it was left out.
        policy: whose exits in use are the segments'.
        classes: class names.
        preprocessing: how image files become input; None for a network made from Python without it.
        input_shape: (C, H, W) of its input.
        backbone_macs: of one image.
        weights: SHA-256 of the weights the policy was made for.
        data: what the network was trained on, for `bench`: ``source`` and what `load_dataset` needs to split it again,
            or nothing.
        confusion: statistics of training data that its confusion is z-scored by, or None.
        precision: that its segments compute in, ``f32``, ``bf16`` or ``int8``.
        withdrawn: why a promise of its policy does not hold on this processor, and is not in ``policy``; None for none.
        runtime: that it was written for; None where that was not recorded.
        agreement: with float32, where that was compared; else None.
        inputs: what the network takes.
        checksums: SHA-256 of each file, by its name, as the manifest has them; empty for one that was not read.
    """

    path: Path
    backend: str
    model: str
    segments: tuple[Segment, ...]
    files: tuple[str, ...]
    static: str | None
    policy: Policy
    classes: tuple[str, ...]
    preprocessing: AnyPreprocessing | None
    input_shape: tuple[int, ...]
    backbone_macs: int
    weights: str
    data: Mapping[str, Any]
    confusion: ConfusionStatistics | None = None
    precision: str = F32
    withdrawn: str | None = None
    runtime: RuntimeRecord | None = None
    agreement: Agreement | None = None
    inputs: tuple[InputSpec, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def write_manifest(bundle: Bundle, further: Sequence[str] = ()) -> None:
    """Write a bundle's manifest beside its files.

    Args:
        bundle: its files are there.
        further: other files that belong to it.

    Raises:
        OutputError: it cannot be written.
    """
    names = dict.fromkeys([*bundle.files, *([bundle.static] if bundle.static else []), *further])
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "backend": bundle.backend,
        "precision": bundle.precision,
        "runtime": None if bundle.runtime is None else bundle.runtime.to_dict(),
        "model": bundle.model,
        "segments": [asdict(segment) for segment in bundle.segments],
        "segment_files": list(bundle.files),
        "static": bundle.static,
        "policy": policy_document(bundle.policy),
        "classes": list(bundle.classes),
        "preprocessing": None if bundle.preprocessing is None else bundle.preprocessing.to_dict(),
        "input_shape": list(bundle.input_shape),
        **inputs_document(bundle.inputs),
        "backbone_macs": bundle.backbone_macs,
        "weights": bundle.weights,
        "data": dict(bundle.data),
        "confusion": None if bundle.confusion is None else bundle.confusion.to_dict(),
        "agreement": None if bundle.agreement is None else asdict(bundle.agreement),
        "files": {name: _stamp(bundle.path / name) for name in names},
    }
    write_json(bundle.path / BUNDLE_MANIFEST, sealed(document))


def read_bundle(path: Path | str, *, static: bool = False) -> Bundle:
    """Read a bundle's manifest and check the files against it that are run to answer.

    Args:
        path: of the bundle.
        static: check the file of the static backbone too, where the bundle was written with one.

    Raises:
        CheckpointError: there is none, it is of a newer format, a file is missing, truncated or altered, or it was
            written with a newer runtime than is installed, or with one too old.

    Example:
        >>> import shallowdeep
        >>> shallowdeep.read_bundle("nowhere")
        Traceback (most recent call last):
        ...
        shallowdeep.errors.CheckpointError: Expected a bundle with manifest.json in nowhere, found none
    """
    directory = Path(path)
    run = " (a run? `shallowdeep export` makes a bundle of it)" if (directory / MODEL_MANIFEST).exists() else ""
    absent = f"Expected a bundle with {BUNDLE_MANIFEST} in {directory}, found none{run}"
    document = read_document(directory / BUNDLE_MANIFEST, FORMAT, FORMAT_VERSION, absent)
    try:
        runtime = None if document.get("runtime") is None else RuntimeRecord.from_dict(document["runtime"])
        stamps = {str(name): (int(stamp["bytes"]), str(stamp["sha256"])) for name, stamp in document["files"].items()}
        given = document["preprocessing"]
        preprocessing = None if given is None else preprocessing_from(given)
        bundle = Bundle(
            path=directory,
            backend=str(document["backend"]),
            model=str(document["model"]),
            segments=tuple(Segment(**segment) for segment in document["segments"]),
            files=tuple(str(name) for name in document["segment_files"]),
            static=document["static"],
            policy=policy_from(document["policy"], str(directory / BUNDLE_MANIFEST)),
            classes=tuple(str(name) for name in document["classes"]),
            preprocessing=preprocessing,
            input_shape=input_shape_from(document, preprocessing),
            inputs=inputs_from(document, input_shape_from(document, preprocessing)),
            backbone_macs=int(document["backbone_macs"]),
            weights=str(document["weights"]),
            data=dict(document["data"]),
            precision=str(document.get("precision", F32)),  # older ones have no other
            confusion=_statistics(document.get("confusion"), str(directory / BUNDLE_MANIFEST)),
            runtime=runtime,
            agreement=None if document.get("agreement") is None else Agreement(**document["agreement"]),
            checksums={name: digest for name, (_, digest) in stamps.items()},
        )
        _ = document[SEAL]  # bundles are never written by hand
    except (KeyError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
        raise CheckpointError(
            f"Expected a complete manifest in {directory / BUNDLE_MANIFEST}, got one that lacks or garbles: {error}"
        ) from error
    named = [*bundle.files, *([bundle.static] if bundle.static else [])]
    if not bundle.segments or any(name not in stamps for name in named):
        raise CheckpointError(
            f"Expected a complete manifest in {directory / BUNDLE_MANIFEST}, got one without some files"
        )
    check_runtime(bundle.runtime, str(directory))
    for name, stamp in stamps.items():
        if static or name != bundle.static or name in bundle.files:
            _check_file(directory, name, stamp)
    policy, withdrawn = kept_here(bundle.policy, bundle.precision)
    return replace(bundle, policy=policy, withdrawn=withdrawn)


def is_bundle(directory: Path) -> bool:
    """Whether a directory holds a bundle, of whatever version."""
    try:
        document = json.loads((directory / BUNDLE_MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def check_weights(policy: Policy, weights: str, where: str) -> None:
    """Refuse a policy that was made for other weights, where both are known.

    Raises:
        ConfigurationError: naming both.
    """
    if policy.weights and weights and policy.weights != weights:
        raise ConfigurationError(
            f"Expected a policy for the weights {weights[:12]}... of {where}, got one for {policy.weights[:12]}..."
        )


def preprocessing_of(bundle: Bundle) -> AnyPreprocessing:
    """Return how a bundle's image files become input.

    Raises:
        ConfigurationError: it does not say, since its network was made from Python without preprocessing.
    """
    return known_preprocessing(bundle.preprocessing, str(bundle.path))


def known_preprocessing(preprocessing: AnyPreprocessing | None, where: str) -> AnyPreprocessing:
    """Return how image files become input.

    Args:
        preprocessing: of a bundle or a network.
        where: what an error calls that.

    Raises:
        ConfigurationError: None.
    """
    if preprocessing is None:
        raise ConfigurationError(
            f"Expected preprocessing in {where} to read images by, found none; set network.preprocessing before export "
            "or before an engine is made of it, or give the engine arrays"
        )
    return preprocessing


def _statistics(document: Any, source: str) -> ConfusionStatistics | None:  # noqa: ANN401 - as read from JSON
    return None if document is None else ConfusionStatistics.from_dict(document, source)


def _stamp(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _check_file(directory: Path, name: str, stamp: tuple[int, str]) -> None:
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise CheckpointError(f"Expected files inside {directory}, got {name!r} in its manifest")
    if not path.is_file():
        raise CheckpointError(f"Expected {name} in {directory}, found no such file")
    size = path.stat().st_size
    if size != stamp[0]:
        word = "truncated" if size < stamp[0] else "altered"
        raise CheckpointError(f"Expected {stamp[0]} bytes in {path}, got {size}: the file is {word}")
    if sha256_of(path) != stamp[1]:
        raise CheckpointError(f"Expected the checksum of {path} to be the manifest's: the file was altered")
