"""Bad input: one line on standard error, exit status 2, nothing lost."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import shallowdeep.sdn.saving

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

TRAIN = ("train", "--data", "images", "--model", "tiny_nets:plain", "--epochs", 1, "--out", "run")


def refused(shell: Shell, *arguments: object) -> str:
    """The one line a command that is refused writes; it leaves no run behind."""
    before = sorted(Path().rglob("*"))
    status, output, errors = shell(*arguments)
    assert status == 2
    assert output == ""
    errors = errors.removeprefix("Loading ...\n")  # shown on a busy machine
    assert errors.startswith("shallowdeep: ")
    assert errors.count("\n") == 1, errors
    assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in str(path)] == [
        path for path in before if "__pycache__" not in str(path)
    ]
    return errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "minst5k"), "Expected the name of a dataset, got 'minst5k'; nearest: mnist5k"),
        (("--model", "resnet65"), "Expected the name of a model, got 'resnet65'; nearest: resnet56"),
        (("--model", "torchvision:resnet81"), "nearest: torchvision:resnet18"),
        (("--model", "no_such_module:net"), "Expected a module that can be imported, got 'no_such_module'"),
        (("--recipe", "jiont"), "Expected the name of a recipe, got 'jiont'; nearest: joint"),
        (("--recipe", "ic-only"), "Expected --init RUN or --weights FILE for the recipe 'ic-only'"),
        (("--calibration-fraction", "1.5"), "Expected calibration fraction in (0, 1), got 1.5"),
        (("--test-fraction", "0"), "Expected test fraction in (0, 1), got 0.0"),
        (("--exits", "15"), "Expected at most 2 internal classifiers"),
        (("--exits", "0"), "Expected 1 to 19 internal classifiers, got 0"),
        (("--exits", "1.5"), "Expected exit fractions in (0, 1), got 1.5"),
        (("--exits", "0.5,0.2"), "Expected exit fractions that increase"),
        (("--exits", "few"), "Expected a number of exits, or fractions such as 0.2,0.5,0.8, got 'few'"),
        (("--epochs", "0"), "Invalid value for '--epochs': Expected a number above 0, got 0"),
        (("--epochs", "-3"), "Expected a number above 0, got -3"),
        (("--epochs", "many"), "Invalid value for '--epochs'"),
        (("--learning-rate", "0"), "Expected a number above 0, got 0.0"),
        (("--learning-rate", "nan"), "Expected a number above 0, got nan"),
        (("--learning-rate", "1e39"), "Expected a learning rate in (0, 1e+06], got 1e+39"),
        (("--batch-size", "0"), "Expected a number above 0, got 0"),
        (("--seed", "-1"), "Expected seed of at least 0, got -1"),
        (("--workers", "-1"), "Expected workers of at least 0, got -1"),
        (("--memory-budget", "-1"), "Expected memory budget of at least 0, got -1.0"),
        (("--cache-budget", "inf"), "Expected a finite cache budget, got inf"),
        (("--device", "cqu"), "Expected a device that is present, got 'cqu'"),
        (("--precision", "fp8"), "Expected the name of a precision, got 'fp8'"),
        (("--init", "nowhere"), "Expected a saved network with model.json in nowhere, found none"),
        (("--weights", "nowhere.pth"), "Expected a weights file, got 'nowhere.pth', which does not exist"),
        (("--config", "nowhere.toml"), "Expected settings in TOML in nowhere.toml"),
        (("--resume", "--overwrite"), "Expected --resume or --overwrite, got both"),
        (("--pretrained",), "Expected a torchvision: or timm: name for pretrained weights"),
        (("--model", "tiny_nets:two_classes"), "Expected Sequential to return logits (N, 3), one for each class"),
        (("--model", "torchvision:alexnet", "--image-size", "8", "--recipe", "backbone"), "images of 8x8 pixels, got"),
        (("--nonsense",), "No such option"),
    ],
)
def test_wrong_options_are_told(shell: Shell, workplace: Path, arguments: tuple[str, ...], message: str) -> None:
    """Whatever is wrong with an option is said in one line before anything is written."""
    assert workplace.is_dir()
    assert message in refused(shell, *TRAIN, *arguments)


def test_missing_options_are_told(shell: Shell, workplace: Path) -> None:
    """No output, no data, no model, no run to resume: each is asked for."""
    assert workplace.is_dir()
    assert "Missing option '--out'" in refused(shell, "train", "--data", "images")
    assert "Expected data in the command line or by --data" in refused(shell, "train", "--model", "vgg16", "--out", "a")
    assert "Expected a model by --model" in refused(shell, "train", "--data", "images", "--out", "a")
    assert "Expected a run to resume in a, found no config.toml" in refused(shell, "train", "--resume", "--out", "a")
    assert "No such command 'trian'" in refused(shell, "trian")


def test_wrong_settings_in_a_file_are_told(shell: Shell, workplace: Path) -> None:
    """A wrong key is told with the nearest, a wrong type with the type."""
    (workplace / "key.toml").write_text('data = "images"\nepoch = 3\n')
    (workplace / "type.toml").write_text('data = "images"\nepochs = "3"\n')
    (workplace / "syntax.toml").write_text("data = \n")
    assert "got 'epoch'; nearest: epochs" in refused(shell, *TRAIN, "--config", "key.toml")
    base = ("train", "--out", "run", "--config")
    assert "Expected epochs to be of type int, got '3'" in refused(shell, *base, "type.toml")
    assert "Expected settings in TOML in syntax.toml" in refused(shell, *base, "syntax.toml")


def test_a_file_does_not_name_code_unasked(shell: Shell, workplace: Path) -> None:
    """Code named by a file runs only with --trust, or where the same name is typed."""
    (workplace / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    (workplace / "evil.toml").write_text('data = "images"\nmodel = "evil:net"\n')
    message = refused(shell, "train", "--out", "run", "--config", "evil.toml")
    assert "Expected --model or --trust to import and run 'evil:net', which evil.toml names" in message


def test_a_run_that_names_code_needs_trust(shell: Shell, trained: Training, workplace: Path) -> None:
    """--init and evaluate refuse a manifest's code, and import none of it."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    (workplace / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    document = json.loads(Path("start/model.json").read_text())
    document["model"]["name"] = "evil:net"
    del document["sha256"]
    Path("start/model.json").write_text(json.dumps(document))
    base = ("train", "--data", "images", "--init", "start", "--recipe", "ic-only", "--out", "run")
    assert "Expected --trust (trust=True) to import and run 'evil:net'" in refused(shell, *base)
    assert "Expected --trust (trust=True) to import and run 'evil:net'" in refused(shell, "evaluate", "start")
    assert "Expected the model of start, 'evil:net', got 'vgg16'" in refused(shell, *base, "--model", "vgg16")


