"""What stands for an array here: anything of the array API standard, NumPy and torch among them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, to_device

# The array API has no static type that numpy.ndarray and torch.Tensor both satisfy under strict typing.
Array: TypeAlias = Any

_namespaces: dict[type, Any] = {}


def namespace_of(array: Array) -> Any:  # noqa: ANN401 - namespaces have no static type
    """Return the array API namespace of an array, remembered by type: looking it up costs as much as a small sum."""
    kind = type(array)
    found = _namespaces.get(kind)
    if found is None:
        found = _namespaces[kind] = array_namespace(array)
    return found


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """Return an array's values as a NumPy array on the host.

    Args:
        array: any shape and dtype, of any array API library, on any device; gradients are left behind.

    Returns:
        The same shape and dtype, float32 for bfloat16, which NumPy has not; shares memory with ``array`` where it can,
        so do not write to it.
    """
    if type(array) is np.ndarray:
        return array
    if hasattr(array, "detach"):
        array = array.detach()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    return np.asarray(to_device(array, "cpu"))
