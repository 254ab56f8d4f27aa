"""A graph quantised after training to 8-bit integers; layers that cost too much accuracy stay in floating point."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shallowdeep.data.text import lengths_of
from shallowdeep.errors import ConversionError, one_line
from shallowdeep.inference.openvino_core import beside_other_cores, core
from shallowdeep.inference.precision import Judged
from shallowdeep.inference.telemetry import without_telemetry

MOST_LOST = 0.005  # of the mean accuracy of all outputs, on ``tune``, before layers go back to floating point
_BATCH = 32  # images at a time
_LOGITS_RANK = 2

Graph = Any  # openvino.Model, which has no types


def quantised(graph: Graph, images: NDArray[Any], judged: Judged | None = None) -> Graph:
    """Return a graph with fake quantisation.

    Args:
        graph: from images to logits, one output an exit.
        images: (n, C, H, W) float32, or token ids (n, L), that scales are found by.
        judged: what it is judged on: where it loses more than half a point there, the layers that lose most stay in
            floating point until it does not. None for no look at accuracy.

    Raises:
        ConversionError: it cannot be quantised.
    """
    quiet = _quiet("torch.utils.cpp_extension", "nncf")  # that there is no CUDA
    with beside_other_cores(), redirect_stdout(io.StringIO()), quiet:  # bars
        with without_telemetry():
            import nncf  # noqa: PLC0415 - of an extra

        data = nncf.Dataset([_fitted(batch) for batch in _batches(images)])
        settings = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": -(-len(images) // _BATCH)}
        if attends(graph):  # what is added to attention, minus infinity among it, and norms stay in floating point
            settings["model_type"] = nncf.ModelType.TRANSFORMER
        try:
            found = nncf.quantize(graph, data, **settings)
            if judged is None or accuracy(graph, judged) - accuracy(found, judged) <= MOST_LOST:
                return found
            inputs = [_fitted(batch) for batch in _batches(judged.images)]
            parts = list(zip(inputs, _batches(judged.labels), strict=True))
            return nncf.quantize_with_accuracy_control(
                graph,
                calibration_dataset=data,
                validation_dataset=nncf.Dataset(parts, lambda part: part[0]),
                validation_fn=_validated,
                max_drop=MOST_LOST,
                **settings,
            )
        except (RuntimeError, ValueError, nncf.InternalError) as error:
            raise ConversionError(f"Expected a network that can be quantised, got {one_line(error)}") from error


def attends(graph: Graph) -> bool:
    """Whether a graph has attention: softmax over the last of three or more dimensions."""
    return any(
        node.get_type_name() == "ScaledDotProductAttention"
        or (node.get_type_name() == "Softmax" and len(node.get_output_partial_shape(0)) > _LOGITS_RANK)
        for node in graph.get_ops()
    )


def accuracy(graph: Graph, judged: Judged) -> float:
    """Return the share of right answers, a mean over all outputs of a graph."""
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return _validated(compiled, zip(_batches(judged.images), _batches(judged.labels), strict=True))[0]


def _validated(compiled: Any, parts: Iterable[Any]) -> tuple[float, list[float]]:  # noqa: ANN401 - openvino has no types
    """The accuracy of a compiled graph, a mean over outputs and images; and of each part."""
    right: list[NDArray[np.float64]] = []
    for images, labels in parts:
        outputs = compiled(_fitted(images)).values()
        answers = np.stack([np.asarray(logits).argmax(axis=-1) for logits in outputs])  # (outputs, n)
        right.append((answers == labels).mean(axis=0))
    return float(np.concatenate(right).mean()), [float(part.mean()) for part in right]


def _fitted(batch: NDArray[Any]) -> NDArray[Any]:
    """A batch as a graph reads it: token ids without columns of padding alone."""
    if batch.dtype.kind == "i":
        batch = batch[:, : max(1, int(lengths_of(batch).max(initial=0)))]
    return np.ascontiguousarray(batch)


def _batches(values: NDArray[Any]) -> list[NDArray[Any]]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let loggers tell errors alone inside the block."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
