"""The last layer of a classifier, found and replaced."""

from __future__ import annotations

from torch import nn

from shallowdeep.errors import ModelError


def replace_classifier(network: nn.Module, old_classes: int, num_classes: int) -> None:
    """Gives a trained network a fresh last layer for another number of classes, in place.

    The layer replaced is the last registered linear layer, or 1x1 convolution, with one output per old class.

    Args:
        network: a classifier of `old_classes`.
        old_classes: how many outputs the last layer has; where it equals `num_classes` nothing is replaced.
        num_classes: how many it shall have.

    Raises:
        ModelError: no layer has that many outputs.
    """
    if num_classes == old_classes:
        return
    for name, module in reversed(list(network.named_modules())):
        parent_name, _, child = name.rpartition(".")
        if isinstance(module, nn.Linear) and module.out_features == old_classes:
            fresh: nn.Module = nn.Linear(module.in_features, num_classes, bias=module.bias is not None)
        elif isinstance(module, nn.Conv2d) and module.out_channels == old_classes and module.kernel_size == (1, 1):
            fresh = nn.Conv2d(module.in_channels, num_classes, 1, bias=module.bias is not None)
        else:
            continue
        network.get_submodule(parent_name).register_module(child, fresh)
        return
    raise ModelError(f"Expected a last layer with {old_classes} outputs in {type(network).__name__}, got none")
