"""What a whole training does and leaves: frozen means frozen, test is never read, losses stay finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import shallowdeep
from shallowdeep.training.history import read_history
from shallowdeep.training.losses import exit_weights
from shallowdeep.training.state import save_state

if TYPE_CHECKING:
    from tests.conftest import Shell, Training


def weights(run: str) -> dict[str, torch.Tensor]:
    """What a run saved."""
    return load_file(Path(run) / "model.safetensors")


@pytest.mark.parametrize(
    "extra", [(), ("--cascade",), ("--conv-heads", 1)], ids=["cached", "cascaded", "through the backbone"]
)
def test_frozen_means_frozen(trained: Training, extra: tuple[object, ...]) -> None:
    """After `ic-only` every tensor of the backbone, statistics included, and the final logits are the same bits."""
    trained("start", "--recipe", "backbone", "--epochs", 2, model="tiny_nets:normed")
    trained("heads", "--recipe", "ic-only", "--init", "start", "--trust", "--epochs", 3, "--exits", 2, *extra)
    before, after = weights("start"), weights("heads")
    assert before
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    images = torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        start = shallowdeep.load("start", trust=True)(images)
        heads = shallowdeep.load("heads", trust=True)(images)
    assert torch.equal(start[-1], heads[-1])


def test_internal_classifiers_learn(trained: Training) -> None:
    """The heads' loss falls, and every head's weights differ from where they began."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    trained("heads", "--recipe", "ic-only", "--init", "start", "--trust", "--epochs", 20, "--exits", 2)
    history = [json.loads(line) for line in Path("heads/history.jsonl").read_text().splitlines()]
    assert history[-1]["loss"] < history[0]["loss"]
    assert [line["learning_rate"] for line in history] == pytest.approx([1e-3] * 12 + [1e-4] * 8)


def test_a_constant_exit_weight_weighs_every_internal_classifier(trained: Training) -> None:
    """Where nothing learns, the loss is linear in the weight: final + weight times the others."""
    losses = []
    for weight in (0.5, 1.0, 2.0):
        name = f"run-{weight}"
        trained(
            name, "--recipe", "joint", "--epochs", 1, "--exits", 2, "--exit-weight", weight, "--learning-rate", 1e-9
        )
        losses.append(json.loads(Path(name, "history.jsonl").read_text())["loss"])
    half, one, two = losses
    assert two - one == pytest.approx(2 * (one - half), abs=1e-5)
    assert one - half > 0.5  # half of two losses of about ln 3


def test_the_loss_told_does_not_rise_with_the_weights(trained: Training) -> None:
    """Where nothing learns, `joint` minimises more in every epoch, while the mean over exits and their own stay."""
    trained("run", "--recipe", "joint", "--epochs", 3, "--exits", 2, "--learning-rate", 1e-9)
    history = read_history(Path("run"))
    summed = [record.loss for record in history]
    assert summed == sorted(summed)
    assert summed[-1] - summed[0] > 0.3  # weights rise by a third of the exits' fractions an epoch, of losses of ln 3
    assert np.ptp([record.mean_loss for record in history]) < 0.05
    for record in history:
        assert record.exit_weights == pytest.approx(
            [*exit_weights([e.fraction for e in shallowdeep.load("run", trust=True).exits[:-1]], record.epoch, 3), 1.0]
        )
        assert record.loss == pytest.approx(
            sum(w * loss for w, loss in zip(record.exit_weights, record.exit_losses, strict=True)), abs=1e-5
        )
        assert len(record.exit_losses) == 3
        assert record.images == 48  # whole batches of 16 of 54


@pytest.mark.parametrize("cache", [1, 0], ids=["cached", "through the backbone"])
def test_losses_are_kept_of_exits_that_are_trained(trained: Training, cache: int) -> None:
    """Of `ic-only` those of the internal classifiers, whose weights are 1; of the backbone that of its one exit."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    trained(
        "heads", "--recipe", "ic-only", "--init", "start", "--trust", "--epochs", 1, "--exits", 2,
        "--cache-budget", cache,
    )  # fmt: skip
    (backbone,), (heads,) = (read_history(Path(name)) for name in ("start", "heads"))
    assert backbone.exit_losses == (backbone.loss,)
    assert heads.exit_weights == (1.0, 1.0)
    assert sum(heads.exit_losses) == pytest.approx(heads.loss, abs=1e-5)


def test_the_first_of_two_phases_is_the_backbone_recipe(shell: Shell, workplace: Path) -> None:
    """`ic-only --train-backbone` trains, bit for bit, the backbone that `backbone` would."""
    base = ("train", "--data", workplace / "images", "--model", "tiny_nets:normed", "--out")
    assert shell(*base, "both", "--recipe", "ic-only", "--train-backbone", "--epochs", 1, "--exits", 2)[0] == 0
    assert shell(*base, "first", "--recipe", "backbone")[0] == 0
    both = weights("both")
    assert not [name for name, value in weights("first").items() if not torch.equal(value, both[name])]
    assert len(Path("both/history.jsonl").read_text().splitlines()) == 17


def test_the_frozen_final_classifier_keeps_its_accuracy_in_the_history(trained: Training) -> None:
    """`ic-only` reports every exit on tune; the last, the backbone's own, stays what it was."""
    trained("start", "--recipe", "backbone", "--epochs", 2, "--precision", "fp32")
    before = json.loads(Path("start/history.jsonl").read_text().splitlines()[-1])["tune_accuracy"]
    arguments = ("--recipe", "ic-only", "--epochs", 2, "--exits", 2, "--precision", "fp32")
    trained("heads", "--init", "start", "--trust", *arguments)
    history = [json.loads(line) for line in Path("heads/history.jsonl").read_text().splitlines()]
    assert [len(record["tune_accuracy"]) for record in history] == [3, 3]
    assert {record["tune_accuracy"][-1] for record in history} == set(before)


