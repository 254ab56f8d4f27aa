"""How a training's images become input: single settings, a preset or file, or what the network's library publishes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shallowdeep.data.image_rules import DEFAULT_RULES, ImageRules
from shallowdeep.data.preprocessing import CHANNEL_ORDERS, Preprocessing
from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.models.published_input import CONVENTIONS, PublishedInput
from shallowdeep.models.registry import published_input, reads_text
from shallowdeep.runs.config import TrainConfig, config_from
from shallowdeep.runs.preprocessing_file import read_preprocessing

RULES = ("interpolation", "resize", "crop_share", "alpha", "orientation", "fill", "exact_resize", "channels")
"""Settings of how files are decoded and resized; what is empty, 0 or False is left to a preset or the defaults."""

SETTINGS = (*RULES, "channel_order", "mean", "std")
"""All settings of preprocessing but the size."""

OPTIONS = "--preprocessing, --mean and --std, --interpolation, --resize, --crop-share, --alpha, --channel-order"
"""What errors and notes name."""

_GREY_LEVELS = 255


def with_preset(config: TrainConfig) -> TrainConfig:
    """``config`` with the settings that its ``preprocessing`` names filled in, where they are not given themselves.

    So a run holds the settings and needs neither the file nor the same version of a library again.

    Args:
        config: ``preprocessing`` is ``timm`` or ``torchvision``, for that library's evaluation transform of the
            network, or its usual one for networks it does not know; the path of a file; or "" for neither.

    Raises:
        ConfigurationError: neither a library nor a file, or a file that cannot be used.
        UnknownNameError: the library has no network of that name.
        ModelError: the library is not installed.
    """
    name = config.preprocessing
    if not name:
        return config
    if name in CONVENTIONS:
        found = published_input(config.model) if config.model.startswith(f"{name}:") else None
        return _filled(replace(config, preprocessing=""), _settings(found or CONVENTIONS[name]))
    if not Path(name).is_file():
        raise UnknownNameError("preprocessing", name, CONVENTIONS, hint="Also accepted: a file in JSON or TOML")
    document = read_preprocessing(Path(name))
    typed = config_from({"data": config.data, **document}, name)  # checks the types
    return _filled(replace(config, preprocessing=""), {key: getattr(typed, key) for key in document})


def with_published(config: TrainConfig) -> tuple[TrainConfig, str | None]:
    """``config`` for weights from elsewhere: what their library publishes where nothing else is said, and a note.

    The published crop share counts at the published size alone: for another ``image_size`` the whole side is taken.

    Args:
        config: checked; without ``weights`` and ``pretrained`` it stays as it is, since weights that are to be trained
            want nothing, and a run brings its own.

    Returns:
        The settings, and one line that says what was taken, or that nothing is known; None where all was given.

    Raises:
        UnknownNameError: the library has no network of the model's name.
        ModelError: the library is not installed.
    """
    if not (config.weights or config.pretrained) or reads_text(config.model):
        return config, None
    known = published_input(config.model)
    if known is None or len(known.mean) != channels_of(config):
        return config, _unknown(config)
    share = ""
    if config.image_size and config.image_size != known.size:
        share = f" (the crop share {known.crop_share:.4g} is for {known.size} pixels)"
        known = replace(known, crop_share=1.0)
    taken = _filled(config, _settings(known))
    if taken == config:
        return config, None
    told = f"Preprocessing of {config.model}, as its library publishes it{share}: {described(_whole(taken))}"
    return taken, f"{told}; {OPTIONS} change it"


def settled(config: TrainConfig, saved: TrainConfig | None) -> tuple[TrainConfig, str | None]:
    """``config`` with all that it takes from elsewhere, and a note on it.

    Args:
        config: checked.
        saved: settings of the run that is resumed, or None. What it began with stays, also where it began before
            libraries' transforms were taken; the accuracy it was to reach was checked then.

    Returns:
        As of `with_published`; no note on a run that is resumed.
    """
    if saved is None:
        return with_published(config)
    config = replace(config, expect_accuracy=saved.expect_accuracy)
    if all(getattr(saved, name) == getattr(config, name) for name in SETTINGS):
        return config, None
    return with_published(config)[0], None


def rules_of(config: TrainConfig) -> ImageRules:
    """The rules by which images are decoded and resized.

    Raises:
        ConfigurationError: a name that is none, or a number out of range.
    """
    return ImageRules(**_given(config, RULES))


def channel_order_of(config: TrainConfig) -> str:
    """The order of channels that the network wants."""
    return config.channel_order or CHANNEL_ORDERS[0]


def channels_of(config: TrainConfig) -> int:
    """Channels of the network's input."""
    return config.channels or DEFAULT_RULES.channels


