"""Where a RUN's internal classifiers stand, and which they are, where measured times decide: chosen once, and kept.

``placement.json`` holds the choice beside the times it follows from. A run that goes on reads it, so that nothing is
measured twice.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shallowdeep.artifacts import PLACEMENT, TRAINING_STATE
from shallowdeep.documents import plain, read_document, sealed
from shallowdeep.errors import CheckpointError, ConfigurationError, UnknownNameError, not_installed
from shallowdeep.files import write_json
from shallowdeep.inference.precision import BF16, F32, INT8, PRECISIONS
from shallowdeep.machine import Machine, available_cores, this_machine
from shallowdeep.progress import SILENT, Progress
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runtime import bf16_pays
from shallowdeep.sdn.convert import candidates
from shallowdeep.sdn.cut_points import CutPoint
from shallowdeep.sdn.internal_classifier import fast_candidates
from shallowdeep.sdn.placement import (
    Place,
    by_time,
    choose_places,
    default_fractions,
    strongest_within,
)

MACS, TIME = MEASURES = ("macs", "time")
LARGEST_TIME = 0.03  # of the backbone's, for one head
BATCH_SIZE = 64  # that is measured unless another is asked for: shares hardly change above it
_FORMAT, _VERSION = "shallowdeep-placement", 1
_OPENVINO = "openvino"
_PACKAGES = {F32: ("openvino",), BF16: ("openvino",), INT8: ("openvino", "nncf")}


@dataclass(frozen=True)
class Target:
    """What a network is to be deployed on, and is therefore measured in.

    Attributes:
        backend: ``openvino``.
        precision: ``f32``, ``bf16`` or ``int8``.
        batch_size: images at a time.
    """

    backend: str
    precision: str
    batch_size: int = BATCH_SIZE

    def __str__(self) -> str:
        return f"{self.backend}:{self.precision}:{self.batch_size}"


@dataclass(frozen=True)
class MeasuredCut:
    """A cut point, and how long the backbone takes up to it.

    Attributes:
        cut: its name in the traced graph.
        name: path of the module that ends there.
        macs: share of the backbone's MACs up to there.
        time: share of its time.
        seconds: for a batch.
    """

    cut: str
    name: str
    macs: float
    time: float
    seconds: float


@dataclass(frozen=True)
class MeasuredHead:
    """A candidate head at a place chosen.

    Attributes:
        cut: name of the cut point.
        head: its kind.
        time: share of the backbone's time.
        seconds: for a batch.
    """

    cut: str
    head: str
    time: float
    seconds: float


@dataclass(frozen=True)
class Placement:
    """Where internal classifiers stand.

    Attributes:
        at: names of K cut points, in execution order.
        fractions: (K,) target shares that they were chosen by.
        heads: (K,) kinds; empty where they were not measured.
        target: what was measured in, as ``--time-on`` takes it.
        machine: what it was measured on.
        seconds: of the backbone, for a batch.
        cuts: all that were measured; empty where MACs decided.
        candidates: heads that were measured.
    """

    at: tuple[str, ...]
    fractions: tuple[float, ...]
    heads: tuple[str, ...]
    target: str
    machine: Machine
    seconds: float
    cuts: tuple[MeasuredCut, ...]
    candidates: tuple[MeasuredHead, ...]

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Placement:
        """The placement in a JSON document."""
        return cls(
            at=tuple(document["at"]),
            fractions=tuple(document["fractions"]),
            heads=tuple(document["heads"]),
            target=str(document["target"]),
            machine=Machine(**document["machine"]),
            seconds=float(document["seconds"]),
            cuts=tuple(MeasuredCut(**cut) for cut in document["cuts"]),
            candidates=tuple(MeasuredHead(**head) for head in document["candidates"]),
        )


def measures(config: TrainConfig) -> bool:
    """Return whether measured times decide anything in a training."""
    return config.place_by == TIME or config.timed_heads


def target_of(config: TrainConfig) -> Target:
    """Return what a training measures in: what its settings name, or the fastest there is here.

    That is OpenVINO at ``int8`` where NNCF is installed, else at ``bf16`` where the processor computes in it, else at
    ``f32``.

    Raises:
        UnknownNameError: no such runtime or precision.
        ConfigurationError: not of the form RUNTIME:PRECISION[:BATCH]; or the runtime, what quantises, or the
            processor's units are missing here.
    """
    has_bf16 = bf16_pays(torch.device("cpu"))
    if not config.time_on:
        precision = INT8 if _installed("nncf") else BF16 if has_bf16 else F32
        return _present(Target(_OPENVINO, precision))
    backend, precision, batch_size = _parts(config.time_on)
    if backend != _OPENVINO:
        raise UnknownNameError("runtime to measure in", backend, (_OPENVINO,))
    if precision not in PRECISIONS:
        raise UnknownNameError("precision of openvino", precision, PRECISIONS)
    if precision == BF16 and not has_bf16:
        raise ConfigurationError(
            f"Expected a processor that computes in bf16 for --time-on {config.time_on}, got one without; "
            "openvino:f32 and openvino:int8 can be measured here"
        )
    return _present(Target(backend, precision, batch_size))


def _parts(text: str) -> tuple[str, str, int]:
    backend, _, rest = text.partition(":")
    precision, _, size = rest.partition(":")
    if not precision or (size and not (size.isdigit() and int(size) > 0)) or text.endswith(":"):
        raise ConfigurationError(f"Expected --time-on RUNTIME:PRECISION[:BATCH], such as openvino:int8, got {text!r}")
    return backend, precision, int(size or BATCH_SIZE)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _present(target: Target) -> Target:
    """Refuse what needs a package that is not installed."""
    for package in _PACKAGES[target.precision]:
        if not _installed(package):
            what = f"exits by measured time ({target.backend}:{target.precision})"
            missing = not_installed(ModuleNotFoundError(name=package), what)
            raise missing or ConfigurationError(f"Expected {package} for {what}, found it not installed")
    return target


def place(config: TrainConfig, backbone: nn.Module, shape: Sequence[int], progress: Progress = SILENT) -> Placement:
    """Measure a backbone and choose where its internal classifiers stand, which they are, or both.

    Args:
        config: whose ``place_by`` or ``timed_heads`` ask for times.
        backbone: maps (N, C, H, W) to logits; on the CPU, left as it is.
        shape: (C, H, W).
        progress: told what is measured.

    Raises:
        ConfigurationError: see `target_of`.
        ConversionError: the backbone cannot be cut, exported or quantised, or has fewer places than asked for.
    """
    from shallowdeep.bench.exit_times import cut_times, head_times  # noqa: PLC0415 - it needs openvino

    target, example = target_of(config), torch.zeros(1, *shape)
    cuts = candidates(backbone, example)
    measured: tuple[MeasuredCut, ...] = ()
    places: list[Place] = list(cuts)
    seconds = 0.0
    with progress.start(f"measuring in {target}", "steps", (config.place_by == TIME) + config.timed_heads) as bar:
        if config.place_by == TIME:
            times = cut_times(backbone, example, cuts, precision=target.precision, batch_size=target.batch_size)
            timed = by_time(cuts, times.seconds, times.whole)
            places, seconds = list(timed), times.whole
            measured = tuple(
                MeasuredCut(cut.name, cut.module, cut.depth, at.depth, at.depth * times.whole)
                for cut, at in zip(cuts, timed, strict=True)
            )
            bar.advance(1, "cut points")
        fractions = config.fractions or default_fractions(places)
        chosen = [cuts[i] for i in choose_places(places, fractions)]
        heads: tuple[MeasuredHead, ...] = ()
        if config.timed_heads:
            parameters = sum(p.numel() for p in backbone.parameters())
            kinds = [fast_candidates(cut, parameters) for cut in chosen]
            found = head_times(
                backbone, example, chosen, kinds, precision=target.precision, batch_size=target.batch_size
            )
            heads, seconds = _measured(chosen, kinds, found.seconds, found.whole), found.whole
            bar.advance(1, "heads")
    return Placement(
        at=tuple(cut.name for cut in chosen),
        fractions=tuple(fractions),
        heads=tuple(_strongest(heads, cut) for cut in chosen) if heads else (),
        target=str(target),
        machine=this_machine(available_cores()),
        seconds=seconds,
        cuts=measured,
        candidates=heads,
    )


def _measured(
    cuts: list[CutPoint], kinds: list[tuple[str, ...]], seconds: tuple[tuple[float, ...], ...], whole: float
) -> tuple[MeasuredHead, ...]:
    return tuple(
        MeasuredHead(cut.name, kind, time / whole, time)
        for cut, beside, times in zip(cuts, kinds, seconds, strict=True)
        for kind, time in zip(beside, times, strict=True)
    )


def _strongest(heads: tuple[MeasuredHead, ...], cut: CutPoint) -> str:
    there = [head for head in heads if head.cut == cut.name]
    return strongest_within([head.head for head in there], [head.time for head in there], LARGEST_TIME)


def told(placement: Placement) -> str:
    """Return one line on what was chosen, for people."""
    names = {cut.cut: f"{cut.name} ({cut.time:.0%} of the time, {cut.macs:.0%} of the MACs)" for cut in placement.cuts}
    shares = {(head.cut, head.head): head.time for head in placement.candidates}
    kinds = placement.heads or ("",) * len(placement.at)
    parts = [
        names.get(cut, cut) + (f" {kind} head ({shares[cut, kind]:.1%})" if kind else "")
        for cut, kind in zip(placement.at, kinds, strict=True)
    ]
    return f"Exits by time in {placement.target} ({1e3 * placement.seconds:.2f} ms a batch): {', '.join(parts)}"


def write_placement(directory: Path, placement: Placement | None) -> None:
    """Write ``placement.json`` to a RUN; None deletes what an older run left there.

    Raises:
        OutputError: it cannot be written.
    """
    if placement is None:
        (directory / PLACEMENT).unlink(missing_ok=True)
        return
    write_json(directory / PLACEMENT, sealed({"format": _FORMAT, "format_version": _VERSION, **plain(placement)}))


def read_placement(directory: Path) -> Placement | None:
    """Return what a RUN holds; None where its training had not begun when it was cut off.

    Raises:
        CheckpointError: the file is damaged, or missing beside the state of a training.
    """
    path = directory / PLACEMENT
    if not path.exists() and not (directory / TRAINING_STATE).exists():
        return None
    document = read_document(path, _FORMAT, _VERSION, f"Expected {PLACEMENT} in {directory}, whose exits it tells")
    try:
        return Placement.from_document(document)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"Expected a complete placement in {path}, got one that lacks {error}") from error
