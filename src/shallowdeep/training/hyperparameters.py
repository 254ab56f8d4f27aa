"""How one phase of training updates weights: schedules, hyper-parameters, and the presets' values.

Schedules are given in shares of training, so that they scale with ``--epochs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shallowdeep.errors import ConfigurationError, UnknownNameError

PRESETS = ("short", "paper")
OPTIMIZERS = ("sgd", "muon", "adam", "adamw")
BACKBONE, HEADS, EVERYTHING = TRAINED_PARTS = ("backbone", "heads", "everything")
"""What a phase trains: the backbone alone, internal classifiers on a frozen backbone, or both together."""

FINE_TUNED = "hf:"
LARGEST_RATE = 1e6  # none near it trains anything; optimisers fail on rates beyond float32
SOURCE_MARK = (
    ":"  # in names of networks that are not the project's: torchvision:NAME, timm:NAME, package.module:callable
)
FLOOR = 1e-3  # of the peak; where one-cycle starts and ends


@dataclass(frozen=True)
class Steps:
    """The rate times ``factor`` after each of ``milestones``, given as shares of training.

    Source: Kaya et al. 2019: times 0.1 after epochs 35, 60 and 85 of 100; internal classifiers after 15 of 25.
    """

    milestones: tuple[float, ...]
    factor: float = 0.1

    def multiplier(self, done: float) -> float:
        """Share of the peak learning rate when ``done`` in [0, 1] of training is done."""
        return self.factor ** sum(done >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class OneCycle:
    """Up in a straight line during ``warmup``, down to 0 along a cosine; strong when epochs are few."""

    warmup: float = 0.2

    def multiplier(self, done: float) -> float:
        """Share of the peak learning rate when ``done`` in [0, 1] of training is done."""
        if done < self.warmup:
            return FLOOR + (1 - FLOOR) * done / self.warmup
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))


Schedule = Steps | OneCycle


_PAPER_STEPS = Steps((0.35, 0.60, 0.85))


@dataclass(frozen=True)
class Hyperparameters:
    """How one phase of training updates weights.

    Attributes:
        epochs: passes over the training split.
        batch_size: images a step, over all devices together.
        optimizer: ``sgd`` (with momentum), ``muon`` (for convolutions, beside SGD), ``adam``, or ``adamw`` (decoupled
            weight decay).
        learning_rate: the peak.
        momentum: of SGD.
        nesterov: Nesterov's momentum.
        weight_decay: L2 penalty; on every parameter in the ``paper`` preset, else not on biases and norms.
        decay_all: see ``weight_decay``.
        schedule: learning rate over training.
        views: augmented copies of each image in the feature cache (``ic-only``).
        equilibrium: give the trunk the mean of all downstream gradients instead of their sum (joint training).
        exit_weight: of every internal classifier's loss; 0 for the paper's rising weights (joint training).
        distillation: share of the internal classifiers' loss that the final exit teaches, in [0, 1); 0 for none.
        temperature: of that teaching.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_all: bool
    schedule: Schedule
    views: int = 5
    equilibrium: bool = False
    exit_weight: float = 0.0
    distillation: float = 0.0
    temperature: float = 3.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "views"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} of at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate <= LARGEST_RATE:
            raise ConfigurationError(f"Expected a learning rate in (0, {LARGEST_RATE:g}], got {self.learning_rate}")


_PAPER_SGD = Hyperparameters(
    epochs=100, batch_size=128, optimizer="sgd", learning_rate=0.1, momentum=0.9, nesterov=False,
    weight_decay=5e-4, decay_all=True, schedule=_PAPER_STEPS,
)  # fmt: skip
_SHORT_SGD = Hyperparameters(
    epochs=16, batch_size=128, optimizer="sgd", learning_rate=0.2, momentum=0.9, nesterov=True,
    weight_decay=5e-4, decay_all=False, schedule=OneCycle(0.2),
)  # fmt: skip
_SHORT_SGD_JOINT = replace(_SHORT_SGD, learning_rate=0.1)  # the exits' gradients add up in the trunk
_SHORT_MUON = replace(_SHORT_SGD, optimizer="muon", learning_rate=0.03)  # its steps do not grow with the gradients
_SHORT_ADAMW = Hyperparameters(
    epochs=16, batch_size=64, optimizer="adamw", learning_rate=1e-3, momentum=0.9, nesterov=False,
    weight_decay=0.05, decay_all=False, schedule=OneCycle(0.2),
)  # fmt: skip
_FINE_TUNING = Hyperparameters(
    epochs=3, batch_size=32, optimizer="adamw", learning_rate=1e-4, momentum=0.9, nesterov=False,
    weight_decay=0.01, decay_all=False, schedule=OneCycle(0.1),
)  # fmt: skip
_PAPER_ADAM = Hyperparameters(
    epochs=25, batch_size=128, optimizer="adam", learning_rate=1e-3, momentum=0.9, nesterov=False,
    weight_decay=0.0, decay_all=True, schedule=Steps((0.6,)),
)  # fmt: skip
_WITHOUT_SHORTCUTS, _LOWER_RATE = "vgg", 0.05  # at .2 one of two VGG-16 broke off, its loss not finite
_PAPER_LIGHT_DECAY = ("resnet", "mobilenet")  # the networks the paper decays by 1e-4


def fine_tuned(model: str) -> bool:
    """Whether a model's name stands for weights that are trained a little further, as those of `transformers` do."""
    return model.startswith(FINE_TUNED)


def hyperparameters(trains: str, model: str, preset: str = "short", optimizer: str = "") -> Hyperparameters:
    """Hyper-parameters of a phase, by what it trains.

    Args:
        trains: one of `TRAINED_PARTS`.
        model: the model's name; the paper decays ResNet and MobileNet by 1e-4, VGG and WideResNet by 5e-4.
        preset: ``paper`` or ``short`` (one cycle, made for 8 to 30 epochs: Muon for the paper's networks, AdamW for
            those of other sources, which are of any kind); both train heads alone by the paper's.
        optimizer: ``sgd``, ``muon`` or ``adamw`` instead of the one that ``short`` takes; "" for that.

    Raises:
        UnknownNameError: preset or optimiser is unknown.
        ConfigurationError: an optimiser for a phase or preset that has the paper's.

    Source: Kaya et al. 2019, appendix; the authors' code.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    if optimizer and (trains == HEADS or preset == "paper"):
        raise ConfigurationError(
            f"Expected no --optimizer beside the recipe 'ic-only' or the preset 'paper', got {optimizer!r}"
        )
    if trains == HEADS:
        return _PAPER_ADAM
    if preset == "paper":
        return replace(_PAPER_SGD, weight_decay=1e-4) if model.startswith(_PAPER_LIGHT_DECAY) else _PAPER_SGD
    sgd = _SHORT_SGD_JOINT if trains == EVERYTHING else _SHORT_SGD
    if model.startswith(_WITHOUT_SHORTCUTS):
        sgd = replace(sgd, learning_rate=_LOWER_RATE)
    adamw = _FINE_TUNING if fine_tuned(model) else _SHORT_ADAMW
    known = {"muon": _SHORT_MUON, "sgd": sgd, "adamw": adamw}
    chosen = optimizer or ("adamw" if SOURCE_MARK in model else "muon")
    if chosen not in known:
        raise UnknownNameError("optimizer", chosen, known)
    return known[chosen]
