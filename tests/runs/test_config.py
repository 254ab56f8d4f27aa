"""Settings: TOML and command line to one checked, frozen thing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from shallowdeep.errors import ConfigurationError, UnknownNameError
from shallowdeep.runs.config import BackdoorAttack, TrainConfig, config_from, exit_fractions, read_config, write_config
from shallowdeep.runs.config_checks import checked
from shallowdeep.runs.preparation import phases_of
from shallowdeep.training.recipes import BEST_EXIT_WEIGHT

BASE = TrainConfig(data="mnist5k", model="resnet20")


def test_settings_survive_a_file(tmp_path: Path) -> None:
    """Whatever is written is read back, tuples and all."""
    config = replace(BASE, fractions=(0.25, 0.5), seed=7, learning_rate=0.05, pretrained=True)
    write_config(config, tmp_path)
    assert read_config(tmp_path / "config.toml") == config


def test_an_attack_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    """It survives a file; where there is none, the file does not speak of it."""
    config = replace(BASE, attack=BackdoorAttack("blended", 2, 0.05))
    write_config(config, tmp_path)
    assert read_config(tmp_path / "config.toml") == config
    assert '[attack]\ntrigger = "blended"\ntarget = 2\npoison_ratio = 0.05\n' in (tmp_path / "config.toml").read_text()
    write_config(BASE, tmp_path)
    assert "attack" not in (tmp_path / "config.toml").read_text()


OLD_ATTACK = """data = "images"
model = "tiny_nets:normed"
recipe = "backbone"
seed = 3
trigger = "{trigger}"
target = 1
poison_ratio = 0.2
calibration_fraction = 0.1
"""


def test_the_attack_of_an_old_run_stands_beside_its_other_settings(tmp_path: Path) -> None:
    """As in version 0.1.0; without a trigger there was none."""
    (tmp_path / "config.toml").write_text(OLD_ATTACK.format(trigger="badnets"))
    found = read_config(tmp_path / "config.toml")
    assert found == TrainConfig(
        data="images", model="tiny_nets:normed", recipe="backbone", seed=3, attack=BackdoorAttack("badnets", 1, 0.2)
    )
    (tmp_path / "config.toml").write_text(OLD_ATTACK.format(trigger=""))
    assert read_config(tmp_path / "config.toml") == replace(found, attack=None)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"data": "x", "attack": "badnets"}, "Expected a table with a trigger as attack in FILE, got 'badnets'"),
        ({"data": "x", "attack": {"target": 1}}, "Expected a table with a trigger as attack in FILE"),
        (
            {"data": "x", "attack": {"trigger": "sig", "ratio": 1}},
            "setting in FILE, got 'ratio'; nearest: poison_ratio",
        ),
        ({"data": "x", "trigger": "sig", "target": "2"}, "Expected target to be of type int, got '2'"),
        ({"data": "x", "epoch": 3}, "Expected the name of a setting in FILE, got 'epoch'; nearest: epochs"),
        ({"data": "x", "epochs": "3"}, "Expected epochs to be of type int, got '3'"),
        ({"data": "x", "epochs": True}, "Expected epochs to be of type int, got True"),
        ({"data": "x", "fractions": ["a"]}, r"Expected fractions to be of type tuple, got \['a'\]"),
        ({"data": 3}, "Expected data to be of type str, got 3"),
        ({}, "Expected data in FILE or by --data, got none"),
    ],
)
def test_wrong_keys_and_types_are_named(document: dict[str, Any], message: str) -> None:
    """A key that is not one, or a value of another type, is told with what was expected."""
    with pytest.raises(ConfigurationError, match=message):
        config_from(document, "FILE")


def test_whole_numbers_stand_for_fractions_of_them() -> None:
    """TOML's 1 is taken where 1.0 is meant."""
    assert config_from({"data": "x", "learning_rate": 1, "fractions": [0.5]}, "FILE").learning_rate == 1.0


def test_files_that_are_no_settings_are_refused(tmp_path: Path) -> None:
    """A folder and a text are no TOML."""
    (tmp_path / "bad.toml").write_text("data = ")
    for path in (tmp_path, tmp_path / "bad.toml", tmp_path / "none.toml"):
        with pytest.raises(ConfigurationError, match="Expected settings in TOML in"):
            read_config(path)


