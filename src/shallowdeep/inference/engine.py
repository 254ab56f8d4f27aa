"""The engine: runs segments until the policy is satisfied, with the samples that still need them."""

# ruff: noqa: PLC0415 - what needs torch is imported for networks alone: bundles run without it
from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shallowdeep.data.any_preprocessing import AnyPreprocessing, images_alone
from shallowdeep.data.text import TextPreprocessing
from shallowdeep.errors import ConfigurationError, DataError
from shallowdeep.exits.abstention import CONFUSION
from shallowdeep.exits.arrays import Array, namespace_of
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import Policy
from shallowdeep.inference.backends.backend import Backend
from shallowdeep.inference.backends.registry import backend_module, open_segments
from shallowdeep.inference.batch_state import Answers, BatchState, Watch, joined, keep
from shallowdeep.inference.bundle import Bundle, check_weights, known_preprocessing, read_bundle
from shallowdeep.inference.entering import Entering, entering, shortened
from shallowdeep.inference.image_input import ImageSource, read_images, sources_of
from shallowdeep.inference.segments import Segment, plan_segments
from shallowdeep.inference.single_image import SingleImage
from shallowdeep.inference.text_input import check_tokens, read_texts, texts_of
from shallowdeep.input_spec import ALONE, InputSpec, takes_tokens

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

TORCH = "torch"
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Opened:
    """What an engine runs on.

    Attributes:
        backend: runs segments.
        segments: in turn.
        policy: whose exits in use are the segments'.
        inputs: what the network takes, the first (C, H, W) of images or (L,) of token ids.
        backbone_macs: of one image.
        preprocessing: what turns image files into its input; None where that is not known.
        classes: their names, where they are known.
        name: what errors call it.
        confusion: statistics that a bundle brings, or None.
        directory: that lasts as long as the engine; None for none.
    """

    backend: Backend
    segments: tuple[Segment, ...]
    policy: Policy
    inputs: tuple[InputSpec, ...]
    backbone_macs: int
    preprocessing: AnyPreprocessing | None
    classes: tuple[str, ...]
    name: str
    confusion: ConfusionStatistics | None = None
    directory: Path | None = None


