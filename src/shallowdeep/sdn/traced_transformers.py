"""Attention and its masks in `transformers`: functions that run whole in a graph.

Helpers make masks, and leave them out where they mask nothing; attention looks at whether there is one. No graph can
branch so. The helpers read the size, dtype and device of the embeddings and nothing else of them, so a stage that
begins later can call them again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn

_MODULE, _MODELS = "transformers.masking_utils", "transformers.modeling_utils"
_REGISTRY = "ALL_ATTENTION_FUNCTIONS"
_PLAIN = "create_bidirectional_mask"
_EMBEDDINGS = ("inputs_embeds", "input_embeds")  # what they call the tensor whose size they read


class MaskHelper:
    """Calls one of these helpers with the sizes of embeddings instead of the embeddings; stands in generated code.

    Args:
        name: of the helper.
    """

    def __init__(self, name: str) -> None:
        self.__name__, self.__module__ = name, __name__
        self._name = name

    def __call__(
        self,
        batch: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
        **others: Any,  # noqa: ANN401 - the helper's own
    ) -> Tensor | None:
        """Return the mask, or None where nothing is masked.

        Args:
            batch: samples.
            length: tokens of the embeddings.
            dtype: of the embeddings.
            device: of the embeddings.
            **others: of the helper.
        """
        helper = getattr(importlib.import_module(_MODULE), self._name)
        mask: Tensor | None = helper(inputs_embeds=torch.empty(batch, length, 0, dtype=dtype, device=device), **others)
        added = getattr(others.get("config"), "_attn_implementation", "") == "eager"
        if mask is None and added:  # such code adds the mask; it was traced where there is one
            return torch.zeros(1, 1, 1, 1, dtype=dtype, device=device)
        return mask

    def __reduce__(self) -> tuple[Callable[[str], MaskHelper], tuple[str]]:
        """How pickle makes it anew."""
        return _helper, (self._name,)


class AttentionFunction:
    """Calls an attention function that `transformers` has registered; stands in generated code.

    Args:
        name: of the implementation, such as ``sdpa``.
    """

    def __init__(self, name: str) -> None:
        self.__name__, self.__module__ = f"attention_{name}", __name__
        self._name = name

    def __call__(self, *args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - the function's own
        """Return what the function does."""
        registered = importlib.import_module(_MODELS).ALL_ATTENTION_FUNCTIONS
        return registered[self._name](*args, **keywords)

    def __reduce__(self) -> tuple[Callable[[str], AttentionFunction], tuple[str]]:
        """How pickle makes it anew."""
        return _attention, (self._name,)


@cache
def _attention(name: str) -> AttentionFunction:
    """One object for each name, so that graphs of two traces can be compared."""
    return AttentionFunction(name)


class _TracedFunctions:
    """Stands for the registry of attention functions while a network is traced."""

    def __init__(self, registered: Any, tracer: fx.Tracer) -> None:  # noqa: ANN401 - transformers' class
        self._registered, self._tracer = registered, tracer

    def get_interface(self, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        """Return a registered function as a node of the graph, or the default, which is traced."""
        found = self._registered.get_interface(name, default)
        return found if found is default else self[name]

    def __getitem__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - the function's own
            return self._tracer.create_proxy("call_function", _attention(name), args, keywords)

        return call

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the registry has
        return getattr(self._registered, name)


@contextmanager
def running_whole(backbone: nn.Module, tracer: fx.Tracer) -> Iterator[None]:
    """Let the code of a network call `MaskHelper` and `AttentionFunction` while it is traced, inside the block.

    Args:
        backbone: whose modules' files name the helpers; nothing is done where `transformers` is not imported.
        tracer: that makes the graph.
    """
    masking = sys.modules.get(_MODULE)
    files = {type(module).__module__ for module in backbone.modules()} if masking is not None else set()
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for namespace in (vars(sys.modules[file]) for file in sorted(files) if file in sys.modules):
        for name, value in list(namespace.items()):
            if _is_helper(name) and value is getattr(masking, name, None):
                replaced.append((namespace, name, value))
                namespace[name] = _traced(name, value, tracer)
            elif name == _REGISTRY:
                replaced.append((namespace, name, value))
                namespace[name] = _TracedFunctions(value, tracer)
    try:
        yield
    finally:
        for namespace, name, value in replaced:
            namespace[name] = value


def _is_helper(name: str) -> bool:
    return name.startswith("create_") and name.endswith("_mask")


def _traced(name: str, helper: Any, tracer: fx.Tracer) -> Callable[..., Any]:  # noqa: ANN401 - a function
    """What stands for a helper: a node of the graph where it is given a traced value, else itself."""

    def call(*args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - the helper's own
        place = next((key for key in _EMBEDDINGS if key in keywords), None)
        embeddings = None if place is None else keywords[place]
        if args or not isinstance(embeddings, fx.Proxy):
            return helper(*args, **keywords)
        others = {key: value for key, value in keywords.items() if key != place}
        if name == _PLAIN and not any(isinstance(value, fx.Proxy) for value in others.values()):
            return helper(**{str(place): torch.empty(1, 1, 0)}, **others)  # there is nothing to mask, at any size
        shape: Any = embeddings.shape
        sizes = {"batch": shape[0], "length": shape[1], "dtype": embeddings.dtype, "device": embeddings.device}
        return tracer.create_proxy("call_function", _helper(name), (), {**sizes, **others})

    return call


@cache
def _helper(name: str) -> MaskHelper:
    """One object for each name, so that graphs of two traces can be compared."""
    return MaskHelper(name)