def test_a_folder_with_one_class_is_refused(shell: Shell, workplace: Path) -> None:
    """There is nothing to classify."""
    shutil.rmtree(workplace / "images" / "test")
    for name in ("brick", "coral"):
        shutil.rmtree(workplace / "images" / "train" / name)
    assert "class" in refused(shell, *TRAIN)


def test_an_undecodable_image_is_named(shell: Shell, workplace: Path) -> None:
    """It is named and nothing is trained; with --skip-bad-images it is left out and counted."""
    bad = workplace / "images" / "train" / "brick" / "001.png"
    bad.write_bytes(b"no image")
    assert "001.png" in refused(shell, *TRAIN)
    status, output, _ = shell(*TRAIN, "--skip-bad-images", "--json")
    assert status == 0
    assert json.loads(output)["skipped_images"] == 1


def test_images_that_are_left_out_are_named(shell: Shell, workplace: Path) -> None:
    """By every command: on standard error, in the document, and in the run's file; a resumed run knows them too."""
    bad = [workplace / "images" / "train" / "brick" / f"{number:03}.png" for number in range(1, 60, 3)]
    bad += [workplace / "images" / "test" / "brick" / "001.png"]
    for file in bad:
        file.write_bytes(b"no image")
    status, output, errors = shell(
        *TRAIN, "--recipe", "joint", "--exits", 2, "--epochs", 1, "--calibration-fraction", 0.5, "--skip-bad-images",
        "--json",
    )  # fmt: skip
    assert status == 0, errors
    document = json.loads(output)
    names = document["skipped_files"]
    assert len(names) == document["skipped_images"] > 10
    assert {Path(name).name for name in names} <= {file.name for file in bad}
    lines = errors.splitlines()
    assert f"Bad images left out: {len(names)}" in lines
    assert [line.strip() for line in lines if line.startswith(f"  {workplace}")] == names[:10]
    assert lines[-1] == f"  and {len(names) - 10} more; run/skipped.txt names all"
    resumed = shell(*TRAIN, "--recipe", "joint", "--exits", 2, "--epochs", 1, "--calibration-fraction", 0.5,
                    "--skip-bad-images", "--json", "--resume")  # fmt: skip
    assert json.loads(resumed[1]) == document
    for command in (
        ("evaluate", "run"), ("calibrate", "run", "--threshold", 0.5), ("analyze", "run", "--resamples", 0),
        ("report", "run", "--resamples", 0, "--images", 0),
    ):  # fmt: skip
        status, output, errors = shell(*command, "--trust", "--json")
        assert status == 0, errors
        told = json.loads(output)["skipped_files"]
        assert sum("test" in Path(name).parts for name in told) == 1
        assert all(Path(name).is_absolute() for name in (*names, *told))  # one image has one name
        assert f"Bad images left out: {len(told)}" in errors
        assert all(f"  {name}" in errors for name in told[:10])
    kept = Path("run/skipped.txt").read_text().splitlines()
    assert {line.split("\t")[0] for line in kept} == {"train", "tune", "certify", "test"}
    assert {line.split("\t")[1] for line in kept} == {str(file.resolve()) for file in bad}


