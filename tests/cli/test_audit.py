"""The `audit` commands on tiny images and networks: what they say, what they leave, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from tests.cli.analyzed import JOINT, document, refused
from tests.conftest import write_images

from shallowdeep.runs.config import BackdoorAttack, read_config
from shallowdeep.security.suspects import placebos_needed
from shallowdeep.security.triggers import TRIGGERS, Square

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

STUDY = (
    "audit", "backdoor", "--data", "images", "--model", "tiny_nets:normed", "--target", "brick", "--poison-ratio", 0.2,
    "--epochs", 1, "--ic-epochs", 2, "--samples", 20, "--optimizer", "sgd",
    "--learning-rate", 0.05, "--out", "study",
)  # fmt: skip


def test_a_study_tells_success_confusion_detectors_and_mitigation(shell: Shell, workplace: Path) -> None:
    """Three runs, one document, and a section of the report."""
    found = document(shell, *STUDY)
    exits = found["exits"]
    backbone, heads = (read_config(workplace / f"study/{name}/config.toml") for name in ("backbone", "clean-ics"))
    assert (found["optimizer"], backbone.optimizer, heads.optimizer) == ("sgd", "sgd", "")
    assert (found["learning_rate"], backbone.learning_rate, heads.learning_rate) == (0.05, 0.05, 0)
    own = read_config(workplace / "study/poisoned-ics/config.toml")
    assert backbone.attack == own.attack == BackdoorAttack("badnets", 1, 0.2)
    assert heads.attack is None
    assert len(exits) > 1
    assert all(0 <= exit_["attack_success"] <= 1 and 0 <= exit_["clean_accuracy"] <= 1 for exit_ in exits)
    assert 0 <= found["confusion"]["auroc"] <= 1
    assert (found["trigger"], found["target"], found["poison_ratio"], found["mode"]) == (
        "badnets",
        "brick",
        0.2,
        "study",
    )
    passes = {name: block["forward_passes"] for name, block in found["detectors"]["by_name"].items()}
    assert passes == {"confusion": 1, "STRIP": 64, "activation clustering": 1, "spectral signatures": 1}
    assert found["training_set"]["poisoned"] == found["training_set"]["relabelled"] == round(0.2 * found["images"])
    names = {row["name"] for row in found["mitigation"]}
    assert {"none", "best exit", "blind vote", "blind abstention"} < names
    assert {"exit at 1 pt, else final", "exit at 50 %, else most-confident"} < names
    assert 0 <= found["poisoned_ics"]["confusion"]["auroc"] <= 1
    assert [exit_["name"] for exit_ in found["poisoned_ics"]["exits"]] == [exit_["name"] for exit_ in exits]
    status, _, errors = shell("report", "study/clean-ics", "--trust", "--resamples", 0)
    assert status == 0, errors
    page = (workplace / "study/clean-ics/report.html").read_text()
    assert 'id="backdoor"' in page
    assert page.count("with the trigger</figcaption>") == 6


def test_a_study_that_was_cut_off_goes_on(shell: Shell, workplace: Path) -> None:
    """With --resume its runs are not trained again; without, they are not touched."""
    first = document(shell, *STUDY)
    weights = (workplace / "study/backbone/model.safetensors").stat().st_mtime_ns
    assert "exists" in refused(shell, *STUDY)
    again = document(shell, *STUDY, "--resume")
    assert (workplace / "study/backbone/model.safetensors").stat().st_mtime_ns == weights
    assert again["exits"] == first["exits"]
    assert again["confusion"] == first["confusion"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--target", "9"), "Expected a target class in [0, 2], got 9"),
        (("--target", "birck"), "Expected the name of a target class, got 'birck'; nearest: brick"),
        (("--trigger", "bandets"), "Expected the name of a trigger, got 'bandets'; nearest: badnets"),
        (("--poison-ratio", "0.68"), "Expected a poison ratio that leaves clean images in every class, got 0.68"),
        (("--poison-ratio", "2"), "Expected a poison ratio in (0, 1), got 2.0"),
        (("--data", "nowhere"), "Expected the name of a dataset, got 'nowhere'"),
        (("--mean", "0.5,0.5,0.5"), "No such option"),
        (("--quick",), "Expected no --data, --model, --epochs, --ic-epochs, --learning-rate"),
        (("--clean", "images"), "Expected `shallowdeep audit suspects --model M"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(
    shell: Shell, workplace: Path, change: tuple[str, ...], message: str
) -> None:
    """In one line, and nothing is left behind."""
    assert message in refused(shell, *STUDY, *change)
    assert not (workplace / "study").exists()


def test_a_trigger_larger_than_the_images_is_refused(shell: Shell, workplace: Path) -> None:
    """Five pixels in four."""
    narrow = "import tiny_nets\n\ndef narrow(num_classes):\n    return tiny_nets.plain(num_classes)\n"
    (workplace / "narrow_nets.py").write_text(f"{narrow}\nnarrow.image_size = 4\n")
    line = refused(shell, *STUDY, "--model", "narrow_nets:narrow")
    assert "Expected a trigger within images of 4x4 pixels, got a square of 5" in line


@pytest.fixture
def theirs(shell: Shell, workplace: Path) -> tuple[object, ...]:
    """The command line that evaluates a network of someone else's by 320 clean images."""
    write_images(workplace / "clean", "train", 320)
    write_images(workplace / "clean", "test", 12)
    status, _, errors = shell(
        "train",
        "--data",
        "clean",
        "--model",
        "tiny_nets:plain",
        "--recipe",
        "backbone",
        "--epochs",
        2,
        "--out",
        "theirs",
    )
    assert status == 0, errors
    import torch  # noqa: PLC0415

    from shallowdeep.checkpoint import load  # noqa: PLC0415 - once there is a run

    torch.save(load("theirs", trust=True).to_backbone().state_dict(), workplace / "theirs.pth")
    return (
        "audit",
        "suspects",
        "--model",
        "tiny_nets:plain",
        "--weights",
        "theirs.pth",
        "--clean",
        "clean",
        "--out",
        "evaluated",
    )


