"""Scores that tell triggered inputs from clean ones, larger = likelier triggered, and what each costs.

All look at the same inputs. Activation clustering and spectral signatures were made to clean training sets: they look
at many inputs together, grouped by class; here the class is the network's answer, or a training set's label.

Source: Gao et al., "STRIP", ACSAC 2019; Chen et al., "Detecting backdoor attacks on deep neural networks by activation
clustering", 2018; Tran, Li, Madry, "Spectral signatures in backdoor attacks", NeurIPS 2018. The latter two are those of
the Adversarial Robustness Toolbox. Its STRIP returns no scores and takes entropies across inputs, so that is ours.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shallowdeep.analysis.error_detection import detection, detection_intervals
from shallowdeep.audits.backdoor_audit import DetectorFigures
from shallowdeep.errors import ConfigurationError
from shallowdeep.security.poisoning import toolbox

OVERLAYS = 64
"""Clean images that STRIP superimposes on each input."""

Scores = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
_FEWEST = 10  # inputs of a class that can be clustered in ten dimensions
_WHITE = 255


def penultimate(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the last linear layer to run reads, flattened (N, F), and the network's output.

    Raises:
        ConfigurationError: no linear layer runs.
    """
    seen: list[Tensor] = []
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for module in linear]
    try:
        with torch.no_grad():
            output = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise ConfigurationError("Expected a network with a linear layer to read features from, found none")
    return seen[-1].flatten(1), output


def strip_scores(
    predict: Callable[[Tensor], Tensor], images: Tensor, overlays: Tensor, *, count: int = OVERLAYS, seed: int = 0
) -> Scores:
    """Return minus the mean entropy of the answers to superpositions with clean images: a trigger shines through.

    Args:
        predict: images (N, 3, S, S) uint8 to logits (N, C).
        images: (N, 3, S, S) uint8.
        overlays: (M, 3, S, S) uint8, clean ones; pixels are added up to white at most, as the authors do.
        count: superpositions of each image, the forward passes that an input costs.
        seed: of their choice.

    Returns:
        (N,), at most 0.
    """
    chosen = torch.from_numpy(np.random.default_rng(seed).integers(len(overlays), size=(len(images), count)))
    scores = []
    for image, places in zip(images, chosen, strict=True):
        mixed = (image.int() + overlays[places].int()).clamp(max=_WHITE).to(torch.uint8)
        log_p = torch.log_softmax(predict(mixed).double(), dim=-1)
        scores.append(float((log_p.exp() * log_p).sum(-1).mean()))
    return np.asarray(scores)


def spectral_scores(features: Floats, classes: NDArray[np.int64]) -> Scores:
    """Return how far each input lies along the first singular direction of its class, over the class's median.

    Args:
        features: (N, F).
        classes: (N,) of each.
    """
    defence = toolbox("art.defences.detector.poison.spectral_signature_defense").SpectralSignatureDefense
    scores = np.zeros(len(features))
    for rows in _by_class(classes):
        centred = features[rows] - features[rows].mean(axis=0)  # the toolbox centres for the direction only
        found = np.asarray(defence.spectral_signature_scores(centred), dtype=np.float64).reshape(-1)
        scores[rows] = found / max(float(np.median(found)), 1e-12)
    return scores


def clustering_scores(features: Floats, classes: NDArray[np.int64]) -> Scores:
    """Return how much nearer each input lies to the smaller of its class's two clusters than to the larger.

    Distances are in the ten dimensions that the clusters were found in, over the distance of the two centres. A class
    whose smaller cluster is not much smaller, or lies as close as clean data's would, says little: scores are scaled by
    the silhouette of its clusters.

    Args:
        features: (N, F).
        classes: (N,) of each.
    """
    defence = toolbox("art.defences.detector.poison.activation_defence")
    metrics: Any = importlib.import_module("sklearn.metrics")
    scores = np.zeros(len(features))
    for rows in _by_class(classes):
        clusters, reduced = defence.cluster_activations(
            [features[rows]], nb_clusters=2, nb_dims=10, reduce="PCA", clustering_method="KMeans"
        )
        assigned, points = np.asarray(clusters[0]), np.asarray(reduced[0], dtype=np.float64)
        sizes = np.bincount(assigned, minlength=2)
        if not sizes.all():
            continue
        centres = [points[assigned == one].mean(axis=0) for one in (sizes.argmin(), 1 - sizes.argmin())]
        near, far = (np.linalg.norm(points - centre, axis=1) for centre in centres)
        apart = max(float(np.linalg.norm(centres[0] - centres[1])), 1e-12)
        scores[rows] = float(metrics.silhouette_score(points, assigned)) * (far - near) / apart
    return scores


def detector_block(
    scores: Scores, triggered: NDArray[np.bool_], *, passes: int, note: str, resamples: int = 1000
) -> DetectorFigures:
    """Return what one detector is worth.

    Args:
        scores: (N,), larger = likelier triggered.
        triggered: (N,) whether each input is.
        passes: of the network for each input.
        note: what the detector looks at.
        resamples: for intervals; 0 for none.
    """
    figures = detection(scores, triggered)
    bounds = detection_intervals({"score": scores}, triggered, resamples)["score"] if resamples else {}
    intervals = {name: bounds[name] for name in ("auroc", "fpr95") if name in bounds}
    return DetectorFigures(figures.auroc, figures.fpr95, intervals, passes, note)


def _by_class(classes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of every class that has enough of them."""
    rows = [np.flatnonzero(classes == one) for one in np.unique(classes)]
    return [found for found in rows if len(found) >= _FEWEST]