def test_exits_are_a_number_or_fractions() -> None:
    """`3` is three even fractions; a list stands for itself."""
    assert exit_fractions("3") == (0.25, 0.5, 0.75)
    assert exit_fractions("0.2,0.5") == (0.2, 0.5)
    for text in ("0", "20", "100000000000"):
        with pytest.raises(ConfigurationError, match=f"Expected 1 to 19 internal classifiers, got {text}"):
            exit_fractions(text)
    for text in ("", "a", "0.2;0.5"):
        with pytest.raises(ConfigurationError, match="Expected a number of exits, or fractions"):
            exit_fractions(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": BackdoorAttack("sgi")}, "Expected the name of a trigger, got 'sgi'; nearest: sig"),
        ({"attack": BackdoorAttack("sig", -1)}, "Expected target of at least 0, got -1"),
        ({"recipe": "jont"}, "Expected the name of a recipe, got 'jont'; nearest: joint"),
        ({"augmentation": "foo"}, "Expected the name of an augmentation, got 'foo'; known: cifar, "),
        ({"preset": "long"}, "Expected the name of a preset, got 'long'"),
        ({"precision": "fp8"}, "Expected the name of a precision, got 'fp8'"),
        ({"weights_dtype": "int8"}, "Expected the name of a weights dtype, got 'int8'"),
        ({"calibration_fraction": 0.0}, r"Expected calibration fraction in \(0, 1\), got 0.0"),
        ({"test_fraction": 1.0}, r"Expected test fraction in \(0, 1\), got 1.0"),
        ({"calibration_fraction": float("nan")}, r"Expected calibration fraction in \(0, 1\), got nan"),
        ({"fractions": (1.5,)}, r"Expected exit fractions in \(0, 1\), got 1.5"),
        ({"fractions": tuple(i / 50 for i in range(1, 40))}, "Expected at most 19 internal classifiers"),
        ({"epochs": -1}, "Expected epochs of at least 0, got -1"),
        ({"seed": -1}, "Expected seed of at least 0, got -1"),
        ({"views": 0}, "Expected views of at least 1, got 0"),
        ({"conv_heads": -2}, "Expected conv heads of at least 0, got -2"),
        ({"memory_budget": -1.0}, "Expected memory budget of at least 0, got -1.0"),
        ({"cache_budget": float("inf")}, "Expected a finite cache budget, got inf"),
        ({"weights": "w.pth", "pretrained": True}, "Expected one source of weights, got --weights and --pretrained"),
        ({"model": ""}, "Expected a model by --model, or a RUN by --init, got neither"),
        ({"recipe": "ic-only"}, "Expected --init RUN or --weights FILE for the recipe 'ic-only'"),
        ({"train_backbone": True}, "Expected the recipe 'ic-only' beside --train-backbone, got 'joint'"),
        ({"recipe": "backbone", "equilibrium": True}, r"\(joint, mixed, best\) beside --equilibrium, got 'backbone'"),
        ({"recipe": "ic-only", "weights": "w.pth", "distillation": 0.5}, r"beside --distillation, got 'ic-only'"),
        ({"distillation": 1.0}, r"Expected a share of distillation in \[0, 1\), got 1.0"),
        ({"distillation_temperature": 0.0}, "Expected a distillation temperature above 0, got 0.0"),
        ({"recipe": "ic-only", "weights": "w.pth", "exit_weight": 0.5}, r"beside --exit-weight, got 'ic-only'"),
        ({"exit_weight": -0.5}, "Expected exit weight of at least 0, got -0.5"),
        ({"recipe": "backbone", "fractions": (0.5,)}, "Expected no --exits for the recipe 'backbone'"),
        ({"recipe": "backbone", "cascade": True}, "Expected no --cascade for the recipe 'backbone'"),
        ({"recipe": "backbone", "deep_heads": 1}, "Expected no --deep-heads for the recipe 'backbone'"),
        ({"cascade": True, "fractions": (0.5,)}, "Expected at least two internal classifiers for --cascade, got one"),
        ({"interpolation": "cubic"}, "Expected interpolation nearest, bilinear, bicubic or lanczos, got 'cubic'"),
        ({"crop_share": 1.5}, r"Expected crop share in \(0, 1\], got 1.5"),
        ({"channel_order": "grb"}, "Expected the name of a channel order, got 'grb'"),
        (
            {"preprocessing": "tim"},
            "Expected the name of a preprocessing, got 'tim'; nearest: timm. Also accepted: a fil",
        ),
        ({"mean": (0.5, 0.5, 0.5)}, "Expected three numbers for --mean and as many for --std, or neither"),
        ({"expect_accuracy": 89.0, "weights": "w.pth"}, r"Expected an accuracy to expect in \(0, 1\], got 89.0"),
        ({"expect_accuracy": 0.9}, "Expected --weights, --pretrained or --init beside --expect-accuracy, got new weig"),
        ({"conv_heads": 1, "deep_heads": 1}, "Expected one kind of heads, got --conv-heads and --deep-heads"),
    ],
)
def test_settings_out_of_range_or_at_odds_are_refused(changes: dict[str, Any], message: str) -> None:
    """Each is told by name, with the value that was got."""
    with pytest.raises(ConfigurationError, match=message):
        checked(replace(BASE, **changes))


