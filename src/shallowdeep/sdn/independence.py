"""Whether an answer depends on its own image only, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from shallowdeep.errors import ConversionError
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.inputs import Inputs, by_name, lengthened, like, random_like, run_on
from shallowdeep.sdn.logits import logits_of

_COUNT = 3  # images in the batch
_PADDING = 8  # tokens
_ROUNDING = 1e-4  # of the largest logit in float32: kernels differ by the size of the batch
_EXACT = 1e-9  # in float64
_SURELY = 1e-2  # in float32, where float64 cannot run


def check_independence(backbone: nn.Module, example: Inputs) -> None:
    """Refuse a classifier whose answer to an image changes with the other images of its batch, in eval mode.

    Samples leave a batch when they are done, and a promise is about each image: with such a network neither holds.

    Args:
        backbone: left as it is.
        example: (N, ...), or several of them by name; shapes, and the range of integers, are used.

    Raises:
        ConversionError: naming the module whose output mixes images.
    """
    images = random_like(example, _COUNT, _ids(backbone))
    with torch.no_grad(), evaluating(backbone):
        gap = _gap(partial(run_on, backbone), images)
        if gap <= _ROUNDING:
            return
        double = _in_double(backbone, images)
        run, gap, limit = double or (partial(run_on, backbone), gap, _SURELY)
        if gap <= limit:
            return
        path = _first_mixing(backbone, run, images if double is None else _doubled(images), limit)
    name = type(backbone).__name__
    where = f"{path} ({type(backbone.get_submodule(path)).__name__})" if path else f"{name}.forward"
    raise ConversionError(
        f"Expected answers of {name} that depend on each image alone, but {where} mixes the images of a batch in eval "
        "mode, as BatchNorm without running statistics does: no promise would hold, and no image could leave a batch"
    )


def check_padding(backbone: nn.Module, example: Inputs) -> None:
    """Refuse a text classifier whose answer changes with padding behind the text, in eval mode.

    Texts of a batch are padded to its longest, and the engine cuts what is left: answers must not depend on either.

    Args:
        backbone: left as it is.
        example: (N, L) token ids, or several inputs by name with a mask; others are not looked at.

    Raises:
        ConversionError: it does.
    """
    padding = getattr(getattr(backbone, "config", None), "pad_token_id", None)
    texts = random_like(example, _COUNT, _ids(backbone))
    longer = lengthened(texts, _PADDING, 0 if padding is None else int(padding))
    if longer is None:
        return
    with torch.no_grad(), evaluating(backbone):
        gap, limit = _change(_double_run(backbone), texts, longer), _EXACT
        if gap is None:
            gap, limit = _change(partial(run_on, backbone), texts, longer), _SURELY
    if gap is None:  # it takes no longer texts
        return
    if gap > limit:
        raise ConversionError(
            f"Expected answers of {type(backbone).__name__} that do not depend on padding, but {_PADDING} tokens of it "
            f"change the logits by {gap:.2g} of the largest: texts of a batch would change each other's answers"
        )


def _change(run: Run, one: Inputs, other: Inputs) -> float | None:
    """Largest difference between the logits of two batches, as a share of the largest; None where one cannot run."""
    try:
        first, second = (logits_of(run(batch)) for batch in (one, other))
    except Exception:  # noqa: BLE001 - whatever a forward raises
        return None
    return float((first - second).abs().max() / first.abs().max().clamp_min(1e-30))


def _ids(backbone: nn.Module) -> int:
    """How many ids every embedding of a network has."""
    sizes = [module.num_embeddings for module in backbone.modules() if isinstance(module, nn.Embedding)]
    return min(sizes, default=0)


Run = Callable[[Inputs], Any]


def _in_double(backbone: nn.Module, images: Inputs) -> tuple[Run, float, float] | None:
    """The same comparison in float64, where the network allows it."""
    run = _double_run(backbone)
    try:
        return run, _gap(run, _doubled(images)), _EXACT
    except Exception:  # noqa: BLE001 - a forward with constants of its own may raise anything
        return None


def _double_run(backbone: nn.Module) -> Run:
    """Runs a network with its numbers in float64."""
    tensors = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}

    def run(inputs: Inputs) -> Any:  # noqa: ANN401 - what the network returns
        given = (inputs, None) if isinstance(inputs, Tensor) else ((), dict(inputs))
        return functional_call(backbone, doubled, *given)

    return run


def _doubled(inputs: Inputs) -> Inputs:
    """Floating-point inputs in float64."""
    named = by_name(inputs)
    return like(inputs, {key: value.double() if value.is_floating_point() else value for key, value in named.items()})


def _rows(inputs: Inputs, first: int, last: int) -> Inputs:
    """Some samples of a batch."""
    return like(inputs, {key: value[first:last] for key, value in by_name(inputs).items()})


def _gap(run: Run, images: Inputs) -> float:
    """Largest difference between logits of a batch and of each image alone, as a share of the largest logit."""
    together = logits_of(run(images))
    alone = torch.cat([logits_of(run(_rows(images, place, place + 1))) for place in range(_COUNT)])
    if not isinstance(together, Tensor) or together.shape != alone.shape:
        return 0.0  # refused elsewhere, with a better reason
    together, alone = together.nan_to_num().double(), alone.nan_to_num().double()
    return float((together - alone).abs().max() / alone.abs().max().clamp_min(1e-30))


def _first_mixing(backbone: nn.Module, run: Run, images: Inputs, limit: float) -> str:
    """Path of the first module, the innermost of those that begin together, whose output differs; "" for the root."""
    alone = _outputs(backbone, run, _rows(images, 0, 1))
    for path, output in _outputs(backbone, run, images).items():
        own = alone.get(path)
        if own is None or len(output) != _COUNT * len(own):
            continue
        part, own = output[: len(own)].nan_to_num(), own.nan_to_num()
        if (part - own).abs().max() > limit * own.abs().max():
            return path
    return ""


def _outputs(backbone: nn.Module, run: Run, images: Inputs) -> dict[str, Tensor]:
    """Outputs of modules that are single tensors, by path, in the order in which they were done."""
    found: dict[str, Tensor] = {}

    def keep(path: str, _module: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401 - torch's hook
        if isinstance(output, Tensor) and output.dim() and path:
            found.setdefault(path, output.detach().clone())

    handles = [module.register_forward_hook(partial(keep, path)) for path, module in backbone.named_modules()]
    try:
        run(images)
    finally:
        for handle in handles:
            handle.remove()
    return found