def described(preprocessing: Preprocessing) -> str:
    """How images become input, in words."""
    rules, numbers = preprocessing.rules, (("mean", preprocessing.mean), ("std", preprocessing.std))
    order = [] if preprocessing.channel_order == CHANNEL_ORDERS[0] else [preprocessing.channel_order]
    parts = [*_rules_described(rules), *order]
    return ", ".join([*parts, *(f"{name} {','.join(f'{value:.4g}' for value in values)}" for name, values in numbers)])


def _rules_described(rules: ImageRules) -> list[str]:
    return [rules.interpolation, f"{rules.resize} at share {rules.crop_share:.4g}", f"alpha {rules.alpha}"]


def check_against(config: TrainConfig, given: Preprocessing, source: str) -> None:
    """Refuse settings that contradict the preprocessing of the run whose backbone is taken over.

    Args:
        config: the settings.
        given: of the run.
        source: the run, for the message.

    Raises:
        ConfigurationError: naming the first that differs.
    """
    for name, wanted in _given(config, SETTINGS).items():
        kept = getattr(given.rules if name in RULES else given, name)
        if wanted != kept:
            raise ConfigurationError(
                f"Expected {name.replace('_', ' ')} {_shown(kept)}, that of {source}, got {_shown(wanted)}"
            )


def _settings(known: PublishedInput) -> dict[str, Any]:
    """Settings that give a library's transform: its loaders drop transparency and do not look at EXIF."""
    return {
        "mean": known.mean, "std": known.std, "interpolation": known.interpolation, "resize": known.resize,
        "crop_share": known.crop_share, "alpha": "drop", "orientation": "stored",
    }  # fmt: skip


def _filled(config: TrainConfig, found: dict[str, Any]) -> TrainConfig:
    """``config`` with settings that it lacks; borders get the mean's colour, as timm does it, where none is given."""
    ordered = _in_order(found, config.channel_order)
    config = replace(config, **{name: value for name, value in ordered.items() if not getattr(config, name)})
    if config.resize == "pad" and len(config.mean) == DEFAULT_RULES.channels and not config.fill:
        colour = config.mean if channel_order_of(config) == CHANNEL_ORDERS[0] else config.mean[::-1]  # pixels are RGB
        config = replace(config, fill=tuple(float(round(_GREY_LEVELS * value)) for value in colour))
    return config


def _in_order(found: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Settings with mean and std in the order of channels wanted, "" for their own; that is RGB where not said."""
    own = found.get("channel_order") or CHANNEL_ORDERS[0]
    if wanted in ("", own):
        return found
    return {**found, **{name: found[name][::-1] for name in ("mean", "std") if name in found}}


def _given(config: TrainConfig, names: tuple[str, ...]) -> dict[str, Any]:
    """Those settings that are given, as `ImageRules` and `Preprocessing` hold them."""
    given = {name: getattr(config, name) for name in names if getattr(config, name)}
    return {**given, "fill": tuple(int(v) for v in given["fill"])} if "fill" in given else given


def _whole(config: TrainConfig) -> Preprocessing:
    """The preprocessing of settings that hold a mean and a standard deviation, at any size."""
    return Preprocessing(config.image_size or 1, config.mean, config.std, rules_of(config), channel_order_of(config))


def _unknown(config: TrainConfig) -> str | None:
    """What to say where nothing is known about the preprocessing of weights, and not all of it was given."""
    if config.mean and all(getattr(config, name) for name in ("interpolation", "alpha")):
        return None
    rules = ", ".join(_rules_described(rules_of(config)))
    numbers = "as given" if config.mean else "measured on the training images"
    return (
        f"No preprocessing is known for {config.weights or config.model}: mean and std are {numbers}, the rules are "
        f"{rules}; if the weights were trained otherwise, accuracy is lost, and {OPTIONS} say how"
    )


def _shown(value: Any) -> str:  # noqa: ANN401 - any setting
    return ",".join(f"{number:g}" for number in value) if isinstance(value, tuple) else repr(value)
