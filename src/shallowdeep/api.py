"""The whole road from Python, on models and data loaders of your own.

    network = shallowdeep.convert(model, example_input, recipe="joint")
    history = shallowdeep.fit(network, train_loader, recipe="joint", epochs=10)
    predictions = shallowdeep.predict_exits(network, held_out_loader)
    policy = shallowdeep.calibrate(predictions, max_accuracy_loss=0.01)
    findings = shallowdeep.analyze(predictions)
    shallowdeep.export(network, policy, "bundle")

A loader is anything that gives batches of (images, labels) each time it is iterated over: a
`torch.utils.data.DataLoader`, or a list. Images are (B, C, H, W) float tensors, normalised as the model wants them;
labels are (B,) integers in [0, classes).
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from shallowdeep.analysis.findings import Findings, findings_of
from shallowdeep.analysis.overthinking import RESAMPLES
from shallowdeep.analysis.recorded import Recorded
from shallowdeep.artifacts import FIT, MODEL_MANIFEST, TRAINING_STATE
from shallowdeep.calibration.calibrate import calibrate_predictions
from shallowdeep.calibration.objective import Objective
from shallowdeep.calibration.risk import ACCURACY_GAP
from shallowdeep.checkpoint import load
from shallowdeep.data.splits import stratified_split
from shallowdeep.errors import ConfigurationError, DataError, OutputError
from shallowdeep.exits.abstention import CONFUSION
from shallowdeep.exits.arrays import to_numpy
from shallowdeep.exits.confusion import ConfusionStatistics
from shallowdeep.exits.policy import FALLBACKS, Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.exits.signals import DEFAULT_SIGNAL
from shallowdeep.files import exclusive, write_json
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.export import Origin, write_bundle
from shallowdeep.inference.precision import SCALING_IMAGES, Precision
from shallowdeep.inference.verification import LEAST_EQUAL
from shallowdeep.progress import Bar, Progress, SilentBar, shown
from shallowdeep.runtime import pick_precision
from shallowdeep.sdn.network import ShallowDeepNetwork
from shallowdeep.sdn.placement import MINIMUM_GAP
from shallowdeep.sdn.prediction import predict_exits as predict_all
from shallowdeep.training.conversion import convert_by
from shallowdeep.training.history import History, read_history
from shallowdeep.training.processes import accelerator_on
from shallowdeep.training.recipes import Choices, Phase, Start, plan_phases, recipe_called
from shallowdeep.training.run import Training, train
from shallowdeep.training.sources import Loader, LoaderSource

_TUNE_SHARE = 1 / 3  # of the calibration split, as everywhere


def convert(
    backbone: nn.Module,
    example_input: Tensor | Mapping[str, Tensor],
    *,
    recipe: str = "joint",
    fractions: Sequence[float] | None = None,
    heads: Sequence[str] | str | None = None,
    cascaded: bool = False,
    minimum_gap: float = MINIMUM_GAP,
) -> ShallowDeepNetwork:
    """Attach internal classifiers to a classifier, without rewriting it.

    The backbone is traced, cut where one tensor is alive, and the internal classifiers are placed by measured cost.
    Its final logits stay bit-identical in eval mode, and in train mode it computes, and updates, what it did before.
    The stages are for the example's image size, at any batch size.

    Args:
        backbone: any traceable classifier that maps (N, C, H, W) to logits (N, classes), or to a tuple, dictionary or
            object with them, each image's by itself. It is taken over, not copied; the network inside `torch.compile`
            or DataParallel is.
        example_input: (N, C, H, W) float; the size the network is for. Only the first image is used. For a network of
            text, or of several inputs, tensors (N, ...) by the names that its forward gives them.
        recipe: ``backbone``, ``ic-only``, ``joint``, ``mixed`` or ``best``: what you are going to train it by, which
            decides the kind of heads (``best`` takes deeper ones) and whether there are any.
        fractions: target shares of the backbone's multiply-adds in (0, 1), increasing; None for the paper's six, or as
            many of them as the network has places for.
        heads: kind of internal classifier, ``pooled``, ``conv`` or ``deep``, one for all or one each; None for the
            recipe's.
        cascaded: let each internal classifier but the first read the logits of the one before it too.
        minimum_gap: least share of multiply-adds between two internal classifiers, in [0, 1).

    Returns:
        The network. Internal classifiers are freshly initialised, in the backbone's device and dtype.

    Raises:
        ConversionError: the backbone cannot be traced or run on the example, does not return logits, lets the images of
            a batch change each other's logits, or has fewer cut points than asked for.
        ConfigurationError: a setting out of range.

    Example:
        >>> import torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32))
        >>> network(torch.zeros(2, 3, 32, 32)).shape  # (exits, images, classes)
        torch.Size([7, 2, 10])

    Source: Kaya et al. 2019, section 3; placement by measured cost is ours.
    """
    return convert_by(
        recipe_called(recipe), backbone, example_input, fractions=fractions, heads=heads, cascaded=cascaded,
        minimum_gap=minimum_gap,
    )  # fmt: skip


def fit(
    network: ShallowDeepNetwork,
    train_loader: Loader,
    *,
    recipe: str = "joint",
    epochs: int | None = None,
    tune_loader: Loader | None = None,
    trained: bool = False,
    preset: str = "short",
    optimizer: str | None = None,
    learning_rate: float | None = None,
    exit_weight: float | None = None,
    equilibrium: bool = False,
    distillation: float = 0.0,
    seed: int = 0,
    precision: str = "auto",
    directory: Path | str | None = None,
    progress: bool | Progress = True,
) -> History:
    """Train a network in place, on the device it is on, and leave it in eval mode.

    Args:
        network: from `convert` with the same recipe.
        train_loader: batches of images (B, C, H, W) float and labels (B,), iterated over once an epoch; order, batch
            size and augmentation are its own. An iterator or a generator, which gives one pass, is refused.
        recipe: ``backbone`` (the backbone alone), ``ic-only`` (internal classifiers on a frozen backbone, which must be
            trained already), ``joint`` (the paper's loss, everything), ``mixed`` (the backbone, then everything) or
            ``best`` (``joint`` with a constant weight of the exits).
        epochs: passes over the data, at least 1; None for the preset's (16, of ``ic-only`` 25).
        tune_loader: held-out batches; the accuracy of every exit on them goes into the history. None for none.
        trained: the backbone is trained for this task already: ``mixed`` leaves out its first phase, ``best`` takes a
            lower learning rate.
        preset: hyper-parameters, ``short`` (one cycle, AdamW) or ``paper`` (SGD, 100 epochs).
        optimizer: ``sgd``, ``muon`` or ``adamw`` instead of the preset's.
        learning_rate: its peak, instead of the preset's.
        exit_weight: constant weight of each internal classifier's loss beside 1 for the final exit's; None for the
            recipe's.
        equilibrium: give the trunk the mean of all exits' gradients, not their sum (recipes that train everything).
        distillation: share of the internal classifiers' loss in [0, 1) that the final exit teaches (likewise).
        seed: of what is random in training; a loader that shuffles by torch's global generator follows it too.
        precision: ``auto``, ``fp32`` or ``bf16``.
        directory: where the training is saved after every epoch and the network at the end. A training that was cut off
            goes on from there when it is called again with the same settings; one that is finished is loaded.
        progress: draw a bar on standard error; False for silence, or a `shallowdeep.progress.Progress` of your own.

    Returns:
        The history, one record an epoch, with ``phase``, ``epoch`` (from 1), ``loss``, ``learning_rate`` (its last),
        ``tune_accuracy`` (of each exit, fractions; empty without ``tune_loader``) and ``seconds``.

    Raises:
        ConfigurationError: a setting out of range, a loader that gives one pass, or a directory whose training has
            other settings.
        DataError: batches that are no pairs of tensors, or none.
        TrainingError: a loss that is not finite.
        OutputError: the directory holds something else, is in use, or cannot be written.

    Example:
        >>> import torch, shallowdeep
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 2
        >>> model = shallowdeep.build("resnet20", num_classes=2, image_size=32)
        >>> network = shallowdeep.convert(model, images)
        >>> history = shallowdeep.fit(network, [(images, labels)], epochs=1, progress=False)
        >>> [record.phase for record in history]
        ['joint']
    """
    source = LoaderSource(train_loader, tune_loader)
    if epochs is not None and epochs < 1:
        raise ConfigurationError(f"Expected epochs of at least 1, got {epochs}")
    plan = recipe_called(recipe)
    if len(network.exits) == 1 and plan.exits:
        raise ConfigurationError(f"Expected a network with internal classifiers for {recipe!r}, got a plain backbone")
    if (equilibrium or distillation or exit_weight) and not plan.together:
        raise ConfigurationError(
            f"Expected a recipe that trains everything beside equilibrium, distillation or exit_weight, got {recipe!r}"
        )
    choices = Choices(
        preset=preset, epochs=epochs or 0, optimizer=optimizer or "", learning_rate=learning_rate or 0.0,
        start=Start.TRAINED if trained else Start.FRESH, equilibrium=equilibrium, exit_weight=exit_weight or 0.0,
        distillation=distillation,
    )  # fmt: skip
    phases = plan_phases(plan, choices)
    place = None if directory is None else Path(directory)
    with shown(progress) as drawn, nullcontext() if place is None else exclusive(place):
        if place is not None and _finished(place, phases, seed):
            drawn.say(f"{place} was trained to the end before: nothing to do")
            _take_over(network, place)
            return read_history(place)
        accelerator = accelerator_on(next(network.parameters()).device)
        history = train(
            Training(
                network, source, place, seed, pick_precision(precision, accelerator.device), accelerator, drawn
            ),
            phases,
        )  # fmt: skip
    network.eval()
    return history


def predict_exits(
    network: ShallowDeepNetwork,
    loader: Loader,
    *,
    precision: str = "fp32",
    progress: bool | Progress | Callable[[int], None] = True,
) -> ExitPredictions:
    """Predictions of every exit for every image, in the order given.

    Args:
        network: run in eval mode on the device it is on, and left in its mode.
        loader: batches of images (B, C, H, W) float and labels (B,).
        precision: ``fp32``, or ``bf16`` for autocast.
        progress: draw a bar on standard error; False for silence, or a `shallowdeep.progress.Progress` of your own. (A
            function of the number of images, as it was once, works for one release more.)

    Returns:
        Logits (E, N, C), labels (N,), the exits' costs and cascade, and the SHA-256 of the network's weights where it
        was saved or loaded.

    Raises:
        DataError: there is no image.

    Example:
        >>> import torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32))
        >>> loader = [(torch.zeros(4, 3, 32, 32), torch.arange(4))]
        >>> predictions = shallowdeep.predict_exits(network, loader, progress=False)
        >>> predictions.exits, predictions.samples, predictions.classes
        (7, 4, 10)
    """
    if callable(progress):
        warnings.warn("Expected a Progress, got a function; this stops working", DeprecationWarning, stacklevel=2)
        progress = _OldProgress(progress)
    with shown(progress) as drawn:
        return predict_all(network, loader, precision=precision, progress=drawn)


def calibrate(
    predictions: ExitPredictions,
    *,
    max_accuracy_loss: float | None = None,
    budget: float | None = None,
    threshold: float | None = None,
    certify: ExitPredictions | None = None,
    confidence: float = 0.95,
    risk: str = ACCURACY_GAP,
    signal: str = DEFAULT_SIGNAL,
    fallback: str = FALLBACKS[0],
    max_relative_cost: float | None = None,
    temperatures: bool | None = None,
    abstain: float | None = None,
    statistics: ConfusionStatistics | None = None,
    seed: int = 0,
) -> Policy:
    """Find when to exit: exactly one of a largest accuracy loss, a budget and a threshold is given.

    Args:
        predictions: on held-out samples that the network was not trained on; never the test split. A third of them,
            drawn by seed and label, is ``tune``: everything is chosen there. The rest is ``certify``: it decides about
            promises alone.
        max_accuracy_loss: cheapest policy that is promised to lose at most this fraction of accuracy against the
            network's own final exit; 0.01 is one point and takes at least 299 ``certify`` samples, mostly more.
        budget: best accuracy at a mean relative cost of at most this; 0.5 is half of the backbone's.
        threshold: the paper's rule: leave at the first exit at least so confident.
        certify: ``certify`` samples of your own; then all of ``predictions`` are ``tune``.
        confidence: of promises, in (0, 1).
        risk: what is promised: ``accuracy-gap``, or ``disagreement`` with the final exit, which is stricter.
        signal: ``max-probability``, ``entropy``, ``margin``, ``patience`` or ``ensemble``.
        fallback: who answers where no exit is confident: ``final``, or ``most-confident`` (the paper's).
        max_relative_cost: no sample costs more.
        temperatures: fit one for each exit; None for all but a threshold and the signal ``ensemble``.
        abstain: withhold doubtful answers, so that at most this share of those given is wrong.
        statistics: of confusion on training data, so that answers may be withheld by it.
        seed: of the cut.

    Returns:
        The policy, with what was chosen on which samples in ``found`` and what is promised in ``promise``.

    Raises:
        ConfigurationError: none or several objectives, a setting out of range, or too few samples for a promise.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.random.default_rng(0).normal(size=(3, 90, 4)).astype(np.float32)
        >>> predictions = shallowdeep.ExitPredictions(logits, np.arange(90) % 4, np.array([0.3, 0.6, 1.0]))
        >>> shallowdeep.calibrate(predictions, threshold=0.9).thresholds
        (0.9, 0.9)

    Source: Jazbec et al., "Fast yet Safe: Early-Exiting with Risk Control", NeurIPS 2024 (the promise).
    """
    objective = Objective(
        threshold, budget, max_accuracy_loss, confidence, risk, signal, fallback, max_relative_cost, temperatures,
        abstain,
    )  # fmt: skip
    if certify is None:
        held, tune = stratified_split(to_numpy(predictions.labels), _TUNE_SHARE, seed, what="tune share")
        predictions, certify = predictions.subset(tune), predictions.subset(held)
    return calibrate_predictions(objective, predictions, certify, statistics).policy


def analyze(
    predictions: ExitPredictions,
    *,
    tune: ExitPredictions | None = None,
    statistics: ConfusionStatistics | None = None,
    class_names: Sequence[str] = (),
    exit_names: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Findings:
    """Tell how a network overthinks: wasteful and destructive, its confusion, and what indicates its errors.

    Args:
        predictions: of all exits on the samples to look at.
        tune: of the same network on other samples, to fit on what is fitted (the trajectory predictor, the answer
            rule); None fits nothing.
        statistics: of confusion on training data, for z-scores; None leaves confusion as it is.
        class_names: C of them; numbers where there are none.
        exit_names: E of them; likewise.
        resamples: for bootstrap intervals; 0 for none.
        seed: of the resampling.

    Returns:
        Findings; shares, accuracies and costs are fractions. ``to_json()`` gives the document of the command.

    Raises:
        DataError: ``tune`` or ``statistics`` are of another network.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.random.default_rng(0).normal(size=(3, 90, 4)).astype(np.float32)
        >>> predictions = shallowdeep.ExitPredictions(logits, np.arange(90) % 4, np.array([0.3, 0.6, 1.0]))
        >>> findings = shallowdeep.analyze(predictions, resamples=0)
        >>> findings.samples, len(findings.exits)
        (90, 3)

    Source: Kaya et al. 2019, sections 4 and 5.
    """
    recorded = Recorded(
        to_numpy(predictions.logits), predictions.costs, to_numpy(predictions.labels), tuple(class_names),
        tuple(exit_names),
    )  # fmt: skip
    return findings_of(recorded, tune=tune, statistics=statistics, resamples=resamples, seed=seed)


def export(
    network: ShallowDeepNetwork,
    policy: Policy,
    directory: Path | str,
    *,
    backend: str = "onnxruntime",
    precision: str = "f32",
    calibration_data: Iterable[Any] | None = None,
    statistics: ConfusionStatistics | None = None,
    static: bool = True,
    overwrite: bool = False,
    least_agreement: float = LEAST_EQUAL,
) -> Bundle:
    """Write a bundle: what runs elsewhere, without torch. `EarlyExitEngine.from_bundle` opens it.

    Every file is run in batches of several sizes before the bundle is kept, and compared with the network.

    Args:
        network: exported as it is in eval mode; copied to the CPU where it is elsewhere. Set its ``preprocessing`` and
            ``classes`` first if `shallowdeep predict` is to read image files with the bundle.
        policy: made for it; exits it switches off are not written.
        directory: of the bundle, made here, whole or not at all.
        backend: the runtime, ``onnxruntime``, ``openvino`` or ``torch``.
        precision: ``f32``; with ``openvino`` also ``bf16`` and ``int8``. What is promised of the policy is left out
            where it was certified on other outputs.
        calibration_data: of ``int8``: (images, labels) or images, normalised, without augmentation, of the training
            data; the first 256 are taken.
        statistics: of confusion on training data, so that engines can report it z-scored.
        static: write the unmodified backbone too, for `shallowdeep bench`.
        overwrite: replace a bundle that is there.
        least_agreement: share of the answers on ``calibration_data`` in ``int8`` that must be float32's, in [0, 1].

    Raises:
        ConfigurationError: the policy does not fit the network, or the runtime is not installed.
        ConversionError: the runtime's exporter cannot write a segment, or writes one that computes something else.
        DataError: ``calibration_data`` is no batch of normalised images.
        OutputError: the directory exists, or cannot be written.

    Example:
        >>> import tempfile, torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32)
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32), fractions=[0.5])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bundle = shallowdeep.export(network, shallowdeep.Policy((0.9,)), f"{folder}/bundle")
        ...     answers = shallowdeep.EarlyExitEngine(bundle)(torch.zeros(4, 3, 32, 32))
        >>> answers.labels.shape
        (4,)
    """
    if policy.abstention is not None and policy.abstention.indicator == CONFUSION and statistics is None:
        raise ConfigurationError("Expected statistics of confusion for a policy that abstains by it, got none")
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    exported = network if on_cpu else copy.deepcopy(network).cpu()
    images = None if calibration_data is None else _first_images(calibration_data, network.input_shape)
    return write_bundle(
        exported, policy, Path(directory), backend, Origin(confusion=statistics),
        precision=Precision(precision, images), static=static, overwrite=overwrite, least_equal=least_agreement,
    )  # fmt: skip


def _first_images(batches: Iterable[Any], shape: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Return the first images (n, C, H, W) of batches (images, labels), or of images alone.

    Raises:
        DataError: images of another shape, not in floating point, or with values that are not finite.
    """
    found: list[NDArray[np.float32]] = []
    for batch in batches:
        images = to_numpy(batch[0] if isinstance(batch, (tuple, list)) else batch)
        if shape is not None and images.shape[1:] != shape:
            raise DataError(f"Expected calibration_data of shape (N, {', '.join(map(str, shape))}), got {images.shape}")
        if not np.issubdtype(images.dtype, np.floating) or not np.isfinite(images).all():
            what = f"dtype {images.dtype}" if not np.issubdtype(images.dtype, np.floating) else "values that are not"
            raise DataError(f"Expected calibration_data of finite, normalised images in floating point, got {what}")
        found.append(images.astype(np.float32))
        if sum(map(len, found)) >= SCALING_IMAGES:
            break
    return np.concatenate(found)[:SCALING_IMAGES] if found else np.zeros((0,), np.float32)


