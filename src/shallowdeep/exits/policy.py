"""A policy: signal, thresholds, exits in use, and what happens when none is confident. It knows nothing of modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device

from shallowdeep.errors import ConfigurationError, DataError, UnknownNameError
from shallowdeep.exits.abstention import Abstention
from shallowdeep.exits.arrays import Array
from shallowdeep.exits.choice import Found
from shallowdeep.exits.costs import CostModel
from shallowdeep.exits.ensemble import Ensemble
from shallowdeep.exits.promises import Promise
from shallowdeep.exits.signals import DEFAULT_SIGNAL, ENSEMBLE, SIGNALS, scan_exits

FALLBACKS = ("final", "most-confident")
NEVER = 2.0  # a threshold above every signal's range
_LOGITS_AXES = 3  # (E, N, C)
_CONFIDENCE_AXES = 2  # (E, N)


@dataclass(frozen=True)
class Policy:
    """When each sample stops, and who answers.

    Attributes:
        thresholds: one for each of the E-1 internal classifiers: a sample leaves there when its confidence is at
            least that. None switches the exit off: its head is not run. Above 1 no sample leaves there.
        signal: what is compared with the thresholds, one of `SIGNALS`.
        fallback: who answers when no exit was confident: ``final``, or ``most-confident`` of the exits seen (the
            paper's; of equally confident ones the first).
        temperatures: one for each of the E exits, above 0; logits are divided by them first. Empty for all 1.
        max_relative_cost: a sample that is not confident by then answers at the last exit within it; None for no limit.
        weights: SHA-256 of the weights file the policy was made for, or "".
        found: how it was found: rule, settings, splits; None where that is not known.
        promise: what is guaranteed, and with what assumptions; None for nothing.
        abstention: which answers are withheld; None for none.
        ensemble: weights of the signal ``ensemble``, for the exits in use; None for equal ones.

    Raises:
        ConfigurationError: a value out of range, or an ensemble for other exits or another signal.

    Example:
        >>> import shallowdeep
        >>> policy = shallowdeep.Policy((0.9, None, 0.8))  # the second of three internal classifiers is switched off
        >>> policy.exits, policy.in_use
        (4, (0, 2, 3))
    """

    thresholds: tuple[float | None, ...]
    signal: str = DEFAULT_SIGNAL
    fallback: str = "final"
    temperatures: tuple[float, ...] = ()
    max_relative_cost: float | None = None
    weights: str = ""
    found: Found | None = None
    promise: Promise | None = None
    abstention: Abstention | None = None
    ensemble: Ensemble | None = None

    def __post_init__(self) -> None:
        for what, name, known in (("signal", self.signal, SIGNALS), ("fallback rule", self.fallback, FALLBACKS)):
            if name not in known:
                raise UnknownNameError(what, name, known)
        for threshold in self.thresholds:
            if threshold is not None and not (threshold >= 0 and isfinite(threshold)):
                raise ConfigurationError(f"Expected thresholds of at least 0, got {threshold}")
        if self.temperatures and len(self.temperatures) != self.exits:
            raise ConfigurationError(f"Expected {self.exits} temperatures, got {len(self.temperatures)}")
        for temperature in self.temperatures:
            if not (temperature > 0 and isfinite(temperature)):
                raise ConfigurationError(f"Expected temperatures above 0, got {temperature}")
        if self.max_relative_cost is not None and not 0 < self.max_relative_cost < inf:
            raise ConfigurationError(f"Expected a highest relative cost above 0, got {self.max_relative_cost}")
        self._check_ensemble()

    def _check_ensemble(self) -> None:
        if self.ensemble is None:
            return
        if self.signal != ENSEMBLE:
            raise ConfigurationError(f"Expected the signal {ENSEMBLE!r} beside an ensemble, got {self.signal!r}")
        if self.ensemble.exits != len(self.in_use):
            raise ConfigurationError(
                f"Expected an ensemble of the {len(self.in_use)} exits in use, got one of {self.ensemble.exits}"
            )

    @property
    def exits(self) -> int:
        """E, the final classifier included."""
        return len(self.thresholds) + 1

    @property
    def in_use(self) -> tuple[int, ...]:
        """Exits that are not switched off, increasing; the final one is always among them."""
        return (*(k for k, threshold in enumerate(self.thresholds) if threshold is not None), self.exits - 1)

    def threshold_at(self, exit_: int) -> float:
        """Return the threshold of an exit in use; every sample leaves at the final one."""
        threshold = self.thresholds[exit_] if exit_ < len(self.thresholds) else 0.0
        if threshold is None:
            raise ConfigurationError(f"Expected an exit in use, got {exit_}, which is switched off")
        return threshold

    def temperature_at(self, exit_: int) -> float:
        """Return what an exit's logits are divided by."""
        return self.temperatures[exit_] if self.temperatures else 1.0

    def tempered(self, logits: Array) -> Array:
        """Return logits (E, N, C) of all exits, each divided by the exit's temperature.

        Raises:
            DataError: logits of another number of exits.
        """
        if logits.ndim != _LOGITS_AXES or logits.shape[0] != self.exits:
            raise DataError(f"Expected logits of {self.exits} exits (E, N, C), got {tuple(logits.shape)}")
        if not self.temperatures:
            return logits
        return array_namespace(logits).stack([logits[k, :, :] / self.temperatures[k] for k in range(self.exits)])

    def last_within(self, costs: Sequence[float]) -> int:
        """Return how many of the exits in use may be reached: all, or those within ``max_relative_cost``.

        Args:
            costs: (K,) relative cost of each exit in use.

        Raises:
            ConfigurationError: not even the first exit in use is within the limit.
        """
        if self.max_relative_cost is None:
            return len(costs)
        within = sum(cost <= self.max_relative_cost for cost in costs)
        if not within:
            raise ConfigurationError(
                f"Expected a highest relative cost of at least {costs[0]:.4f}, that of the first exit in use, "
                f"got {self.max_relative_cost}"
            )
        return within


def shared_threshold(threshold: float, exits: int, **settings: Any) -> Policy:  # noqa: ANN401 - a policy's fields
    """Return the paper's policy: one threshold for all E exits."""
    return Policy(thresholds=(threshold,) * (exits - 1), **settings)


class Decisions(NamedTuple):
    """What a policy does with N samples, in their order.

    Attributes:
        exits: (N,) integers, where each stopped, which is what it cost.
        answered_by: (N,) integers, whose answer it is; differs from ``exits`` under ``most-confident`` only.
        labels: (N,) integers in [0, C).
        confidences: (N,) of the answer, by the policy's signal.
        forced: (N,) bool, stopped by ``max_relative_cost`` without being confident.
    """

    exits: Array
    answered_by: Array
    labels: Array
    confidences: Array
    forced: Array


class ScannedExits(NamedTuple):
    """What a policy's signal says at the exits that it may reach, whatever its thresholds.

    Attributes:
        exits: K of them, those in use that are within the policy's cost limit.
        confidence: (K, N) in [0, 1].
        answers: (K, N) integers in [0, C).
    """

    exits: tuple[int, ...]
    confidence: Array
    answers: Array


def scan(policy: Policy, logits: Array, costs: CostModel | Sequence[float] | None = None) -> ScannedExits:
    """Return confidence and answer at every exit that a policy may reach.

    Args:
        policy: for E exits; its thresholds do not matter, only which exits are in use.
        logits: (E, N, C) floating, unnormalised.
        costs: of the E exits; needed where the policy limits cost.

    Raises:
        DataError: logits of another number of exits, or of classes than the policy's ensemble has.
        ConfigurationError: the policy's cost limit leaves no exit, or costs are needed and missing.
    """
    tempered = policy.tempered(logits)
    in_use = policy.in_use
    if policy.max_relative_cost is not None:
        if costs is None:
            raise ConfigurationError("Expected costs for a policy that limits them, got none")
        in_use = in_use[: policy.last_within(CostModel.of(costs).in_use(in_use).tolist())]
    xp = array_namespace(logits)
    used = xp.stack([tempered[k, :, :] for k in in_use])
    confidence, scores = scan_exits(policy.signal, used, len(policy.in_use), policy.ensemble)  # (K, N), (K, N, C)
    return ScannedExits(in_use, confidence, xp.argmax(scores, axis=-1))


def stop(policy: Policy, scanned: ScannedExits) -> Decisions:
    """Return what a policy's thresholds make of a scan of its exits.

    Thresholds are rounded to the confidence's dtype before the comparison, as in an engine.

    Args:
        policy: with the exits in use, signal and cost limit that were scanned.
        scanned: see `scan`.
    """
    xp, in_use, confidence = array_namespace(scanned.confidence), scanned.exits, scanned.confidence
    limits = [policy.threshold_at(k) for k in in_use]
    place = first_confident_exit(confidence, limits[:-1])
    samples = xp.arange(confidence.shape[1], device=device(confidence))
    limited = in_use[-1] < policy.exits - 1
    unsure = place == len(in_use) - 1
    if limited:  # a sample that is confident at the last exit within the limit was not stopped by it
        unsure = unsure & (confidence[-1, :] < _rounded(limits[-1], confidence))
    answer_place = place
    if policy.fallback == "most-confident":
        answer_place = xp.where(unsure, xp.argmax(confidence, axis=0), place)
    numbers = xp.asarray(in_use, device=device(confidence))
    return Decisions(
        exits=numbers[place],
        answered_by=numbers[answer_place],
        labels=scanned.answers[answer_place, samples],
        confidences=confidence[answer_place, samples],
        forced=unsure if limited else xp.zeros_like(unsure),
    )


def decide(policy: Policy, logits: Array, costs: CostModel | Sequence[float] | None = None) -> Decisions:
    """Return what the policy does, given every exit's logits: the reference every engine must agree with.

    Args:
        policy: for E exits.
        logits: (E, N, C) floating, unnormalised.
        costs: (E,) of the exits, relative to the backbone, such as `ExitPredictions.costs`; needed where the policy
            limits cost.

    Raises:
        DataError: logits of another number of exits, or of classes than the policy's ensemble has.
        ConfigurationError: the policy's cost limit leaves no exit, or costs are needed and missing.

    Example:
        >>> import numpy as np, shallowdeep
        >>> logits = np.array([[[4.0, 0.0], [0.1, 0.0]], [[0.0, 4.0], [0.0, 4.0]]], np.float32)  # (2, 2, 2)
        >>> decisions = shallowdeep.decide(shallowdeep.Policy((0.9,)), logits)
        >>> decisions.exits.tolist(), decisions.labels.tolist()
        ([0, 1], [0, 1])
    """
    return stop(policy, scan(policy, logits, costs))


def first_confident_exit(confidence: Array, thresholds: float | Sequence[float]) -> Array:
    """Return the first exit whose confidence reaches its threshold, the last exit where none does.

    Thresholds are rounded to the confidence's dtype before the comparison, so that NumPy, torch and an engine agree on
    samples that lie on one.

    Args:
        confidence: (E, N) floating, larger = surer; the last exit's row does not matter.
        thresholds: one for all exits, or (E-1,); each at least 0. 0 stops every sample of a signal in [0, 1] at that
            exit, above 1 none.

    Returns:
        (N,) integers in [0, E), on the device of ``confidence``.

    Raises:
        DataError: ``confidence`` is not (E, N) floating with at least one exit.
        ConfigurationError: a threshold that is negative or not a number, or another number of them.

    Source: Kaya, Hong, Dumitras, "Shallow-Deep Networks", ICML 2019, section 4: one threshold for all exits. Their
    code answers with the most confident of all exits where none is confident; here the final classifier answers.
    """
    if confidence.ndim != _CONFIDENCE_AXES or confidence.shape[0] == 0:
        raise DataError(f"Expected confidence of shape (exits, samples), got {tuple(confidence.shape)}")
    xp = array_namespace(confidence)
    if not xp.isdtype(confidence.dtype, "real floating"):
        raise DataError(f"Expected floating confidence, got dtype {confidence.dtype}")
    early = confidence.shape[0] - 1
    limits = [thresholds] * early if isinstance(thresholds, (int, float)) else list(thresholds)
    if len(limits) != early:
        raise ConfigurationError(f"Expected a threshold for each of {early} exits before the last, got {len(limits)}")
    for limit in [thresholds] if isinstance(thresholds, (int, float)) else limits:
        if not limit >= 0:  # also true of nan
            raise ConfigurationError(f"Expected a threshold of at least 0, got {limit}")
    confident = confidence[:-1, :] >= _rounded(limits, confidence)[:, None]  # (E-1, N)
    last = xp.ones_like(confidence[-1:, :], dtype=xp.bool)  # samples that get to the last exit stop there
    stops = xp.concat([confident, last], axis=0)
    return xp.argmax(xp.astype(stops, xp.uint8), axis=0)  # of equal values argmax gives the first


def _rounded(thresholds: float | Sequence[float], like: Array) -> Array:
    """Return thresholds in the dtype of a confidence, on its device."""
    return array_namespace(like).asarray(thresholds, dtype=like.dtype, device=device(like))
