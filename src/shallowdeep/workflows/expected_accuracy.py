"""Whether a backbone with the weights it starts from is as accurate as its owner says, before anything is trained."""

from __future__ import annotations

from shallowdeep.analysis.accuracy import correctness
from shallowdeep.context import RunContext
from shallowdeep.data.any_preprocessing import images_alone
from shallowdeep.data.data_splits import DataSplits
from shallowdeep.errors import ConfigurationError
from shallowdeep.runs.config import TrainConfig
from shallowdeep.runs.preprocessing_choice import OPTIONS, described
from shallowdeep.runs.splits import predict_split
from shallowdeep.sdn.network import ShallowDeepNetwork


def require_accuracy(config: TrainConfig, network: ShallowDeepNetwork, data: DataSplits, context: RunContext) -> str:
    """Return one line that says the accuracy of the backbone on the test part, where it is as high as expected.

    The test part is read for this check alone: nothing is chosen by it.

    Args:
        config: with ``expect_accuracy``, in (0, 1], and where the weights are from.
        network: with its starting weights; its final exit is the backbone.
        data: with images that the weights have not been trained on as ``test``.
        context: how it is run.

    Raises:
        ConfigurationError: it is lower.
    """
    right = correctness(predict_split(network, data.test, data.preprocessing, context))[-1]
    accuracy, expected = int(right.sum()) / len(right), config.expect_accuracy
    source = config.weights or config.init or "published weights"
    found = f"{accuracy:.4f} ({int(right.sum()):,} of {len(right):,} test images)"
    if accuracy < expected:
        raise ConfigurationError(
            f"Expected an accuracy of at least {expected:g} of the backbone with {source}, got {found}; it may want "
            f"another preprocessing than {described(images_alone(data.preprocessing))} ({OPTIONS}) or another order of "
            "classes"
        )
    return f"The backbone with {source} has an accuracy of {found}, at least {expected:g} as expected"