def test_labels_out_of_range_are_refused(shell: Shell, workplace: Path) -> None:
    """A Parquet file whose labels its class names do not cover is refused."""
    rows = []
    for number in range(12):
        stream = BytesIO()
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(stream, "PNG")
        rows.append({"image": {"bytes": stream.getvalue(), "path": None}, "label": 7 if number == 5 else number % 2})
    table = pa.Table.from_pylist(rows)
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (workplace / "parquet").mkdir()
    pq.write_table(table, workplace / "parquet" / "train-00000-of-00001.parquet")
    assert "7" in refused(shell, *TRAIN, "--data", "parquet")


def test_weights_that_do_not_fit_are_named(shell: Shell, workplace: Path) -> None:
    """The first names that are missing, too many or different are told."""
    save_file({"0.weight": torch.zeros(8, 3, 5, 5), "other": torch.zeros(1)}, workplace / "w.safetensors")
    message = refused(shell, *TRAIN, "--weights", "w.safetensors")
    assert "missing 0.bias" in message
    assert "unexpected other" in message
    assert "different 0.weight: expected (8, 3, 3, 3), got (8, 3, 5, 5)" in message


def test_weights_of_a_run_are_pointed_to_init(shell: Shell, trained: Training) -> None:
    """A run's file holds the weights of all exits; the option that takes it is named."""
    trained("first", "--recipe", "backbone", "--epochs", 1)
    message = refused(shell, *TRAIN, "--weights", "first/model.safetensors")
    assert "got those of a run: `train --init first` takes its backbone" in message


def test_an_existing_run_is_kept(shell: Shell, trained: Training) -> None:
    """It is refused; with --overwrite and another mistake it is kept too; with --overwrite alone it is replaced."""
    trained("run", "--recipe", "backbone", "--epochs", 1)
    weights = Path("run/model.safetensors").read_bytes()
    assert "run exists; --resume goes on with it, --overwrite replaces it" in refused(shell, *TRAIN)
    assert "nearest: mnist5k" in refused(shell, *TRAIN, "--overwrite", "--data", "minst5k")
    assert "got recipe 'joint' instead of 'backbone'" in refused(shell, *TRAIN, "--resume", "--recipe", "joint")
    assert Path("run/model.safetensors").read_bytes() == weights
    assert shell(*TRAIN, "--overwrite", "--exits", 2)[0] == 0
    assert Path("run/model.safetensors").read_bytes() != weights


def test_strangers_files_are_kept(shell: Shell, workplace: Path) -> None:
    """--overwrite does not empty a directory that is no run."""
    (workplace / "run").mkdir()
    (workplace / "run" / "thesis.txt").write_text("ten years of work")
    assert "run holds files but no config.toml, so it is no run" in refused(shell, *TRAIN, "--overwrite")
    assert "run holds files but no config.toml, so it is no run" in refused(shell, *TRAIN, "--resume")


def test_no_disk_space_is_told_before_training(shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk too small is refused before the first step."""
    assert workplace.is_dir()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "no space left on the disk" in refused(shell, *TRAIN)


def test_a_disk_that_fills_up_keeps_the_last_state(
    shell: Shell, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an epoch's state does not fit, the run stops with one line, and goes on once there is room."""
    assert workplace.is_dir()
    written = shallowdeep.sdn.saving.write_tensors
    calls = []

    def second_fails(*values: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        written(*values, **options)  # type: ignore[arg-type]  # passed on

    arguments = (*TRAIN, "--exits", 2, "--epochs", 3, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr("shallowdeep.training.state.write_tensors", second_fails)
        status, _, errors = shell(*arguments)
    assert status == 2
    assert errors.splitlines()[-1].endswith(
        "Expected to write run/training.safetensors, got: no space left on the disk"
    )
    status, _, errors = shell(*arguments)
    assert status == 0
    assert "joint epoch 1/" not in errors
    assert "joint epoch 2/" in errors


def test_evaluation_of_what_does_not_fit_is_refused(shell: Shell, trained: Training, workplace: Path) -> None:
    """No run, an unknown split, other classes, no images: one line each."""
    trained("start", "--recipe", "backbone", "--epochs", 1)
    base = ("evaluate", "start", "--trust")
    assert "Expected a saved network with model.json in nowhere" in refused(shell, "evaluate", "nowhere")
    assert "Expected a split among test, tune, train, got 'certify'" in refused(shell, *base, "--split", "certify")
    assert "0" in refused(shell, *base, "--batch-size", 0)
    shutil.move(workplace / "images" / "train" / "coral", workplace / "images" / "train" / "dune")
    shutil.move(workplace / "images" / "test" / "coral", workplace / "images" / "test" / "dune")
    assert "Expected the 3 classes of start (azure, brick, coral ...), got 3 in images" in refused(shell, *base)
    ic = ("train", "--data", "images", "--init", "start", "--trust", "--recipe", "ic-only", "--out", "run")
    assert "Expected the 3 classes of start (azure, brick, coral ...), got 3 in images" in refused(shell, *ic)
    assert "Expected image size 16x16, that of start, got 32x32" in refused(shell, *ic, "--image-size", 32)
