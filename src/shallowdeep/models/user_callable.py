"""Networks of the user's own, named `package.module:callable`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from shallowdeep.errors import ModelError, ShallowDeepError, one_line
from shallowdeep.image_size import Size
from shallowdeep.models.image_size import PAPER_SIZES
from shallowdeep.models.spec import ModelSpec


def resolve(name: str) -> ModelSpec:
    """Imports what a `package.module:callable` names.

    The callable's attribute `image_size` (a number of pixels, or several) says what it is made for; without one it is
    taken for one that fits 32 and 64 pixels.

    Args:
        name: a module importable from the working directory or the Python path, a colon, and a callable in it.

    Raises:
        ModelError: a name of another form, a module that cannot be imported, or no such callable in it.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute.isidentifier():
        raise ModelError(f"Expected package.module:callable, got {name!r}")
    with _importing_from_working_directory():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise ModelError(
                f"Expected a module that can be imported, got {module_name!r}: {one_line(error)}"
            ) from error
    builder = getattr(module, attribute, None)
    if not callable(builder) or isinstance(builder, nn.Module):
        found = "nothing of that name" if builder is None else f"an object of {type(builder).__name__}"
        raise ModelError(f"Expected {name!r} to be a function or class that returns a torch.nn.Module, got {found}")

    def build(num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        return _call(name, builder, num_classes, image_size, channels)

    return ModelSpec(name, f"{attribute} from {module_name}", _image_sizes(name, builder), build, trusted=False)


def _call(name: str, builder: Callable[..., object], num_classes: int, image_size: Size, channels: int) -> nn.Module:
    """Returns what the user's callable builds, given the arguments that its signature takes."""
    arguments = _accepted(builder, {"num_classes": num_classes, "image_size": image_size, "channels": channels})
    with _importing_from_working_directory():
        try:
            network = builder(**arguments)
        except ShallowDeepError:
            raise
        except Exception as error:
            raise ModelError(f"Expected {name!r} to build a network, got {one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"Expected {name!r} to return a torch.nn.Module, got {type(network).__name__}")
    return network


def _accepted(builder: Callable[..., object], offered: dict[str, Any]) -> dict[str, Any]:
    """Returns those arguments that a callable names; `num_classes` also where it takes any keyword."""
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):  # a callable written in C tells no signature
        return {}
    named = {p.name for p in parameters.values() if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        named.add("num_classes")
    return {key: value for key, value in offered.items() if key in named}


def _image_sizes(name: str, builder: object) -> tuple[int, ...]:
    """Returns the sizes a callable's attribute `image_size` tells, in pixels."""
    told = getattr(builder, "image_size", PAPER_SIZES)
    sizes = tuple(told) if isinstance(told, (tuple, list)) else (told,)
    if not sizes or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise ModelError(f"Expected {name}.image_size to be a number of pixels or several, got {told!r}")
    return sizes


@contextmanager
def _importing_from_working_directory() -> Iterator[None]:
    """Puts the working directory on the import path, as `python -m` does and an installed command does not."""
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if directory in sys.path:
            sys.path.remove(directory)
