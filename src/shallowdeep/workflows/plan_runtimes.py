"""The unmodified network in every runtime and precision there is, written and timed: where a plan begins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shallowdeep.bench.runtime_times import ROUNDS, Contender, static_seconds
from shallowdeep.bench.worker import STATIC
from shallowdeep.calibration.objective import Objective
from shallowdeep.data.batches import Batches
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.errors import ConfigurationError, ShallowDeepError
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.outcome import final_answers
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.export import BundleWriter
from shallowdeep.inference.plan_record import StaticRow
from shallowdeep.inference.precision import BF16, F32, INT8, runtime_name
from shallowdeep.inference.runtime_prediction import RuntimeExits
from shallowdeep.machine import available_cores
from shallowdeep.progress import Progress
from shallowdeep.runs.splits import precision_on
from shallowdeep.sdn.network import ShallowDeepNetwork

RUNTIMES = (("onnxruntime", F32), ("openvino", F32), ("openvino", BF16), ("openvino", INT8))
FAR = 2.5  # times the milliseconds of another: such a runtime is no candidate
WITHIN = 0.01  # of float32's accuracy: a static network that loses more is no alternative
_IMAGE_BYTES = 2**28  # of images that are timed on
_PREDICTED = 64  # images at a time


class Asked(NamedTuple):
    """What a plan is asked for.

    Attributes:
        objective: what policies are to do.
        batch_sizes: rising.
    """

    objective: Objective
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """What is planned for, and where the files of it lie meanwhile.

    Attributes:
        network: on the CPU.
        splits: of its data, with the ``tune`` to plan on.
        own: the run's own, which ``int8`` is quantised by.
        tune: float32 predictions.
        asked: what for.
        work: an empty directory.
        progress: told what is measured.
    """

    network: ShallowDeepNetwork
    splits: DataSplits
    own: DataSplits
    tune: ExitPredictions
    asked: Asked
    work: Path
    progress: Progress

    @property
    def images(self) -> Path:
        """File of the images that are timed on."""
        return self.work / "images.npy"

    @property
    def early(self) -> int:
        """E-1, internal classifiers."""
        return len(self.network.exits) - 1


@dataclass(frozen=True)
class PlannedRuntime:
    """A runtime and precision in which the network was written.

    Attributes:
        writer: of bundles.
        whole: a bundle without early exits, with the static network.
        tune: predictions of all exits.
        row: how fast the static network is.
    """

    writer: BundleWriter
    whole: Bundle
    tune: ExitPredictions
    row: StaticRow


def write_images(site: Site) -> None:
    """Write images of ``tune`` to time on: all, or as many as fit, at least the largest batch."""
    part = site.splits.tune.readable()
    count = max(*site.asked.batch_sizes, _IMAGE_BYTES // (4 * prod(site.splits.preprocessing.shape)))
    places = np.linspace(0, len(part) - 1, min(count, len(part))).astype(np.int64)
    lengths = part.lengths  # texts are timed with those of a length together
    order = np.random.default_rng(0).permutation(places) if lengths is None else places[np.argsort(lengths[places])]
    pixels, _ = part.fetch(order)
    np.save(site.images, site.splits.preprocessing.normalize(pixels).contiguous().numpy())


def runtimes_there(site: Site) -> tuple[list[PlannedRuntime], list[str]]:
    """Write and time the static network in every runtime and precision; and say what is not there, in sentences.

    The lowest precision comes first: runtimes that are `FAR` slower than one before are timed in fewer rounds.

    Raises:
        ConfigurationError: there is none.
    """
    found, left_out = list[PlannedRuntime](), list[str]()
    for backend, precision in reversed(RUNTIMES):
        name = runtime_name(backend, precision)
        site.progress.say(f"Static network in {name}")
        try:
            found.insert(0, _measured(site, backend, precision, [one.row for one in found]))
        except ShallowDeepError as error:  # it cannot run here, or cannot take this network
            left_out.insert(0, f"{name} is left out. {error}")
    if not any(runtime.row.allowed for runtime in found):
        raise ConfigurationError(f"Expected a runtime to plan for, found none: {' '.join(left_out)}")
    return found, left_out


def _measured(site: Site, backend: str, precision: str, others: Sequence[StaticRow]) -> PlannedRuntime:
    """The static network in one runtime and precision, beside others that were timed before."""
    writer = BundleWriter(site.network, backend, precision_on(site.own, precision))
    never = Policy((None,) * site.early, weights=site.network.weights)
    whole = writer.write(never, site.work / runtime_name(backend, precision), progress=site.progress)
    pred = site.tune if precision == F32 else _predicted(site, writer)
    with ExitStack() as stack:
        contender = Contender(whole, STATIC, site.images, available_cores(), stack)
        sizes = site.asked.batch_sizes
        seconds = static_seconds(contender, sizes[:1])
        far = any(1e3 * seconds[0] > FAR * other.milliseconds[0] for other in others)
        seconds += static_seconds(contender, sizes[1:], 1 if far else ROUNDS)
    labels = to_numpy(pred.labels)
    right = float((to_numpy(pred.logits)[-1].argmax(axis=-1) == labels).mean())
    float32 = float((final_answers(site.tune) == labels).mean())
    row = StaticRow(backend, precision, tuple(1e3 * one for one in seconds), right, right >= float32 - WITHIN)
    return PlannedRuntime(writer, whole, pred, row)


def _predicted(site: Site, writer: BundleWriter) -> ExitPredictions:
    """What a runtime says of ``tune``, losses counted against the float32 network's answers."""
    batches = Batches(site.splits.tune, site.splits.preprocessing, _PREDICTED)
    with (
        RuntimeExits(writer, site.progress) as exits,
        site.progress.start(f"predicting tune in {exits.name}", "images", len(site.splits.tune)) as bar,
    ):
        return exits.predict(batches, bar).against(final_answers(site.tune))
