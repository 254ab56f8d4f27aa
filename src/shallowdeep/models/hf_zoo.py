"""Classifiers of Hugging Face's transformers, named `hf:NAME_OR_DIR`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from shallowdeep.errors import ModelError, first_few, one_line
from shallowdeep.image_size import Size, sides
from shallowdeep.models.image_size import RGB
from shallowdeep.models.published_input import USUAL_SHARE, PublishedInput
from shallowdeep.models.spec import ModelSpec
from shallowdeep.models.token_classifier import TokenClassifier

PREFIX = "hf:"
IMAGES, TEXT = "images", "text"
_TASKS = {IMAGES: "ImageClassification", TEXT: "SequenceClassification"}
_PROCESSOR = "preprocessor_config.json"
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_USUAL_SIZE = 224
_WEIGHTS = ("*.safetensors", "*.bin")
_LONGEST = 8_192  # tokens, where a model says nothing
_OFFSET = {
    "roberta",
    "roberta-prelayernorm",
    "data2vec-text",
    "xmod",
    "ibert",
    "xlm-roberta",
    "camembert",
    "xlm-roberta-xl",
    "mpnet",
    "longformer",
}  # positions begin behind padding's


def resolve(name: str) -> ModelSpec:
    """Returns what an `hf:NAME_OR_DIR` stands for; its image size is the one in its configuration.

    Args:
        name: the prefix, and a name on the hub or a local folder with `config.json`.

    Raises:
        ModelError: transformers is not installed, there is no such model, or it is no classifier.
    """
    config = read_config(name)
    size = _image_size(config) if task_of(config, name) == IMAGES else 1

    def build(num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
        return from_config(config.to_dict(), num_classes, image_size, channels)

    return ModelSpec(name, f"transformers' {name.removeprefix(PREFIX)}", (size,), build, trusted=True)


def build_pretrained(
    name: str, num_classes: int, image_size: Size, channels: int = 3, *, told: Callable[[str], None] | None = None
) -> nn.Module:
    """Returns a network with its weights; a head of another size, and a pooler without weights, are started anew.

    Args:
        name: as for `resolve`.
        num_classes: C.
        image_size: in pixels; without effect for text.
        channels: of images.
        told: is given a line on what is started anew; None for nobody.

    Raises:
        ModelError: as for `resolve`; or there are no weights, or they do not fit the rest of the network.
    """
    config = _sized(read_config(name), num_classes, image_size, channels)
    where, task = name.removeprefix(PREFIX), task_of(config, name)
    folder = Path(where).expanduser()
    if folder.is_dir() and not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelError(f"Expected weights ({' or '.join(_WEIGHTS)}) in {folder}, found none")
    try:
        with _quiet():
            model, found = _auto(task).from_pretrained(
                where, config=config, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:
        raise ModelError(f"Expected weights of {name!r} that fit its config.json, got {one_line(error)}") from error
    new = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    trunk = f"{model.base_model_prefix}."
    strange = [key for key in new if key.startswith(trunk) and "pooler" not in key]
    if strange:
        raise ModelError(
            f"Expected weights in {name!r} that fit all but the head, got none that fit {first_few(strange)}"
        )
    if new and told is not None:
        told(f"Started anew, since {where} has no weights that fit: {first_few(new)}")
    return _as_network(model.float(), config, task)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what transformers prints of loading to itself: what matters is told in a line."""
    logs = importlib.import_module("transformers.utils.logging")
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def from_config(document: Mapping[str, Any], num_classes: int, image_size: Size, channels: int = 3) -> nn.Module:
    """Returns an untrained network.

    Args:
        document: what `config.json` holds.
        num_classes: C.
        image_size: in pixels; without effect for text.
        channels: of images.

    Raises:
        ModelError: transformers is not installed, or cannot build it.
    """
    transformers = _transformers("hf:")
    try:
        kind = transformers.CONFIG_MAPPING[document["model_type"]]
        config = _sized(kind.from_dict(dict(document)), num_classes, image_size, channels)
        task = task_of(config, "hf:")
        model = _auto(task).from_config(config).float()
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"Expected transformers to build {document.get('model_type')!r}, got {one_line(error)}"
        ) from error
    return _as_network(model, config, task)


def read_config(name: str) -> Any:  # noqa: ANN401 - transformers' class
    """Returns the configuration of a model, from its folder or from the hub.

    Raises:
        ModelError: transformers is not installed, or there is none.
    """
    transformers = _transformers(name)
    where = name.removeprefix(PREFIX)
    folder = Path(where).expanduser()
    if folder.exists() and not (folder / "config.json").is_file():
        raise ModelError(f"Expected a model folder with config.json in {folder}, found none")
    try:
        return transformers.AutoConfig.from_pretrained(str(folder) if folder.exists() else where)
    except Exception as error:
        raise ModelError(
            f"Expected a model of the Hugging Face hub or a local folder in {name!r}, got {one_line(error)}"
        ) from error