class EarlyExitEngine:
    """Labels, confidences, exits and costs for images; agrees with "all exits, then policy".

    After each exit in use, samples that are done leave the batch where that saves more than copying the others costs.
    Exits that the policy switches off cost nothing: their heads are not run, and the stages around them run as one.

    Args:
        network: a `ShallowDeepNetwork`, or a bundle or the path of one.
        policy: for it; a bundle brings its own, and takes others that use no further exits.
        backend: for a network: ``torch`` (default) runs it where it is, ``onnxruntime`` on a copy. A bundle has its
            own.
        threads: of the runtime; None for one a core.
        pool: how the runtime keeps its threads, one of its backend's ``POOLS``; None for what is best in general.
        confusion: report confusion too, which costs a little time at every exit: ``True`` for z-scores by the bundle's
            statistics (values as they are, where there are none), or statistics of a network.

    Attributes:
        policy: in force.
        segments: that are run, in turn.
        backend: runs them.
        inputs: what the network takes.

    Raises:
        ConfigurationError: a policy that does not fit, or a backend that is not there.
        CheckpointError: a bundle that is damaged or of a newer format.

    Example:
        >>> import torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32), fractions=[0.3, 0.6])
        >>> engine = shallowdeep.EarlyExitEngine.from_network(network, shallowdeep.Policy((0.0, 0.9)))
        >>> engine(torch.zeros(4, 3, 32, 32)).exits.tolist()  # a threshold of 0 lets all leave
        [0, 0, 0, 0]

    Image files and PIL images are decoded and resized as the bundle's preprocessing says:
    ``engine(["a.png", Path("b.jpg"), picture])``.
    """

    def __init__(
        self,
        network: ShallowDeepNetwork | Bundle | Path | str,
        policy: Policy | None = None,
        backend: str | None = None,
        *,
        threads: int | None = None,
        pool: str | None = None,
        confusion: bool | ConfusionStatistics = False,
    ) -> None:
        opened = open_any(network, policy, backend, threads, pool)
        path = network.path if isinstance(network, Bundle) else network
        more = {"threads": threads, "pool": pool, "confusion": confusion}
        self._made_of = (path, policy, backend, more) if isinstance(path, (str, Path)) else None
        self.policy: Policy = opened.policy
        self.segments: tuple[Segment, ...] = opened.segments
        self.backend: Backend = opened.backend
        if opened.directory is not None:
            weakref.finalize(self, shutil.rmtree, opened.directory, True)
        self.inputs, self._macs = opened.inputs, opened.backbone_macs
        self._named = [spec.name for spec in self.inputs] != [ALONE]
        self._tokens = takes_tokens(self.inputs)
        self._shape = self.inputs[0].shape
        self._preprocessing, self._classes, self._name = opened.preprocessing, opened.classes, opened.name
        by_confusion = self.policy.abstention is not None and self.policy.abstention.indicator == CONFUSION
        self._watched = confusion is not False or by_confusion
        quick = SingleImage.fits(self.policy) and not self._watched
        self._single = SingleImage(self.policy, self.segments) if quick else None
        self._single_shape = None if self._named or self._tokens else (1, *self._shape)
        given = confusion if isinstance(confusion, ConfusionStatistics) else None
        own_first = by_confusion or given is None  # what answers are withheld by was certified with the bundle's own
        self._statistics = (opened.confusion or given) if own_first else given
        if by_confusion and self._statistics is None:
            raise ConfigurationError(
                "Expected statistics of confusion for a policy that abstains by it, got none; give them as confusion="
            )
        if self._watched and self._statistics is not None and self._statistics.exits != self.policy.exits:
            raise ConfigurationError(
                f"Expected confusion statistics of {self.policy.exits} exits, got {self._statistics.exits}"
            )

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle | Path | str,
        *,
        policy: Policy | None = None,
        threads: int | None = None,
        pool: str | None = None,
        confusion: bool | ConfusionStatistics = False,
    ) -> Self:
        """The engine of a bundle, in the bundle's own runtime; needs no torch unless that is torch.

        Args:
            bundle: or its path.
            policy: instead of the bundle's; it may use no further exits.
            threads: of the runtime; None for one a core.
            pool: see the class.
            confusion: see the class.

        Raises:
            CheckpointError: the bundle is damaged or of a newer format.
            ConfigurationError: the policy does not fit, or the runtime is not installed.
        """
        return cls(bundle, policy, threads=threads, pool=pool, confusion=confusion)

    @classmethod
    def from_network(
        cls,
        network: ShallowDeepNetwork,
        policy: Policy,
        *,
        backend: str = TORCH,
        threads: int | None = None,
        confusion: bool | ConfusionStatistics = False,
    ) -> Self:
        """The engine of a network in memory.

        Args:
            network: run where it is on ``torch``, on a copy elsewhere.
            policy: for it.
            backend: ``torch``, ``onnxruntime`` or ``openvino``.
            threads: of the runtime; None for one a core.
            confusion: see the class.

        Raises:
            ConfigurationError: the policy does not fit, or the runtime is not installed.
        """
        return cls(network, policy, backend, threads=threads, confusion=confusion)

    def __reduce__(self) -> tuple[Any, ...]:
        """How pickle makes it anew elsewhere: from its bundle, which must be there.

        Raises:
            TypeError: an engine of a network in memory.
        """
        if self._made_of is None:
            raise TypeError("Expected an engine of a bundle to pickle, got one of a network in memory; export it")
        return _opened_again, self._made_of

    def __call__(
        self, images: Array | ImageSource | Sequence[ImageSource] | Mapping[str, Array], *, probabilities: bool = False
    ) -> Answers:
        """Answer a batch.

        Args:
            images: (N, C, H, W) float32, normalised as the preprocessing says; or a list of paths of image files and of
                PIL images, mixed as you like, or one alone, which is a batch of one. N may be 0. Of a network of text:
                a text, a list of texts, or token ids (N, L), negative where a text has ended. Of several inputs: arrays
                by name.
            probabilities: tell those of all classes too, at the exit that answered.

        Raises:
            DataError: an array of another shape, or with values that are not finite; something else than the above.
            BadImageError: a file that cannot be decoded.
            ConfigurationError: files or PIL images, and no preprocessing is known.
        """
        if type(images) is np.ndarray and images.shape == self._single_shape and images.dtype is _FLOAT32:
            return self._answer(images, probabilities=probabilities)  # one image: checks take time too
        if self._named:
            return self._answer_named(images, probabilities=probabilities)
        batch = self._read(images)
        self._check(batch)
        largest = self.backend.largest
        if largest is None or len(batch) <= largest:
            return self._answer(batch, probabilities=probabilities)
        parts, start = [], 0
        while start < len(batch):
            part = batch[start : start + (self.backend.largest or len(batch))]  # it may fall on the way
            parts.append(self._answer(part, probabilities=probabilities))
            start += len(part)
        return joined(parts)

    def _read(self, images: Any) -> Array:  # noqa: ANN401 - whatever a caller gives
        """Return a batch as an array, files decoded and texts tokenized."""
        if self._tokens:
            texts = texts_of(images)
            if texts is None:
                return images
            known = known_preprocessing(self._preprocessing, self._name)
            if not isinstance(known, TextPreprocessing):
                raise ConfigurationError(f"Expected a tokenizer in {self._name}, got preprocessing of images")
            return read_texts(texts, known)
        sources = sources_of(images)
        if sources is None:
            return images
        return read_images(sources, images_alone(known_preprocessing(self._preprocessing, self._name)))

    def _answer_named(self, batch: Any, *, probabilities: bool) -> Answers:  # noqa: ANN401 - whatever a caller gives
        """Answer a batch of several inputs by name."""
        names = [spec.name for spec in self.inputs]
        if not isinstance(batch, Mapping) or sorted(batch) != sorted(names):
            got = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
            raise DataError(f"Expected arrays by the names {', '.join(names)}, got {got}")
        arrays = [name for name in names if not (hasattr(batch[name], "shape") and hasattr(batch[name], "dtype"))]
        if arrays:
            raise DataError(f"Expected an array for {arrays[0]}, got {type(batch[arrays[0]]).__name__}")
        count = len(batch[names[0]])
        for spec in self.inputs:
            whole = not namespace_of(batch[spec.name]).isdtype(batch[spec.name].dtype, "real floating")
            if whole != ("float" not in spec.dtype):
                raise DataError(f"Expected {spec.name} in {spec.dtype}, got {batch[spec.name].dtype}")
            shape = tuple(batch[spec.name].shape)
            if shape[0] != count or len(shape) != len(spec.shape) + 1:
                raise DataError(
                    f"Expected {spec.name} of shape ({count}, {', '.join(map(str, spec.shape))}), got {shape}"
                )
        step, parts = self.backend.largest or max(count, 1), []
        for start in range(0, max(count, 1), step):
            part = {name: batch[name][start : start + step] for name in names}
            parts.append(self._answer(part, probabilities=probabilities))
        return joined(parts)

    def warm_up(self, batch_size: int) -> None:
        """Prepare for batches of up to so many, so that no answer waits for a model to be compiled.

        Runtimes that compile for a few sizes of batch (`openvino`, `cuda-graphs`) compile every segment for each of
        those that survivors of such a batch may need, at one length of texts; others run one batch.

        Args:
            batch_size: largest that will come.

        Raises:
            ConfigurationError: below 1.
        """
        if batch_size < 1:
            raise ConfigurationError(f"Expected a batch size of at least 1 to warm up for, got {batch_size}")
        largest = self.backend.largest
        sizes = {batch_size}
        if largest is not None:
            sizes = {self.backend.rows(count) for count in range(1, min(batch_size, largest) + 1)}
        for size in sorted(sizes, reverse=True):
            if self.backend.largest is not None and size > self.backend.largest:
                continue  # it fell on the way
            given = {spec.name: np.zeros((size, *spec.shape), spec.dtype) for spec in self.inputs}
            x, beside, _ = entering(self.backend, given if self._named else given[ALONE], self.inputs)
            logits = None
            for number in range(len(self.segments)):
                x, logits = self.backend.run(number, x, logits, beside)

    def _answer(self, batch: Array | Mapping[str, Array], *, probabilities: bool) -> Answers:
        """Answer a batch that runs together."""
        x, beside, lengths = entering(self.backend, batch, self.inputs)
        if self._single is not None and len(x) == 1 and type(x) is np.ndarray:
            return self._single.answer(self.backend, x, beside, probabilities=probabilities)
        xp = namespace_of(x)
        numbers = xp.isdtype(x.dtype, "real floating")
        probe = (
            xp.sum(x) if numbers else 0.0
        )  # not finite where a value is not; looked at when the device is waited for
        in_use = self.policy.in_use
        watch = Watch(in_use, self._statistics) if self._watched else None
        state = BatchState(self.policy, self.segments, x, watch, len(self._classes) if probabilities else None)
        logits = None
        for number in range(len(self.segments) if len(x) else 0):
            output, logits = self.backend.run(number, x, logits, beside)
            # A bundle may have exits that this policy does not use: their heads are run, their logits not looked at.
            pending = state.step(number, logits) if self.segments[number].exit in in_use else state.pending
            if number == 0 and not isfinite(float(probe)) and not bool(xp.all(xp.isfinite(x))):
                raise DataError("Expected finite images, got values that are infinite or not a number")
            if not pending:
                break
            x = output
            if pending < len(x) and self._pays(x, pending, self.segments[number]):
                staying = state.compact()
                x, logits = keep(x, staying), keep(logits, staying)
                beside = {name: keep(values, staying) for name, values in beside.items()}
                if lengths is not None:
                    lengths = lengths[staying]
                    longest = self.backend.length(int(lengths.max()))
                    x, beside, _ = shortened(Entering(x, beside, lengths), longest)
        return state.answers()

    def _pays(self, x: Array, staying: int, segment: Segment) -> bool:
        """Whether copying the samples that stay costs less than running on the others."""
        rest = self.segments[-1].relative_cost - segment.relative_cost
        saved = (self.backend.rows(len(x)) - self.backend.rows(staying)) * rest * self._macs
        copied = staying * x.dtype.itemsize * prod(x.shape[1:])
        return bool(saved > self.backend.macs_per_byte * copied)

    def _check(self, images: Array) -> None:
        if self._tokens:
            known = self._preprocessing
            check_tokens(images, known if isinstance(known, TextPreprocessing) else None)
            return
        shape = tuple(images.shape)
        if shape[1:] != self._shape:
            raise DataError(f"Expected images of shape (N, {', '.join(map(str, self._shape))}), got {shape}")
        if not namespace_of(images).isdtype(images.dtype, "real floating"):
            raise DataError(f"Expected normalised images in floating point, got dtype {images.dtype}")