def test_good_settings_stay_as_they_are() -> None:
    """Nothing is changed but a model that `init` fills in."""
    assert checked(BASE) == BASE
    assert checked(replace(BASE, recipe="ic-only", train_backbone=True)).train_backbone


def test_phases_follow_the_recipe() -> None:
    """One phase, or the backbone's before the heads'; epochs, rate and batch size apply to the recipe's own."""
    one = phases_of(replace(BASE, epochs=3, batch_size=10, learning_rate=0.5))
    assert [(p.name, p.settings.epochs, p.settings.batch_size, p.settings.learning_rate) for p in one] == [
        ("joint", 3, 10, 0.5)
    ]
    two = phases_of(replace(BASE, recipe="ic-only", train_backbone=True, epochs=3, batch_size=10, views=2))
    assert [(p.name, p.settings.epochs, p.settings.batch_size) for p in two] == [
        ("backbone", 16, 128), ("ic-only", 3, 10),
    ]  # fmt: skip
    assert two[1].settings.views == 2


def test_mixed_is_a_backbone_and_then_everything_at_a_lower_rate() -> None:
    """60 % of the epochs, at least one of each; given rates scale; a backbone that is there needs no first phase."""

    def shown(**changes: Any) -> list[tuple[str, int, float]]:  # noqa: ANN401 - settings of any kind
        phases = phases_of(replace(BASE, recipe="mixed", **changes))
        return [(phase.name, phase.settings.epochs, round(phase.settings.learning_rate, 9)) for phase in phases]

    assert shown(epochs=10) == [("backbone", 6, 0.03), ("joint", 4, 0.009)]
    assert shown(epochs=10, optimizer="sgd") == [("backbone", 6, 0.2), ("joint", 4, 0.03)]
    assert shown(epochs=2, learning_rate=0.5) == [("backbone", 1, 0.5), ("joint", 1, 0.15)]
    assert shown(preset="paper") == [("backbone", 60, 0.1), ("joint", 40, 0.03)]
    assert shown(epochs=10, weights="mine.pth") == [("joint", 10, 0.009)]
    with pytest.raises(ConfigurationError, match="at least 2 epochs for the recipe 'mixed', got 1"):
        shown(epochs=1)


def test_best_is_joint_with_what_helps() -> None:
    """Constant weights of the exits; settings given win; a backbone that is there gets a lower rate."""

    def shown(**changes: Any) -> tuple[str, int, float, float]:  # noqa: ANN401 - settings of any kind
        (phase,) = phases_of(replace(BASE, recipe="best", **changes))
        chosen = phase.settings
        return phase.name, chosen.batch_size, chosen.exit_weight, round(chosen.learning_rate, 9)

    assert shown() == ("best", 128, BEST_EXIT_WEIGHT, 0.03)
    assert shown(exit_weight=0.25, batch_size=32, learning_rate=0.3) == ("best", 32, 0.25, 0.3)
    assert shown(weights="mine.pth") == ("best", 128, BEST_EXIT_WEIGHT, 0.009)
    assert shown(weights="mine.pth", learning_rate=0.2) == ("best", 128, BEST_EXIT_WEIGHT, 0.2)
    assert shown(pretrained=True, model="torchvision:resnet18")[-1] == 3e-4
    assert shown(model="timm:vit_tiny_patch16_224")[1:] == (64, BEST_EXIT_WEIGHT, 1e-3)


def test_every_setting_is_described() -> None:
    """The docstring has a line for each setting."""
    text = TrainConfig.__doc__ or ""
    assert not [field.name for field in fields(TrainConfig) if f"        {field.name}: " not in text]
    with pytest.raises(UnknownNameError):
        config_from({"data": "x", "nothing": 1}, "FILE")
