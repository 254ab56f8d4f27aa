"""A plan: what to deploy on a machine, and the times behind it (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shallowdeep.exits.costs import CostModel
from shallowdeep.inference.precision import runtime_name

EXITS, STATIC = "exits", "static"


@dataclass(frozen=True)
class StaticRow:
    """The unmodified network in one runtime.

    Attributes:
        backend: the runtime.
        precision: ``f32``, ``bf16`` or ``int8``.
        milliseconds: a batch, one for each batch size.
        accuracy: on ``tune``, a fraction.
        allowed: whether that is within a point of float32's.
    """

    backend: str
    precision: str
    milliseconds: tuple[float, ...]
    accuracy: float
    allowed: bool

    @property
    def name(self) -> str:
        """What tables call it."""
        return runtime_name(self.backend, self.precision)


@dataclass(frozen=True)
class ExitRow:
    """One exit in one runtime, when it is the only early one.

    Attributes:
        backend: the runtime.
        precision: ``f32``, ``bf16`` or ``int8``.
        exit: its number.
        depth: share of the static network's time up to it, one for each batch size.
        head: share of the static network's time that its head, the cut and one call more take.
        milliseconds: a batch of all up to it and its head.
    """

    backend: str
    precision: str
    exit: int
    depth: tuple[float, ...]
    head: tuple[float, ...]
    milliseconds: tuple[float, ...]


@dataclass(frozen=True)
class SpeedRow:
    """An engine at one batch size, in turns with the best static network at any precision.

    Attributes:
        batch_size: images in a batch.
        static: the runtime of that static network, with its precision.
        static_ms: milliseconds a batch of it.
        engine_ms: milliseconds a batch of the engine.
        speedup: median over rounds of static over engine.
        low: end of its 95 % interval over rounds.
        high: its other end.
    """

    batch_size: int
    static: str
    static_ms: float
    engine_ms: float
    speedup: float
    low: float
    high: float


@dataclass(frozen=True)
class Finalist:
    """Exits that were timed as they would run.

    Attributes:
        backend: the runtime.
        precision: ``f32``, ``bf16`` or ``int8``.
        exits: internal classifiers in use.
        relative_cost: mean multiply-adds on ``tune``, relative to the unmodified network.
        accuracy: on ``tune``, a fraction.
        speeds: one for each batch size.
    """

    backend: str
    precision: str
    exits: tuple[int, ...]
    relative_cost: float
    accuracy: float
    speeds: tuple[SpeedRow, ...]


@dataclass(frozen=True)
class Plan:
    """What to deploy on a machine.

    Attributes:
        run: directory of the run.
        deploy: ``exits`` or ``static``.
        backend: the runtime to deploy in.
        precision: likewise.
        exits: internal classifiers to keep; none for ``static``.
        sentence: says so, and why.
        statics: of every runtime and precision there is.
        exit_rows: of the runtimes whose exits were looked into.
        finalists: what was timed in the end, the best first.
        notes: what a reader should know besides, such as why a runtime was not looked into; sentences.
        times: what reaching each exit takes in the runtime to deploy, as a share of the static network's time.
        static_ms: milliseconds a batch of the static network there, one for each batch size.
        setting: everything that the plan depends on: machine, versions, weights, what was asked for.
        date: when it was measured, as YYYY-MM-DD.
    """

    run: str
    deploy: str
    backend: str
    precision: str
    exits: tuple[int, ...]
    sentence: str
    statics: tuple[StaticRow, ...]
    exit_rows: tuple[ExitRow, ...]
    finalists: tuple[Finalist, ...]
    notes: tuple[str, ...]
    times: CostModel | None
    static_ms: tuple[float, ...]
    setting: Mapping[str, Any]
    date: str

    @property
    def name(self) -> str:
        """The runtime to deploy in, with its precision."""
        return runtime_name(self.backend, self.precision)


def plan_from(document: Mapping[str, Any]) -> Plan:
    """Return the plan that JSON holds.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    values = {**document}
    values["statics"] = tuple(StaticRow(**_tuples(row)) for row in document["statics"])
    values["exit_rows"] = tuple(ExitRow(**_tuples(row)) for row in document["exit_rows"])
    values["finalists"] = tuple(
        Finalist(**{**_tuples(row), "speeds": tuple(SpeedRow(**speed) for speed in row["speeds"])})
        for row in document["finalists"]
    )
    times = document["times"]
    values["times"] = None if times is None else CostModel(**_tuples(times))
    for name in ("exits", "notes", "static_ms"):
        values[name] = tuple(document[name])
    return Plan(**values)


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose lists are tuples, as dataclasses have them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