def _opened_again(
    path: Path | str, policy: Policy | None, backend: str | None, more: dict[str, Any]
) -> EarlyExitEngine:
    """An engine as pickle makes it anew."""
    return EarlyExitEngine(path, policy, backend, **more)


def open_any(
    network: ShallowDeepNetwork | Bundle | Path | str,
    policy: Policy | None,
    backend: str | None,
    threads: int | None,
    pool: str | None,
) -> Opened:
    """Open a network, a bundle or the path of one.

    Raises:
        ConfigurationError: a policy that is missing or does not fit, or a backend that is not there.
        CheckpointError: a bundle that is damaged or of a newer format.
    """
    if isinstance(network, (str, Path)):
        network = read_bundle(network)
    if isinstance(network, Bundle):
        return _open_bundle(network, policy, backend, threads, pool)
    if policy is None:
        raise ConfigurationError("Expected a policy beside a network, got none")
    check_weights(policy, network.weights, "the network")
    if not network.inputs:
        raise ConfigurationError("Expected a network that knows its input_shape, got None; set it first")
    return _open_network(network, policy, backend or TORCH, threads, pool)


def _open_bundle(
    bundle: Bundle, policy: Policy | None, backend: str | None, threads: int | None, pool: str | None
) -> Opened:
    if backend not in {None, bundle.backend}:
        raise ConfigurationError(f"Expected the backend of {bundle.path}, {bundle.backend!r}, got {backend!r}")
    chosen = bundle.policy if policy is None else _within(policy, bundle)
    return Opened(
        open_segments(bundle, threads, pool), bundle.segments, chosen, bundle.inputs, bundle.backbone_macs,
        bundle.preprocessing, bundle.classes, str(bundle.path), bundle.confusion,
    )  # fmt: skip


