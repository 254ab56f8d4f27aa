"""What an engine asks of a runtime, and what a runtime's file offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from shallowdeep.exits.arrays import Array
from shallowdeep.inference.precision import Precision
from shallowdeep.inference.runtime_record import RuntimeRecord
from shallowdeep.inference.segments import Segment
from shallowdeep.progress import Bar

if TYPE_CHECKING:
    from shallowdeep.inference.bundle import Bundle
    from shallowdeep.sdn.network import ShallowDeepNetwork

CPU_MACS_PER_BYTE = 4.0  # some 100 G/s a core beside some 50 GB/s, with margin
GPU_MACS_PER_BYTE = 80.0  # by data sheet: an H100 does 250 T/s in TF32 and moves 3 TB/s; not measured
PREVIOUS = "previous"  # name of a segment's input for the logits of the exit before, where it is a file with names
TOKENS = "tokens"  # name of a segment's input for the token ids of the texts, which travel beside the features
NOTHING: Mapping[str, Array] = MappingProxyType({})  # beside


class Written(NamedTuple):
    """Files that a backend wrote, relative to the bundle.

    Attributes:
        segments: one for each segment; they may be the same.
        static: of the static backbone, or None.
        further: others that belong to the bundle.
        runtime: that they were written for; None where nothing is to be recorded.
    """

    segments: tuple[str, ...]
    static: str | None
    further: tuple[str, ...] = ()
    runtime: RuntimeRecord | None = None


class Backend(Protocol):
    """Runs a network in segments, each up to an exit in use.

    Its arrays are of one array API library; rows are picked by indexing with an integer array.

    Attributes:
        macs_per_byte: multiply-adds done in the time of copying a byte: finished samples leave the batch where that
            saves more than copying the others costs.
        largest: most samples that run together; the engine splits larger batches. None for any number.
        beside: names of the network's inputs that segments read beside the features; () for most networks.
    """

    macs_per_byte: float
    largest: int | None
    beside: tuple[str, ...]

    def length(self, tokens: int) -> int:
        """How many tokens are computed for so many, of networks of text: see `rows`."""

    def rows(self, samples: int) -> int:
        """How many samples are computed for so many: more where models are compiled for a few sizes of batch."""

    def accept(self, images: Array) -> Array:
        """An input (N, ...) as this runtime's library and device have it: numbers as float32, integers as int64."""

    def run(
        self, number: int, x: Array, previous: Array | None = None, beside: Mapping[str, Array] = NOTHING
    ) -> tuple[Array, Array]:
        """Run segment ``number``.

        Args:
            number: of the segment.
            x: (n, ...), the images or what the segment before returned.
            previous: (n, C), logits of the exit before, which cascaded internal classifiers read; None at the first.
            beside: inputs (n, ...) by the names in ``beside``.

        Returns:
            What the next segment reads, (n, ...), and the exit's logits (n, C); the last segment returns the logits
            twice. The engine may write to NumPy arrays; they are not used again before the same segment runs.
        """


class Exporter(Protocol):
    """Writes one network for a runtime, as often as wanted: what several bundles share is made once.

    Attributes:
        uncut: what the graph with all exits computes at lower precision, before it is cut: a batch (N, ...), or several
            inputs by name, to logits (E, N, C). None where there is no such graph.
    """

    uncut: Callable[[Any], Any] | None

    def write(self, segments: Sequence[Segment], directory: Path, *, static: bool, bar: Bar) -> Written:
        """Write a bundle's files: segments, and the static backbone where ``static``.

        Args:
            segments: from `plan_segments`.
            directory: exists.
            static: write the static backbone too.
            bar: advanced by one for each segment, and for the static backbone.

        Raises:
            ConversionError: the runtime's exporter cannot write a segment.
        """


class BackendModule(Protocol):
    """A file of this package: one runtime.

    Attributes:
        POOLS: names of the ways it can keep its threads, the one that is best in general first.
    """

    POOLS: tuple[str, ...]

    def open_bundle(self, bundle: Bundle, threads: int | None, pool: str) -> Backend:
        """The segments of a bundle, ready to run with so many threads; None for one a core."""

    def open_static(self, bundle: Bundle, threads: int | None, pool: str) -> Callable[[Array], Array]:
        """The static backbone of a bundle: images (N, 3, H, W) to logits (N, C)."""

    def exporter(self, network: ShallowDeepNetwork, precision: Precision) -> Exporter:
        """What writes a network for this runtime.

        Args:
            network: on the CPU.
            precision: to compute in.

        Raises:
            ConfigurationError: the runtime has no such precision, or not on this processor, or cannot name the network.
        """
