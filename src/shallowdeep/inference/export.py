"""From a network and its policy to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.errors import OutputError
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.files import cannot_write, workshop
from shallowdeep.inference.backends.registry import backend_module, missing
from shallowdeep.inference.bundle import Agreement, Bundle, check_weights, is_bundle, read_bundle, write_manifest
from shallowdeep.inference.precision import F32, Precision
from shallowdeep.inference.promise_here import with_promises_for
from shallowdeep.inference.segments import plan_segments
from shallowdeep.inference.verification import LEAST_EQUAL, agreement, verify
from shallowdeep.progress import SILENT, Progress
from shallowdeep.sdn.network import ShallowDeepNetwork


@dataclass(frozen=True)
class Origin:
    """What a bundle says of its network besides what the network knows.

    Attributes:
        data: what it was trained on, as `Bundle.data` has it.
        confusion: statistics of its training data, or None.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    confusion: ConfusionStatistics | None = None


NOTHING_KNOWN = Origin()
FLOAT32 = Precision()


def write_bundle(
    network: ShallowDeepNetwork,
    policy: Policy,
    directory: Path,
    backend: str,
    origin: Origin = NOTHING_KNOWN,
    *,
    precision: Precision = FLOAT32,
    static: bool = True,
    overwrite: bool = False,
    compared: NDArray[np.float32] | None = None,
    least_equal: float = LEAST_EQUAL,
    progress: Progress = SILENT,
) -> Bundle:
    """Write a bundle, whole or not at all, once its files are known to compute what the network does.

    Args:
        network: on the CPU; without ``preprocessing`` the bundle takes arrays alone, no image files.
        policy: made for its weights; exits it switches off are not written.
        directory: of the bundle, made here.
        backend: the runtime to write for.
        origin: where the network comes from.
        precision: to compute in. A promise that was made for other outputs, see `why_not_for`, is left out.
        static: write the unmodified backbone too, for `bench`.
        overwrite: replace a bundle that is there.
        compared: (n, C, H, W) normalised images on which answers at lower precision are compared with float32's; None
            for those that ``int8`` finds its scales by.
        least_equal: share of answers that must then be float32's, a fraction.
        progress: told how many of the files are written, and that they are checked.

    Raises:
        ConfigurationError: the policy does not fit, or the backend is not installed.
        OutputError: the directory exists, holds something else than a bundle, or cannot be written.
        ConversionError: the runtime's exporter cannot write a segment, or writes one that computes something else.
    """
    writer = BundleWriter(network, backend, precision, origin)
    return writer.write(
        policy,
        directory,
        static=static,
        overwrite=overwrite,
        verified=True,
        compared=compared,
        least_equal=least_equal,
        progress=progress,
    )


class BundleWriter:
    """Writes bundles of one network for one runtime and precision: what they share is exported once.

    Args:
        network: on the CPU; without ``preprocessing`` its bundles take arrays alone, no image files.
        backend: the runtime to write for.
        precision: to compute in.
        origin: where the network comes from.

    Attributes:
        network: that is written.
        backend: the runtime.
        precision: in which it computes.

    Raises:
        ConfigurationError: the backend is not installed, or has no such precision.
    """

    def __init__(
        self, network: ShallowDeepNetwork, backend: str, precision: Precision = FLOAT32, origin: Origin = NOTHING_KNOWN
    ) -> None:
        self.network, self.backend, self.precision, self._origin = network, backend, precision, origin
        try:
            self._exporter = backend_module(backend).exporter(network, precision)
        except ModuleNotFoundError as error:
            raise missing(backend, error) from error

    def write(
        self, policy: Policy, directory: Path, *, static: bool = True, overwrite: bool = False,
        verified: bool = False, compared: NDArray[np.float32] | None = None, least_equal: float = LEAST_EQUAL,
        progress: Progress = SILENT,
    ) -> Bundle:  # fmt: skip
        """Write the bundle of a policy, see `write_bundle`; where ``verified``, run it first, as that does."""
        network = self.network
        check_free(directory, overwrite=overwrite)
        check_weights(policy, network.weights, "the network")
        policy = with_promises_for(policy, self.backend, self.precision.name)
        segments = plan_segments(policy, network.costs)
        work = progress.start("exporting", "steps", len(segments) + static + 1)
        try:
            with work as bar, workshop(directory) as folder:
                made = folder / "bundle"
                made.mkdir()
                written = self._exporter.write(segments, made, static=static, bar=bar)
                bundle = Bundle(
                    path=made, backend=self.backend,
                    model="" if network.architecture is None else network.architecture.name,
                    segments=segments, files=written.segments, static=written.static, policy=policy,
                    classes=network.classes, preprocessing=network.preprocessing,
                    input_shape=network.input_shape or (), backbone_macs=network.backbone_macs,
                    weights=network.weights, data=self._origin.data, confusion=self._origin.confusion,
                    precision=self.precision.name, runtime=written.runtime, inputs=network.inputs,
                )  # fmt: skip
                if verified:
                    bundle = replace(bundle, agreement=self._verified(bundle, compared, least_equal))
                write_manifest(bundle, written.further)
                _take_place(made, directory)
                read = read_bundle(directory, static=True)
                bar.advance(1, "checked")
                return read
        except ModuleNotFoundError as error:
            raise missing(self.backend, error) from error
        except OSError as error:
            raise cannot_write(directory, error) from error

    def _verified(self, bundle: Bundle, compared: NDArray[np.float32] | None, least_equal: float) -> Agreement | None:
        """Run the files of a bundle; return how often it answers as float32 does, where that can be compared."""
        verify(bundle, self.network, self._exporter.uncut)
        images = self.precision.images if compared is None else compared
        if self.precision.name == F32 or images is None:
            return None
        return agreement(bundle, self.network, images, least_equal)


def check_free(directory: Path, *, overwrite: bool) -> None:
    """Refuse a place for a bundle that holds something which may not be replaced.

    Raises:
        OutputError: it is no bundle, or one that ``overwrite`` does not give away.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not is_bundle(directory):
        raise OutputError(f"Expected a new directory for the bundle, {directory} exists and is no bundle")
    if not overwrite:
        raise OutputError(f"Expected a new directory for the bundle, {directory} exists; --overwrite replaces it")


def _take_place(made: Path, directory: Path) -> None:
    """Put a finished bundle where an older one may stand, which goes last."""
    old = made.with_name("old")
    if directory.exists():
        directory.rename(old)
    try:
        made.rename(directory)
    except OSError:
        if old.exists():
            old.rename(directory)
        raise