def _open_network(
    network: ShallowDeepNetwork, policy: Policy, backend: str, threads: int | None, pool: str | None
) -> Opened:
    """Open a network in place on ``torch``, else by way of a bundle that is not kept."""
    if backend == TORCH:
        from shallowdeep.inference.backends.torch_eager import TorchEager

        segments = plan_segments(policy, network.costs)
        return Opened(
            TorchEager(network, segments), segments, policy, network.inputs, network.backbone_macs,
            network.preprocessing,
            network.classes or (), "the network",
        )  # fmt: skip
    backend_module(backend)  # refused before anything is written
    from shallowdeep.inference.export import write_bundle

    directory = Path(tempfile.mkdtemp())  # runtimes read from it when they compile for another size of batch
    try:
        bundle = write_bundle(copy.deepcopy(network).cpu(), policy, directory / "bundle", backend, static=False)
        opened = _open_bundle(bundle, None, backend, threads, pool)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return replace(opened, name="the network", directory=directory)


def _within(policy: Policy, bundle: Bundle) -> Policy:
    """``policy``, once it is known to do with a bundle's exits.

    Where a cost limit ends a bundle before the final exit, it ends a policy that uses other exits elsewhere: each head
    that is not run leaves room to go further. Such a policy needs a bundle of its own.

    Raises:
        ConfigurationError: it uses exits that the bundle lacks, other ones than a bundle that a cost limit ends, was
            made for other weights, or limits costs otherwise.
    """
    check_weights(policy, bundle.weights, str(bundle.path))
    if policy.exits != bundle.policy.exits or policy.max_relative_cost != bundle.policy.max_relative_cost:
        raise ConfigurationError(
            f"Expected a policy for {bundle.policy.exits} exits and a cost limit of {bundle.policy.max_relative_cost}, "
            f"as {bundle.path} has, got {policy.exits} and {policy.max_relative_cost}"
        )
    there = [segment.exit for segment in bundle.segments]
    if there[-1] < bundle.policy.exits - 1 and policy.in_use != bundle.policy.in_use:
        raise ConfigurationError(
            f"Expected a policy that uses exits {list(bundle.policy.in_use)} as {bundle.path}, which a cost limit "
            f"ends, got {list(policy.in_use)}; export again"
        )
    missing = [exit_ for exit_ in policy.in_use if exit_ not in there and exit_ < there[-1]]
    if missing:
        raise ConfigurationError(
            f"Expected a policy that uses exits {there} of {bundle.path} alone, got {missing} besides; export again"
        )
    return policy