def test_suspects_are_compared_with_clean_images(shell: Shell, workplace: Path, theirs: tuple[object, ...]) -> None:
    """Tests, a verdict with its limits, and unreadable files told apart."""
    suspects = workplace / "inbox" / "sub"
    suspects.mkdir(parents=True)
    for number in range(25):
        Image.new("RGB", (16, 16), (0, 10 * number, 250)).save(suspects / f"{number}.png")
    (suspects / "broken.png").write_bytes(b"no image")
    found = document(shell, *theirs, "--suspects", "inbox", "--ic-epochs", 2)
    assert (found["mode"], found["suspects"], found["clean"]) == ("suspects", 25, 119)
    assert found["unreadable"] == ["inbox/sub/broken.png"]
    assert 0 <= found["p_value"] <= 1
    assert found["tests"][0]["name"] == "all"
    assert found["confusion"]["auroc"] == found["tests"][0]["auroc"]
    assert any("No evidence is not clean" in limit for limit in found["limits"])
    assert all(exit_["attack_success"] is None for exit_ in found["exits"])
    status, _, errors = shell("report", "evaluated", "--trust", "--resamples", 0)
    assert status == 0, errors
    assert found["verdict"].split(" (")[0] in (workplace / "evaluated/report.html").read_text()


def test_a_trigger_more_keeps_the_verdict_valid(
    shell: Shell, theirs: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new trigger brings its placebos, and every trigger gets as many as five of them need."""
    monkeypatch.setitem(TRIGGERS, "corner", lambda size: Square(2, size - 2, 0))
    monkeypatch.setattr("shallowdeep.workflows.audit_suspects.PROBED", 20)
    found = document(shell, *theirs, "--ic-epochs", 1)
    assert [probe["trigger"] for probe in found["probes"]][-1] == "corner"
    smallest = 1 / (placebos_needed(5) + 1)
    assert placebos_needed(5) == 199
    assert all(round(probe["p_value"] / smallest, 6) % 1 == 0 for probe in found["probes"])
    assert 5 * 2 * smallest <= 0.05


def test_without_suspects_known_triggers_are_tried(
    shell: Shell, theirs: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each, and what that does not say."""
    monkeypatch.setattr("shallowdeep.workflows.audit_suspects.placebos_needed", lambda _: 9)
    found = document(shell, *theirs, "--ic-epochs", 1)
    assert found["mode"] == "triggers"
    assert [probe["trigger"] for probe in found["probes"]] == ["badnets", "badnets-3", "blended", "sig"]
    assert found["confusion"]["auroc"] is None
    assert found["probed"] == 100
    assert "only the triggers listed were tried" in found["limits"][0]
    assert all(0 <= probe["placebo_share"] <= 1 for probe in found["probes"])
    status, output, _ = shell(*theirs, "--ic-epochs", 1, "--overwrite")
    assert status == 0
    assert found["verdict"][:40] in output


def test_a_quick_examination_trains_a_network_with_a_backdoor(
    shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tries the known triggers on it; it is resumed as other audits are."""
    write_images(workplace / "clean", "train", 320)
    write_images(workplace / "clean", "test", 12)
    quick = {"DATA": "clean", "MODEL": "tiny_nets:normed", "EPOCHS": 1, "IC_EPOCHS": 1}
    for name, value in (quick | {"ATTACK": BackdoorAttack("badnets", 1, 0.2)}).items():
        monkeypatch.setattr(f"shallowdeep.workflows.audit_quick.{name}", value)
    monkeypatch.setattr("shallowdeep.workflows.audit_suspects.placebos_needed", lambda _: 9)
    found = document(shell, "audit", "suspects", "--quick")
    assert (found["mode"], found["weights_file"]) == ("triggers", "audit-quick-suspects/victim.safetensors")
    assert read_config(workplace / "audit-quick-suspects/victim/config.toml").attack == BackdoorAttack(
        "badnets", 1, 0.2
    )
    again = document(shell, "audit", "suspects", "--quick", "--resume")
    assert again["exits"] == found["exits"]
    assert again["probes"] == found["probes"]


def test_suspects_that_cannot_be_judged_are_refused(shell: Shell, workplace: Path, theirs: tuple[object, ...]) -> None:
    """Too few clean images, no folder, an empty one, no weights."""
    few = [*theirs, "--clean", "images"]
    assert "Expected at least 100 clean images held out for a verdict, got 32" in refused(shell, *few)
    assert "Expected a folder of suspect images, got nowhere" in refused(shell, *theirs, "--suspects", "nowhere")
    (workplace / "empty").mkdir()
    assert "Expected suspect images in empty, got none" in refused(shell, *theirs, "--suspects", "empty")
    assert "Expected a number above 0, got 0" in refused(shell, *STUDY, "--poison-ratio", 0)
    assert "Expected --quick, or --model, --weights and --clean, got --model, --clean" in refused(
        shell, "audit", "suspects", "--model", "tiny_nets:plain", "--clean", "clean", "--out", "evaluated"
    )
    assert "Expected `shallowdeep audit suspects --model M --weights FILE --clean DATA" in refused(
        shell, "audit", "backdoor", *theirs[2:]
    )
    assert "Expected --quick, or --data and --model, got --model" in refused(
        shell, "audit", "backdoor", "--model", "tiny_nets:plain"
    )
    assert not (workplace / "evaluated").exists()


def test_slowdown_tells_what_an_attack_costs(shell: Shell, trained: Training, workplace: Path) -> None:
    """Efficacy, costs, defences and latency; a run of its own exits hardened, and another to transfer from."""
    trained("run", *JOINT, model="tiny_nets:normed")
    trained("other", *JOINT, "--seed", 1)
    trained(
        "hard",
        "--recipe",
        "ic-only",
        "--init",
        "run",
        "--trust",
        "--exits",
        2,
        "--epochs",
        1,
        "--adversarial-steps",
        2,
        "--calibration-fraction",
        0.5,
    )
    found = document(
        shell, "audit", "slowdown", "run", "--samples", 12, "--iterations", 3, "--transfer", "other",
        "--hardened", "hard", "--trust",
    )  # fmt: skip
    assert set(found["efficacy"]) == {"before", "after"}
    assert found["step"] == found["epsilon"] / 4 == pytest.approx(2 / 255)
    block = found["policies"][0]
    assert set(block) >= {"clean", "per_sample", "universal", "transfer"}
    assert found["efficacy"]["after"] == block["per_sample"]["efficacy"]
    assert sum(block["clean"]["exit_shares"]) == pytest.approx(1)
    assert [row["name"] for row in found["defences"]] == ["none", "cost limit", "threshold jitter", "hardened exits"]
    limited = found["defences"][1]
    limit = float(limited["rule"].split()[1].rstrip(","))
    assert limited["attacked"]["worst_relative_cost"] == pytest.approx(limit, abs=0.005)
    assert limited["attacked"]["worst_relative_cost"] <= found["defences"][0]["attacked"]["worst_relative_cost"]
    assert [one["batch_size"] for one in block["latency"]] == [1]  # there are no 64 images
    assert found["defended_policy"] == "at most 5% of the accuracy lost"
    assert found["images_per_second"]["per_sample"] > 0
    assert "Size capacity and time limits for" in found["sizing"]
    status, _, errors = shell("report", "run", "--trust", "--resamples", 0)
    assert status == 0, errors
    assert 'id="slowdown"' in (workplace / "run/report.html").read_text()


def test_the_runs_own_policy_is_attacked_first(shell: Shell, trained: Training) -> None:
    """Where `calibrate` made one."""
    trained("run", *JOINT)
    assert shell("calibrate", "run", "--threshold", "0.6", "--trust")[0] == 0
    found = document(shell, "audit", "slowdown", "run", "--samples", 6, "--iterations", 2, "--step", 1, "--trust")
    assert found["step"] == pytest.approx(1 / 255)
    assert found["policy"] == found["policies"][0]["name"] == "the run's policy"
    assert found["policies"][0]["thresholds"] == [0.6, 0.6]
    assert len(found["policies"]) == 3


def test_slowdown_refuses_what_it_cannot_attack(shell: Shell, trained: Training) -> None:
    """A run without internal classifiers, none at all, numbers out of range."""
    trained("plain", "--recipe", "backbone", "--epochs", 1)
    assert "Expected a run with internal classifiers, plain has none" in refused(
        shell, "audit", "slowdown", "plain", "--trust"
    )
    assert "Expected a RUN or --quick, got neither" in refused(shell, "audit", "slowdown")
    assert "Expected a RUN or --quick, got both" in refused(shell, "audit", "slowdown", "plain", "--quick")
    trained("run", *JOINT)
    assert "less is rounded away; epsilon, and iterations times step, allow 0.2" in refused(
        shell, "audit", "slowdown", "run", "--iterations", 2, "--step", 0.1, "--trust"
    )
    assert "Expected step in (0, 255], got 0" in refused(shell, "audit", "slowdown", "run", "--step", 0, "--trust")
    assert "Expected epsilon in (0, 255], got 0" in refused(
        shell, "audit", "slowdown", "run", "--epsilon", 0, "--trust"
    )
    assert "--samples" in refused(shell, "audit", "slowdown", "run", "--samples", 0)


def test_hardening_is_for_recipes_with_exits(shell: Shell, workplace: Path) -> None:
    """And its steps are counted."""
    assert workplace.is_dir()
    train = ("train", "--data", "images", "--model", "tiny_nets:plain", "--epochs", 1, "--out", "run")
    line = refused(shell, *train, "--recipe", "backbone", "--adversarial-steps", 3)
    assert "Expected no --adversarial-steps for the recipe 'backbone', which has no such exits" in line
    assert "Expected a number above 0, got 0" in refused(shell, *train, "--adversarial-steps", 0)


def test_a_hardened_run_says_so(trained: Training, workplace: Path) -> None:
    """In its settings; and the frozen backbone is bit for bit what it was."""
    trained("base", "--recipe", "backbone", "--epochs", 1, model="tiny_nets:normed")
    trained(
        "hard",
        "--recipe",
        "ic-only",
        "--init",
        "base",
        "--trust",
        "--exits",
        2,
        "--epochs",
        1,
        "--adversarial-steps",
        2,
    )
    assert "adversarial_steps = 2" in (workplace / "hard/config.toml").read_text()
    from safetensors.torch import load_file  # noqa: PLC0415

    before, after = (load_file(workplace / run / "model.safetensors") for run in ("base", "hard"))
    assert all(bool((after[name] == value).all()) for name, value in before.items())
    history: list[Any] = [json.loads(line) for line in (workplace / "hard/history.jsonl").read_text().splitlines()]
    assert len(history) == 1


def test_a_hardened_run_must_be_one_of_the_same_attack_and_splits(shell: Shell, trained: Training) -> None:
    """Else its figures would say something else than they seem to."""
    trained("run", *JOINT)
    audit = ("audit", "slowdown", "run", "--samples", 6, "--iterations", 1, "--trust", "--hardened", "other")
    trained("other", *JOINT)
    assert "other was trained under no attack" in refused(shell, *audit)
    trained("other", *JOINT, "--adversarial-steps", 1, "--adversarial-epsilon", 4, "--overwrite")
    assert "other was trained under changes of 4" in refused(shell, *audit)


def test_quick_refuses_what_it_has_no_use_for(shell: Shell, workplace: Path) -> None:
    """Nothing that is typed is silently ignored, and an earlier run is not replaced unasked."""
    assert "Expected no --target beside --quick" in refused(shell, "audit", "backdoor", "--quick", "--target", 3)
    assert "Expected no --epsilon beside --quick" in refused(shell, "audit", "slowdown", "--quick", "--epsilon", 4)
    assert "Expected no --poison-ratio beside --quick" in refused(
        shell, "audit", "backdoor", "--quick", "--poison-ratio", 0.1
    )
    assert "Expected no --clean, --ic-epochs, --trust beside --quick" in refused(
        shell, "audit", "suspects", "--quick", "--clean", "there", "--ic-epochs", 3, "--trust"
    )
    assert "Expected no --skip-bad-images beside" in refused(shell, "audit", "slowdown", "--quick", "--skip-bad-images")
    (workplace / "run").mkdir()
    (workplace / "run" / "config.toml").write_text('data = "mnist5k"\n')
    assert "Expected no --out without --quick" in refused(shell, "audit", "slowdown", "run", "--out", "there")
    assert "Expected no --resume without --quick" in refused(shell, "audit", "slowdown", "run", "--resume")
    (workplace / "audit-quick-slowdown" / "victim").mkdir(parents=True)
    (workplace / "audit-quick-slowdown" / "victim" / "config.toml").write_text('data = "mnist5k"\n')
    assert "exists; --resume goes on with it" in refused(shell, "audit", "slowdown", "--quick")


def test_an_audit_of_other_weights_is_not_shown(shell: Shell, trained: Training, workplace: Path) -> None:
    """Training anew deletes it; and a report leaves out one of other weights."""
    trained("run", *JOINT)
    audit = ("audit", "slowdown", "run", "--samples", 6, "--iterations", 1, "--trust")
    assert shell(*audit)[0] == 0
    path = workplace / "run/audit-slowdown.json"
    path.write_text(path.read_text().replace('"weights": "', '"weights": "0'))
    assert shell("report", "run", "--trust", "--resamples", 0)[0] == 0
    assert 'id="slowdown"' not in (workplace / "run/report.html").read_text()
    trained("run", *JOINT, "--overwrite")
    assert not path.exists()


def test_heads_of_an_older_backbone_are_noticed(shell: Shell, workplace: Path) -> None:
    """As a study that was overwritten and cut off could leave them."""
    document(shell, *STUDY)
    anew = (*STUDY, "--out", "anew", "--poison-ratio", 0.3)
    document(shell, *anew)
    shutil.rmtree(workplace / "anew/clean-ics")
    shutil.copytree(workplace / "study/clean-ics", workplace / "anew/clean-ics")
    path = workplace / "anew/clean-ics/config.toml"
    path.write_text(path.read_text().replace("study/", "anew/"))
    line = _last_line(shell(*anew, "--resume"))
    assert "Expected internal classifiers on the backbone of anew/backbone, anew/clean-ics has another" in line


def _last_line(answer: tuple[int, str, str]) -> str:
    assert answer[0] == 2, answer
    return answer[2].splitlines()[-1]


def test_a_study_is_resumed_by_its_directory_alone(shell: Shell, workplace: Path) -> None:
    """Its settings are kept beside its runs; where there are none, that is told."""
    whole = document(shell, *STUDY, "--out", "study")
    again = document(shell, "audit", "backdoor", "--resume", "--out", "study")
    assert again["exits"] == whole["exits"]
    assert "Expected a study to resume in nowhere, found no study.json" in refused(
        shell, "audit", "backdoor", "--resume", "--out", "nowhere"
    )
    assert workplace.is_dir()


def test_a_wrong_target_is_told_before_images_are_read(
    shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class names of the data are enough to know."""
    monkeypatch.setattr("shallowdeep.workflows.audit_backdoor.prepare_data", lambda *_: pytest.fail("read too early"))
    target = [argument if argument != "brick" else "brikc" for argument in STUDY]
    assert "Expected the name of a target class, got 'brikc'; nearest: brick" in refused(shell, *target)
    assert workplace.is_dir()


def test_timing_can_be_left_out(shell: Shell, trained: Training, workplace: Path) -> None:
    """Findings and page without latencies."""
    trained("run", *JOINT)
    found = document(
        shell, "audit", "slowdown", "run", "--samples", 6, "--iterations", 1, "--step", 1, "--trust", "--no-timing"
    )
    assert all(block["latency"] == [] for block in found["policies"])
    assert "times as long" not in found["sizing"]
    assert shell("report", "run", "--trust", "--resamples", 0)[0] == 0
    assert "Milliseconds a batch" not in (workplace / "run/report.html").read_text()
    assert "Expected no --no-timing beside --quick" in refused(shell, "audit", "slowdown", "--quick", "--no-timing")
