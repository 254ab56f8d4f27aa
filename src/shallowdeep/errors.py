"""Every error this package raises on purpose.

ShallowDeepError            the command line prints it as one line and ends with status 2
├── ConfigurationError      a setting outside its range, or settings that exclude each other
│   └── UnknownNameError    a dataset, model, recipe ... that does not exist, with the nearest names
├── DataError               a dataset that cannot be read as one
│   └── BadImageError       one image that cannot be decoded, named
├── ModelError              a network that cannot be built
│   ├── WeightsMismatchError  weights that do not fit the network, first names given
│   └── ConversionError     a network that cannot be traced, cut or given the exits asked for
├── CheckpointError         saved files that are truncated, altered, foreign or newer than this program
├── OutputError             an output that exists already or cannot be written
└── TrainingError           a training that cannot go on (a loss that is not finite)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ShallowDeepError(Exception):
    """Root of the tree: something the user can mend, told in one line.

    Example:
        >>> import shallowdeep
        >>> try:
        ...     shallowdeep.Policy((-1.0,))
        ... except shallowdeep.ShallowDeepError as error:
        ...     print(error)
        Expected thresholds of at least 0, got -1.0
    """


class ConfigurationError(ShallowDeepError):
    """A setting outside its range, or settings that exclude each other."""


_TOLD = 12  # known names, at most


class UnknownNameError(ConfigurationError):
    """A name that stands for nothing, told with the nearest names that do.

    Args:
        kind: what the name should have named, such as ``"model"``.
        name: the name as given.
        known: every name that would have been accepted.
        hint: what else is accepted, added at the end.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(filter(None, known))
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        more = ", ..." if len(names) > _TOLD else ""
        told = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(names[:_TOLD])}{more}"
        article = "an" if kind[0] in "aeio" else "a"
        message = f"Expected the name of {article} {kind}, got {name!r}; {told}"
        super().__init__(f"{message}. {hint}" if hint else message)


class DataError(ShallowDeepError):
    """A dataset that cannot be read as one."""


class BadImageError(DataError):
    """One image that cannot be decoded; the message names it."""


class ModelError(ShallowDeepError):
    """A network that cannot be built."""


class WeightsMismatchError(ModelError):
    """Weights that do not fit the network; the message names the first that differ."""


class ConversionError(ModelError):
    """A network that cannot be traced, cut or given the exits asked for."""


class CheckpointError(ShallowDeepError):
    """Saved files that are truncated, altered, foreign or newer than this program."""


class OutputError(ShallowDeepError):
    """An output that exists already or cannot be written."""


class TrainingError(ShallowDeepError):
    """A training that cannot go on, such as after a loss that is not finite."""


EXTRAS = {
    "accelerate": "train", "datasets": "train", "matplotlib": "train", "mlxtend": "train", "onnx": "train",
    "onnxscript": "train", "pyarrow": "train", "safetensors": "train", "scipy": "train", "sklearn": "train",
    "tomli_w": "train", "torch": "train", "torchmetrics": "train", "timm": "zoo", "torchvision": "zoo",
    "art": "security", "captum": "report", "cattrs": "report", "jinja2": "report",
    "openvino": "openvino", "nncf": "quantize", "tokenizers": "text", "transformers": "hf",
}  # fmt: skip
"""Which extra of this package brings another package, by the name it is imported by."""


def not_installed(error: ModuleNotFoundError, what: str) -> ConfigurationError | None:
    """Return the one-line error for something that needs a package that is not installed; None for one of no extra.

    Args:
        error: what importing it raised.
        what: needs it, such as ``shallowdeep train``.
    """
    package = (error.name or "").split(".")[0]
    if package not in EXTRAS:
        return None
    return ConfigurationError(
        f"Expected {package} for {what}, found it not installed; pip install 'shallowdeep[{EXTRAS[package]}]'"
    )


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def innermost(error: BaseException) -> BaseException:
    """Return the failure that others were raised from, the first cause: exporters wrap it in words of their own."""
    inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error if inner is None else innermost(inner)


def one_line(error: BaseException) -> str:
    """Return how a failure in code that is not ours is told: its type and the first line of its message, uncoloured."""
    lines = _ESCAPES.sub("", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