def test_normalisation_and_augmentation_can_be_stated(trained: Training) -> None:
    """--mean and --std go into the manifest as they are; --augmentation stands in the settings."""
    trained("run", "--recipe", "backbone", "--epochs", 1, "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.1",
            "--augmentation", "none")  # fmt: skip
    preprocessing = json.loads(Path("run/model.json").read_text())["preprocessing"]
    assert preprocessing == {"size": 16, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    assert 'augmentation = "none"' in Path("run/config.toml").read_text()


def test_caches_are_removed_after_the_run(trained: Training) -> None:
    """Nothing but the run's own files stays."""
    trained("heads", "--recipe", "ic-only", "--train-backbone", "--epochs", 1, "--exits", 2)
    assert sorted(path.name for path in Path("heads").iterdir()) == [
        "config.toml", "data.json", "history.jsonl", "model.json", "model.safetensors",
    ]  # fmt: skip


def test_no_room_for_a_cache_trains_through_the_backbone(shell: Shell, trained: Training, workplace: Path) -> None:
    """A budget of nothing says so and trains; a small one says how many views it takes."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    start = ("--init", "start", "--trust", "--recipe", "ic-only")
    base = ("train", "--data", workplace / "images", *start, "--epochs", 1, "--exits", 2)
    status, _, errors = shell(*base, "--out", "a", "--cache-budget", 0)
    assert status == 0
    assert "Features cannot be cached (conv heads, or no room): training through the frozen backbone" in errors
    status, _, errors = shell(*base, "--out", "b", "--cache-budget", 0.00016)
    assert status == 0
    assert "Caching 3 of 5 augmented views: more do not fit" in errors


def test_test_images_are_never_decoded(trained: Training, workplace: Path) -> None:
    """A training goes through although no image of the test part can be; their bytes are fingerprinted alone."""
    for path in (workplace / "images" / "test").rglob("*.png"):
        path.write_bytes(b"no image")
    trained("run", "--recipe", "joint", "--epochs", 1, "--exits", 2)


def test_a_loss_that_is_not_finite_stops_the_run(shell: Shell, workplace: Path) -> None:
    """The message names epoch, step and last good checkpoint, whose state stays and can be gone on from."""
    network = ("--model", "tiny_nets:hindered", "--recipe", "joint", "--exits", 2)
    base = ("train", "--data", "images", *network, "--epochs", 3, "--batch-size", 16, "--resume", "--out")
    (workplace / "poison").touch()
    status, _, errors = shell(*base, "bad")
    assert status == 2
    assert "Expected a finite loss, got nan in epoch 1, step 1; no checkpoint yet" in errors
    first, second, _ = errors.splitlines()
    assert first.startswith("Only 9 steps from random weights")
    assert second.startswith("4 images kept for promises")
    (workplace / "poison").unlink()

    def save_and_poison(*values: object) -> None:
        save_state(*values)  # type: ignore[arg-type]  # passed on
        (workplace / "poison").touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shallowdeep.training.run.save_state", save_and_poison)
        status, _, errors = shell(*base, "bad")
    assert status == 2
    message = "got nan in epoch 2, step 1; last good checkpoint: bad/training.safetensors (after epoch 1 of joint)"
    assert message in errors
    state = Path("bad/training.safetensors").read_bytes()
    assert shell(*base, "bad")[0] == 2
    assert Path("bad/training.safetensors").read_bytes() == state
    (workplace / "poison").unlink()
    assert shell(*base, "bad")[0] == 0
    assert shell(*base, "good")[0] == 0
    assert all(torch.equal(value, weights("bad")[name]) for name, value in weights("good").items())


def test_weights_broken_by_the_last_step_are_not_saved(
    shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch whose last update overflows is not saved, though every loss before it was finite."""

    def overflow(optimizer: torch.optim.AdamW) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.data.fill_(torch.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", overflow)
    base = ("train", "--data", workplace / "images", "--model", "tiny_nets:plain", "--recipe", "backbone")
    status, _, errors = shell(*base, "--epochs", 2, "--out", "bad")
    assert status == 2
    assert "in backbone.0.weight after the last step of epoch 1; no checkpoint yet" in errors
    assert not Path("bad/training.safetensors").exists()
