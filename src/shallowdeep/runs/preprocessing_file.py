"""Files that say how a network wants its images, as settings: our own keys, Hugging Face's, or timm's."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.image_size import size_from
from shallowdeep.models.published_input import USUAL_SHARE, crop_share_of
from shallowdeep.models.timm_zoo import CROP_MODES

_OWN = {
    "size": "image_size", "mean": "mean", "std": "std", "interpolation": "interpolation", "resize": "resize",
    "crop_share": "crop_share", "alpha": "alpha", "orientation": "orientation", "fill": "fill",
    "exact_resize": "exact_resize", "channel_order": "channel_order", "channels": "channels",
}  # fmt: skip
"""Our own keys, those of ``preprocessing`` in a manifest, and the settings they give."""

_HUGGING_FACE = frozenset({"image_mean", "image_processor_type", "feature_extractor_type", "do_resize", "do_normalize"})
_PIL_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_CONVNEXT_STRETCHES = 384  # pixels: from there on it squares the whole image
_GREY_LEVELS = 255


def read_preprocessing(path: Path) -> dict[str, Any]:
    """Settings of a training from a file.

    Args:
        path: JSON or TOML with our own keys, such as the manifest of a run or a bundle; a
            ``preprocessor_config.json`` of Hugging Face; or a ``config.json`` of timm, with or without
            ``pretrained_cfg`` around its keys.

    Returns:
        By the names of ``TrainConfig``; what the file leaves out is left out.

    Raises:
        ConfigurationError: the file cannot be read, has a key that is not known, or asks for what cannot be done here.
    """
    try:
        text = path.read_text()
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Expected preprocessing in JSON or TOML in {path}, got: {error}") from error
    document = document.get("preprocessing", document) if isinstance(document, Mapping) else document
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"Expected a table of settings in {path}, got {type(document).__name__}")
    try:
        if _HUGGING_FACE & set(document):
            return _from_hugging_face(document, str(path))
        if "pretrained_cfg" in document or {"input_size", "crop_pct"} & set(document):
            return _from_timm(document.get("pretrained_cfg", document), str(path))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigurationError(f"Expected complete preprocessing in {path}, got one that garbles: {error}") from error
    return _from_own_keys(document, str(path))


def _from_own_keys(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    for key in document:
        if key not in _OWN:
            raise UnknownNameError(f"key of preprocessing in {source}", key, _OWN)
    return {
        _OWN[key]: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }  # their types are checked with all other settings


def _from_timm(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    mode = config.get("crop_mode") or "center"
    if mode not in CROP_MODES:
        raise UnknownNameError(f"crop mode in {source}", str(mode), CROP_MODES)
    found: dict[str, Any] = {
        "interpolation": str(config.get("interpolation") or "bicubic"), "resize": CROP_MODES[mode],
        "crop_share": float(config.get("crop_pct") or USUAL_SHARE), "alpha": "drop", "orientation": "stored",
    }  # fmt: skip
    if config.get("input_size"):
        found["image_size"] = size_from(list(config["input_size"][-2:]))
        if len(config["input_size"]) == 3 and config["input_size"][0] != 3:  # noqa: PLR2004 - channels, height, width
            found["channels"] = int(config["input_size"][0])
    return {**found, **{name: _numbers(config[name]) for name in ("mean", "std") if config.get(name)}}


def _from_hugging_face(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Files are decoded as ``transformers`` does it: turned by EXIF, transparency dropped."""
    found: dict[str, Any] = {"alpha": "drop", **_hugging_face_sizes(config, source)}
    resample = config.get("resample", 2)
    if resample not in _PIL_FILTERS:
        raise ConfigurationError(f"Expected resample 0, 1, 2 or 3 in {source}, got {resample!r}")
    found["interpolation"] = _PIL_FILTERS[resample]
    found["channel_order"] = "bgr" if config.get("do_flip_channel_order") else "rgb"
    if config.get("rescale_offset"):
        raise ConfigurationError(f"Expected no rescale_offset in {source}, got {config['rescale_offset']!r}")
    unit = (
        _GREY_LEVELS * float(config.get("rescale_factor", 1 / _GREY_LEVELS))
        if config.get("do_rescale", True)
        else _GREY_LEVELS
    )
    normalised = config.get("do_normalize", "image_mean" in config)
    mean = _numbers(config["image_mean"]) if normalised else (0.0,) * 3
    std = _numbers(config["image_std"]) if normalised else (1.0,) * 3
    if abs(unit - 1) < 1e-6:  # noqa: PLR2004 - 1 / 255 as the file rounds it
        return {**found, "mean": mean, "std": std}
    return {**found, "mean": tuple(value / unit for value in mean), "std": tuple(value / unit for value in std)}


def _hugging_face_sizes(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Size, kind of resizing and crop share."""
    if not config.get("do_resize", True):
        raise ConfigurationError(f"Expected images to be resized (do_resize) in {source}, got false")
    cropped = _square(config["crop_size"], source) if config.get("crop_size") else 0
    cropped = cropped if config.get("do_center_crop", bool(cropped)) else 0
    size = config["size"]
    if isinstance(size, Mapping) and "shortest_edge" in size and "longest_edge" not in size:
        shorter = int(size["shortest_edge"])
    elif isinstance(size, int) and (cropped or config.get("crop_pct")):
        shorter = size
    else:
        side = _square(size, source)
        return {"image_size": cropped or side, "resize": "stretch", "crop_share": crop_share_of(cropped or side, side)}
    if config.get("crop_pct"):  # ConvNeXT's
        stretched = shorter >= _CONVNEXT_STRETCHES
        share = 1.0 if stretched else float(config["crop_pct"])
        return {"image_size": shorter, "resize": "stretch" if stretched else "crop", "crop_share": share}
    if not cropped:
        raise ConfigurationError(
            f"Expected a square input in {source}, got shortest_edge {shorter} without a crop_size"
        )
    return {"image_size": cropped, "resize": "crop", "crop_share": crop_share_of(cropped, shorter)}


def _square(size: Any, source: str) -> int:  # noqa: ANN401 - any JSON value
    """The side of a square, in pixels."""
    sides = (size.get("height"), size.get("width")) if isinstance(size, Mapping) else (size, size)
    if not isinstance(sides[0], int) or sides[0] != sides[1]:
        raise ConfigurationError(f"Expected a square size in {source}, got {size!r}")
    return sides[0]


def _numbers(values: Any) -> tuple[float, ...]:  # noqa: ANN401 - any JSON value
    """Three numbers from three, or from one that stands for all."""
    many = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    return tuple(float(value) for value in (many * 3 if len(many) == 1 else many))