def _finished(directory: Path, phases: Sequence[Phase], seed: int) -> bool:
    """Whether a directory holds this very training, finished; a new one is begun where it holds none.

    Raises:
        ConfigurationError: it holds a training with other settings.
        OutputError: it holds something else.
    """
    settings: dict[str, Any] = json.loads(json.dumps({"seed": seed, "phases": [asdict(phase) for phase in phases]}))
    path = directory / FIT
    if not path.exists():
        if any(not entry.name.startswith(".") for entry in directory.iterdir()):
            raise OutputError(f"Expected a new directory for the training, {directory} holds files but no {FIT}")
        write_json(path, settings)
        return False
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Expected the settings of a training in {path}, got: {error}") from error
    if known != settings:
        raise ConfigurationError(
            f"Expected the settings of the training in {directory}, as {path} has them, got others; give another folder"
        )
    return (directory / MODEL_MANIFEST).exists() and not (directory / TRAINING_STATE).exists()


def _take_over(network: ShallowDeepNetwork, directory: Path) -> None:
    """Put the weights of a finished training into the network."""
    done = load(directory, backbone=network.to_backbone())
    network.load_state_dict(done.state_dict())
    network.weights = done.weights
    network.eval()


class _OldBar(SilentBar):
    """Calls a function with the number of images of each step."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told

    def advance(self, count: int = 1, note: str = "") -> None:
        """Tell the function."""
        del note
        self._told(count)


class _OldProgress:
    """A function of the number of images, as progress once was."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told

    def start(self, what: str, unit: str, total: int | None, done: int = 0) -> Bar:
        """A bar that calls the function."""
        del what, unit, total, done
        return _OldBar(self._told)

    def say(self, message: str) -> None:
        """It was never told more."""