def task_of(config: Any, name: str) -> str:  # noqa: ANN401 - transformers' class
    """Returns `IMAGES` or `TEXT`, what a model classifies.

    Raises:
        ModelError: neither.
    """
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    for task, what in (
        (IMAGES, auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        (TEXT, auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
    ):
        if config.model_type in what:
            return task
    raise ModelError(f"Expected a classifier of images or text in {name!r}, got {config.model_type!r}, which has none")


def published_input(name: str) -> PublishedInput | None:
    """Returns how a model wants its images, by its `preprocessor_config.json`; None where it has none.

    Raises:
        ModelError: transformers is not installed, or there is no such model.
    """
    config = read_config(name)
    if task_of(config, name) != IMAGES:
        return None
    document = _processor(name)
    if not document or not document.get("do_normalize", True):
        return None
    mean, std = document.get("image_mean"), document.get("image_std")
    if not mean or not std:
        return None
    size = document.get("size", _USUAL_SIZE)
    crop = document.get("crop_size") or {}
    crops = bool(document.get("do_center_crop")) and "shortest_edge" in (size if isinstance(size, dict) else {})
    final = int(crop.get("height", _image_size(config))) if isinstance(crop, dict) else int(crop)
    share = float(document.get("crop_pct") or (final / int(size["shortest_edge"]) if crops else USUAL_SHARE))
    return PublishedInput(
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        interpolation=_FILTERS.get(document.get("resample", 2), "bilinear"),
        resize="crop" if crops or "crop_pct" in document else "stretch",
        crop_share=share if crops or "crop_pct" in document else 1.0,
        size=final,
    )


def tokenizer_of(name: str) -> tuple[str, int]:
    """Returns a model's tokenizer as `tokenizer.json` holds it, and the tokens that the model takes at most.

    Raises:
        ModelError: transformers is not installed, or there is no tokenizer that fits the model.
    """
    config, transformers = read_config(name), _transformers(name)
    where = str(Path(name.removeprefix(PREFIX)).expanduser())
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where)
        document: str = tokenizer.backend_tokenizer.to_str()
    except Exception as error:
        raise ModelError(f"Expected a tokenizer beside the model {name!r}, got {one_line(error)}") from error
    ids, known = len(tokenizer), int(getattr(config, "vocab_size", 0))
    if known and ids > known:
        raise ModelError(f"Expected a tokenizer of at most {known:,} ids for {name!r}, got one of {ids:,}")
    positions = int(getattr(config, "max_position_embeddings", 0) or _LONGEST)
    offset = int(getattr(config, "pad_token_id", 0) or 0) + 1 if config.model_type in _OFFSET else 0
    return document, min(positions - offset, int(tokenizer.model_max_length), _LONGEST)


def config_of(network: nn.Module) -> dict[str, Any] | None:
    """Returns what `config.json` holds of a network of transformers; None for any other."""
    model = network.model if isinstance(network, TokenClassifier) else network
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "to_json_string") or not hasattr(config, "model_type"):
        return None
    document: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    kept = {key: value for key, value in document.items() if key not in {"dtype", "torch_dtype", "_name_or_path"}}
    return {**kept, "architectures": [type(model).__name__]}


def _processor(name: str) -> dict[str, Any]:
    """What `preprocessor_config.json` says; nothing where there is none."""
    where = name.removeprefix(PREFIX)
    path = Path(where).expanduser() / _PROCESSOR
    if not path.is_file():
        utilities = importlib.import_module("transformers.utils")
        found = utilities.cached_file(
            where,
            _PROCESSOR,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found is None:
            return {}
        path = Path(found)
    try:
        document: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"Expected an image processor in JSON in {path}, got {one_line(error)}") from error
    return document


def _image_size(config: Any) -> int:  # noqa: ANN401 - transformers' class
    """Side of a model's images in pixels."""
    size = getattr(config, "image_size", _USUAL_SIZE) or _USUAL_SIZE
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def _sized(config: Any, num_classes: int, image_size: Size, channels: int) -> Any:  # noqa: ANN401 - transformers' class
    """The configuration for so many classes, and images of a size."""
    config.use_cache = False  # of what decoders computed before: here each text is read once
    if config.num_labels != num_classes:
        config.num_labels = num_classes
    if task_of(config, "hf:") == IMAGES:
        height, width = sides(image_size)
        if getattr(config, "image_size", None) is not None:
            config.image_size = height if height == width else [height, width]
        if channels != RGB:
            config.num_channels = channels
    return config


def _auto(task: str) -> Any:  # noqa: ANN401 - transformers' class
    return getattr(importlib.import_module("transformers"), f"AutoModelFor{_TASKS[task]}")


def _as_network(model: nn.Module, config: Any, task: str) -> nn.Module:  # noqa: ANN401 - transformers' class
    """A model in train mode, as this package runs it."""
    model.train()
    if task == IMAGES:
        return model
    padding = getattr(config, "pad_token_id", None)
    return TokenClassifier(model, 0 if padding is None else int(padding)).train()


def _transformers(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ModelError(f"{name} needs transformers: pip install shallowdeep[hf] ({one_line(error)})") from error
