"""export, predict and bench by commands: the right answers, and never a wrong one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import site
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import NETWORKS, write_images

import shallowdeep
from shallowdeep.artifacts import BUNDLE_MANIFEST
from shallowdeep.checkpoint import load, read_manifest
from shallowdeep.cli.main import run
from shallowdeep.data.image import decode_image
from shallowdeep.data.load import load_dataset
from shallowdeep.errors import CheckpointError
from shallowdeep.exits.policy import Policy, decide, shared_threshold
from shallowdeep.exits.policy_file import write_policy
from shallowdeep.files import exclusive
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.sdn.network import ShallowDeepNetwork

if TYPE_CHECKING:
    from tests.conftest import Shell, Training

POLICY = Policy((0.5, 0.6))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two internal classifiers and a policy, and its bundle for ONNX Runtime; made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny_nets.py").write_text(NETWORKS)
    write_images(folder / "images", "train", 60)
    write_images(folder / "images", "test", 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        train = ["train", "--data", "images", "--model", "tiny_nets:plain", "--batch-size", "16", "--out", "run"]
        assert run([*train, "--recipe", "joint", "--exits", "2", "--epochs", "2"]) == 0
        give(Path("run"), POLICY)
        assert run(["export", "run", "--out", "bundle", "--trust"]) == 0
    return folder


@pytest.fixture
def run_directory(workplace: Path, made: Path) -> Path:
    """A copy of the run, in the working directory."""
    shutil.copytree(made / "run", workplace / "run")
    return Path("run")


@pytest.fixture
def bundle(run_directory: Path, workplace: Path, made: Path) -> Path:
    """A copy of its bundle, beside it."""
    assert run_directory.exists()
    shutil.copytree(made / "bundle", workplace / "bundle")
    return Path("bundle")


def give(directory: Path, policy: Policy, weights: str | None = None) -> None:
    """Write a policy to a run."""
    own = str(read_manifest(directory).weights["sha256"])
    fields = {name: getattr(policy, name) for name in ("thresholds", "signal", "fallback")}
    write_policy(Policy(weights=own if weights is None else weights, **fields), directory / "policy.json")


def network_of(run: Path) -> ShallowDeepNetwork:
    """The run's network."""
    return load(run, trust=True)


def refused(shell: Shell, *arguments: object) -> str:
    """The one line of a command that is refused."""
    status, output, errors = shell(*arguments)
    assert (status, output) == (2, "")
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    return lines[0]


def test_predict_answers_as_the_network_does(shell: Shell, bundle: Path) -> None:
    """Files of a folder, and one by name, get label, confidence, exit and cost of "all exits, then policy"."""
    first = next(Path("images/test/azure").iterdir())
    status, output, _ = shell("predict", bundle, first, "images/test", "--batch-size", 5, "--json")
    assert status == 0
    document = json.loads(output)
    files = [Path(answer["file"]) for answer in document["predictions"]]
    assert files == [first, *sorted(Path("images/test").rglob("*.png"))]
    network = network_of(Path("run"))
    assert network.preprocessing is not None
    pixels = np.stack([decode_image(file, network.preprocessing.size) for file in files]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(network.preprocessing.normalize(torch.from_numpy(pixels)))
    expected = decide(POLICY, logits)
    reached = {segment.exit: segment.relative_cost for segment in read_bundle(bundle).segments}
    for n, answer in enumerate(document["predictions"]):
        assert answer["label"] == network.classes[int(expected.labels[n])]
        assert answer["exit"] == int(expected.exits[n])
        assert answer["confidence"] == pytest.approx(float(expected.confidences[n]), abs=1e-4)
        assert answer["relative_cost"] == pytest.approx(reached[answer["exit"]], rel=1e-6)
    costs = [answer["relative_cost"] for answer in document["predictions"]]
    assert document["mean_relative_cost"] == pytest.approx(sum(costs) / len(costs))


def test_predict_answers_alike_by_any_number_of_threads(shell: Shell, bundle: Path) -> None:
    """Those that decode images change no answer and no order."""
    outputs = [shell("predict", bundle, "images/test", *workers, "--json") for workers in ((), ("--workers", 1))]
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == 0


def test_predict_takes_images_of_any_size_and_mode(shell: Shell, bundle: Path, workplace: Path) -> None:
    """Grey, palette, transparent and 16-bit ones, wide and tall; the table names each."""
    folder = workplace / "zoo"
    folder.mkdir()
    for name, mode, size in (
        ("g", "L", (40, 9)),
        ("p", "P", (16, 16)),
        ("a", "RGBA", (7, 90)),
        ("w", "I;16", (20, 20)),
    ):
        Image.new(mode, size, 3).save(folder / f"{name}.png")
    status, output, _ = shell("predict", bundle, folder)
    assert status == 0
    assert all(f"zoo/{name}.png" in output for name in "gpaw")
    assert "4 images at a mean relative cost of" in output


def test_predict_tells_probabilities(shell: Shell, bundle: Path) -> None:
    """The most probable labels, and those of all classes, at the exit that answered; of more than there are, all."""
    command = ("predict", bundle, "images/test", "--top", 2, "--probabilities")
    status, output, errors = shell(*command, "--json")
    assert (status, errors) == (0, "")
    document = json.loads(output)
    assert document["classes"] == ["azure", "brick", "coral"]
    for answer in document["predictions"]:
        ranked = sorted(zip(answer["probabilities"], document["classes"], strict=True), reverse=True)
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-6)
        assert [(one["probability"], one["label"]) for one in answer["top"]] == ranked[:2]
        assert answer["label"] == answer["top"][0]["label"]
        assert answer["confidence"] == pytest.approx(answer["top"][0]["probability"], abs=1e-6)
    status, output, errors = shell(*command, "--csv")
    assert (status, errors) == (0, "")
    for row, answer in zip(csv.DictReader(StringIO(output)), document["predictions"], strict=True):
        assert (row["file"], row["label"], int(row["exit"])) == (answer["file"], answer["label"], answer["exit"])
        assert row["label_2"] == answer["top"][1]["label"]
        assert [float(row[f"probability_{name}"]) for name in document["classes"]] == pytest.approx(
            answer["probabilities"], abs=1e-6
        )
    plain = json.loads(shell("predict", bundle, "images/test", "--json")[1])["predictions"]
    assert [len(answer["top"]) for answer in plain] == [1] * 12
    assert {answer["probabilities"] for answer in plain} == {None}
    most = json.loads(shell("predict", bundle, "images/test", "--top", 9, "--json")[1])["predictions"]
    assert [len(answer["top"]) for answer in most] == [3] * 12
    table = " ".join(shell(*command)[1].split())
    assert all(f"{name} 0." in table for name in document["classes"])


def test_csv_leaves_notes_to_standard_error(shell: Shell, bundle: Path) -> None:
    """Bad images are named there, the exit status is 1; both kinds of output at once are refused."""
    Path("broken.png").write_bytes(b"no image")
    status, output, errors = shell("predict", bundle, "images/test", "broken.png", "--csv")
    assert (status, len(output.splitlines())) == (1, 13)
    assert output.startswith("file,label,confidence,exit,relative_cost,confusion,forced,abstained\n")
    assert "broken.png" in errors
    assert "broken.png" not in output
    status, output, _ = shell("predict", bundle, "broken.png", "--csv")
    assert (status, len(output.splitlines())) == (1, 1)
    assert "Expected --json or --csv, got both" in refused(shell, "predict", bundle, "images/test", "--csv", "--json")


def test_predict_needs_no_static_network(shell: Shell, bundle: Path) -> None:
    """Altered or gone, predict and the engine answer all the same; bench refuses it, and what is run is checked."""
    command = ("predict", bundle, "images/test", "--json")
    expected = shell(*command)
    static = bundle / "static.onnx"
    good = static.read_bytes()
    static.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert shell(*command) == expected
    assert f"Expected the checksum of {static} to be the manifest's" in refused(shell, "bench", bundle)
    static.unlink()
    assert shell(*command) == expected
    assert "Expected static.onnx in bundle, found no such file" in refused(shell, "bench", bundle)
    assert EarlyExitEngine(bundle)("images/test/azure/000.png").labels.shape == (1,)
    assert read_bundle(bundle).static == "static.onnx"
    with pytest.raises(CheckpointError, match=r"Expected static\.onnx in bundle, found no such file"):
        read_bundle(bundle, static=True)
    (bundle / "segment-0.onnx").unlink()
    assert "Expected segment-0.onnx in bundle, found no such file" in refused(shell, *command)


def test_empty_folders_and_bad_images_alone(shell: Shell, bundle: Path) -> None:
    """A folder without images is named beside answers; with nothing answered there is no empty table."""
    Path("nothing").mkdir()
    status, output, errors = shell("predict", bundle, next(Path("images/test").rglob("*.png")), "nothing")
    assert status == 0
    assert "1 image at a mean relative cost of" in output
    assert "No image in nothing" in errors
    Path("broken.png").write_bytes(b"no image")
    status, output, errors = shell("predict", bundle, "broken.png")
    assert (status, output.strip()) == (1, "No image could be answered.")
    assert "broken.png" in errors


def test_bad_images_are_named_and_good_ones_answered(shell: Shell, bundle: Path) -> None:
    """Exit status 1; the bad one stands on standard error and in the JSON document."""
    Path("images/test/azure/broken.png").write_bytes(b"no image")
    status, output, errors = shell("predict", bundle, "images/test", "--json")
    document = json.loads(output)
    assert status == 1
    assert len(document["predictions"]) == 12
    assert [Path(failure["file"]).name for failure in document["failed"]] == ["broken.png"]
    assert "broken.png" in errors
    status, output, _ = shell("predict", bundle, "images/test/azure/broken.png", "--json")
    assert (status, json.loads(output)["mean_relative_cost"]) == (1, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.png",), "Expected an image or a folder of images, got nowhere.png, which does not exist"),
        (("empty",), "Expected at least one image in empty, found none"),
    ],
)
def test_missing_images_are_told(shell: Shell, bundle: Path, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is run."""
    Path("empty").mkdir()
    assert message in refused(shell, "predict", bundle, *arguments)


def test_the_bundle_agrees_on_the_whole_calibration_split(bundle: Path) -> None:
    """Logits of every exit within 1e-4 of the network's, for each image; and so the decisions."""
    network = network_of(Path("run"))
    data = load_dataset("images", image_size=16, preprocessing=network.preprocessing)
    images, _ = data.calibration.fetch(torch.arange(len(data.calibration)))
    x = data.preprocessing.normalize(images).contiguous()
    engine = EarlyExitEngine(bundle, threads=1)
    with torch.no_grad():
        expected = network(x).numpy()
    features = engine.backend.accept(x)
    for number, segment in enumerate(engine.segments):
        features, logits = engine.backend.run(number, features)
        assert np.abs(logits - expected[segment.exit]).max() < 1e-4
    assert len(x) == 6
    got, wanted = engine(x.numpy()), decide(POLICY, torch.from_numpy(expected))
    assert got.exits.tolist() == wanted.exits.tolist()
    assert got.labels.tolist() == wanted.labels.tolist()


def test_torch_bundles_answer_the_same(shell: Shell, trained: Training) -> None:
    """A bundle for eager PyTorch holds the network; its answers are those of ONNX Runtime's."""
    trained("named", "--recipe", "joint", "--exits", "2", "--epochs", 1, model="resnet20")
    give(Path("named"), POLICY)
    documents = []
    for backend in ("torch", "onnxruntime"):
        assert shell("export", "named", "--backend", backend, "--out", backend)[0] == 0
        status, output, errors = shell("predict", backend, "images/test", "--json")
        assert status == 0, errors
        documents.append(json.loads(output)["predictions"])
    for one, other in zip(*documents, strict=True):
        assert one.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-4)
        assert one.pop("relative_cost") == pytest.approx(other.pop("relative_cost"), rel=1e-6)
        (best,), (others_best,) = one.pop("top"), other.pop("top")
        assert best == {
            "label": others_best["label"],
            "probability": pytest.approx(others_best["probability"], abs=1e-4),
        }
        assert one == other


def test_switched_off_exits_are_not_written(shell: Shell, run_directory: Path) -> None:
    """Their stages are part of the next one's file."""
    give(run_directory, Policy((None, 0.6)))
    status, output, _ = shell("export", run_directory, "--out", "bundle", "--no-static", "--trust", "--json")
    document = json.loads(output)
    assert status == 0
    assert [segment["exit"] for segment in document["segments"]] == [1, 2]
    assert sorted(os.listdir("bundle")) == ["manifest.json", "segment-0.onnx", "segment-1.onnx"]  # noqa: PTH208
    assert "it without --no-static" in refused(shell, "bench", "bundle")


def test_damaged_bundles_are_refused(shell: Shell, bundle: Path) -> None:
    """An altered, truncated or missing stage file, an altered manifest, a newer format: each told, none run."""
    file, manifest = bundle / "segment-1.onnx", bundle / BUNDLE_MANIFEST
    good, text = file.read_bytes(), manifest.read_text()

    def message() -> str:
        return refused(shell, "predict", bundle, "images/test")

    file.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert "the file was altered" in message()
    file.write_bytes(good[:-7])
    assert "the file is truncated" in message()
    file.unlink()
    assert "Expected segment-1.onnx in bundle, found no such file" in message()
    file.write_bytes(good)
    for change, told in (
        ({"format_version": 3}, "a newer shallowdeep reads it"),
        ({"format": "other"}, "got another"),
        ({"backbone_macs": 1}, "the file was altered"),
    ):
        manifest.write_text(json.dumps(json.loads(text) | change))
        assert told in message()
    manifest.write_text(text[:50])
    assert "truncated or altered" in message()
    assert "`shallowdeep export` makes a bundle of it" in refused(shell, "predict", "run", "images/test")


def test_export_refuses_what_does_not_go_together(shell: Shell, run_directory: Path) -> None:
    """Another weights' policy, no policy, no exits, an existing directory, an unknown backend."""
    export = ("export", run_directory, "--out", "bundle", "--trust")
    give(run_directory, POLICY, weights="ab" * 32)
    assert "made for abababababab" in refused(shell, *export)
    (run_directory / "policy.json").unlink()
    assert "`shallowdeep calibrate` makes one" in refused(shell, *export)
    give(run_directory, shared_threshold(0.5, 5))
    assert "Expected a policy for 3 exits, got one for 5" in refused(shell, *export)
    give(run_directory, POLICY)
    assert "got 'onnxrt'; nearest: onnxruntime" in refused(shell, *export, "--backend", "onnxrt")
    Path("bundle").mkdir()
    Path("bundle/mine.txt").write_text("keep me")
    assert "exists and is no bundle" in refused(shell, *export, "--overwrite")
    assert Path("bundle/mine.txt").read_text() == "keep me"


def test_a_policy_with_a_cost_limit_runs_in_its_own_bundle(shell: Shell, run_directory: Path) -> None:
    """Stages beyond the limit are not written; the images stopped by it are marked; the policy fits its bundle."""
    own = str(read_manifest(run_directory).weights["sha256"])
    limited = Policy((0.99, 0.99), max_relative_cost=0.9, weights=own)
    write_policy(limited, run_directory / "policy.json")
    assert shell("export", run_directory, "--out", "bundle", "--trust")[0] == 0
    assert [segment.exit for segment in read_bundle("bundle").segments] == [0, 1]
    EarlyExitEngine("bundle", limited, threads=1)
    status, output, _ = shell("predict", "bundle", "images/test", "--json")
    forced = [answer["forced"] for answer in json.loads(output)["predictions"]]
    assert (status, any(forced)) == (0, True)
    assert "(limit)" in shell("predict", "bundle", "images/test")[1]


def test_other_directories_with_a_manifest_are_kept(shell: Shell, run_directory: Path) -> None:
    """A web page's manifest.json does not make a folder a bundle."""
    Path("site").mkdir()
    Path("site/manifest.json").write_text('{"name": "my page"}')
    assert "is no bundle" in refused(shell, "export", run_directory, "--out", "site", "--overwrite", "--trust")
    assert Path("site/manifest.json").read_text() == '{"name": "my page"}'


def test_own_code_is_no_torch_bundle(shell: Shell, run_directory: Path) -> None:
    """A network that only --trust can build is refused at export, not when it is used."""
    command = ("export", run_directory, "--out", "bundle", "--trust", "--backend", "torch")
    assert "export it for onnxruntime" in refused(shell, *command)


def test_linked_folders_are_followed(shell: Shell, bundle: Path) -> None:
    """A folder that is a link counts, in training and here."""
    Path("links").mkdir()
    Path("links/there").symlink_to(Path("images/test/azure").absolute())
    status, output, _ = shell("predict", bundle, "links", "--json")
    assert (status, len(json.loads(output)["predictions"])) == (0, 4)


def test_an_existing_bundle_is_replaced_only_when_asked(shell: Shell, bundle: Path) -> None:
    """Whole: nothing of the old one stays."""
    export = ("export", "run", "--out", bundle, "--trust")
    assert "--overwrite replaces it" in refused(shell, *export)
    give(Path("run"), Policy((None, 0.6)))
    assert shell(*export, "--overwrite")[0] == 0
    assert len(read_bundle(bundle).segments) == 2
    assert not (bundle / "segment-2.onnx").exists()
    assert [path for path in Path().iterdir() if path.name.startswith(".bundle")] == []


def test_a_backend_that_is_not_installed_says_what_to_install(
    shell: Shell, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "shallowdeep.inference.backends.onnx_runtime")
    assert "pip install onnxruntime" in refused(shell, "predict", bundle, "images/test")


def test_predict_needs_no_torch(shell: Shell, bundle: Path, workplace: Path) -> None:
    """In an environment that has everything but torch, the answers are the same."""
    status, output, _ = shell("predict", bundle, "images/test", "--json")
    assert status == 0
    packages = workplace / "packages"
    packages.mkdir()
    for folder in site.getsitepackages():
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("torch", "functorch")) and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    source = str(Path(shallowdeep.__file__).parent.parent)
    script = f"import sys; sys.path[:0] = [{str(packages)!r}, {source!r}]\n"
    probe = [sys.executable, "-I", "-S", "-c", script + "import torch"]
    assert "No module named 'torch'" in subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    script += "from shallowdeep.cli.main import run\nsys.exit(run(['predict', 'bundle', 'images/test', '--json']))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(output)


def test_bench_measures_both_sides(shell: Shell, bundle: Path) -> None:
    """The document has the contract's fields, shares that add up, and a picture beside it; speeds are not asserted."""
    command = ("bench", bundle, "--rounds", 2, "--batch-sizes", "1,4", "--threads", 1)
    status, output, errors = shell(*command, "--json")
    assert status == 0, errors
    document: dict[str, Any] = json.loads(output)
    assert [batch["batch_size"] for batch in document["batches"]] == [1, 4]
    for batch in document["batches"]:
        assert sum(batch["exit_shares"]) == pytest.approx(1)
        assert 0 < batch["speedup"]["low"] <= batch["speedup"]["median"] <= batch["speedup"]["high"]
        assert batch["ideal_speedup_macs"] >= 1 / batch["relative_cost"] - 1e-9
        assert {"static_ms", "engine_ms", "ideal_speedup", "of_ideal", "overhead_share"} <= batch.keys()
        assert batch["images"] == 12
        assert batch["accuracy_loss"] == pytest.approx(batch["static_accuracy"] - batch["accuracy"])
    assert (document["promise"], isinstance(document["warnings"], list)) == (None, True)
    assert "Reading up to 2,048 images to time on, from" in errors
    assert document["machine"]["threads"] == 1
    assert document["images"] == 12
    assert json.loads((bundle / "bench.json").read_text()) == document
    with Image.open(bundle / "bench.png") as picture:
        assert picture.size[0] > 500
    status, output, _ = shell(*command, "--data", "others")
    assert status == 0
    headings = next(line.split() for line in output.splitlines() if "speed-up [95 %]" in line)
    assert headings[-7:] == ["accuracy", "%", "static's", "points", "lost", "[95", "%]"]
    assert "Policy: promises nothing about the accuracy lost" in output


def test_bench_refuses_other_data(shell: Shell, bundle: Path) -> None:
    """Images of other classes, batch sizes that are none, paths that do not exist."""
    shutil.copytree("images", "renamed")
    Path("renamed/train/azure").rename("renamed/train/zinc")
    Path("renamed/test/azure").rename("renamed/test/zinc")
    status, output, errors = shell("bench", bundle, "--data", "renamed")
    assert (status, output) == (2, "")
    assert "Expected the 3 classes of bundle" in errors.splitlines()[-1]
    told = "Expected a directory of Parquet files or images, got ./nowhere/x, which does not exist"
    assert told in refused(shell, "bench", bundle, "--data", "./nowhere/x")
    told = "Expected the directory of a bundle, got nowhere, which does not exist"
    assert told in refused(shell, "bench", "nowhere")
    assert "Expected batch sizes such as 1,8,64, got '0'" in refused(shell, "bench", bundle, "--batch-sizes", "0")


def test_what_a_killed_export_left_goes_with_the_next(shell: Shell, run_directory: Path) -> None:
    """Its hidden folder is cleared and used, and gone afterwards; one that another process is in is told."""
    left = Path(".again.partial/bundle")
    left.mkdir(parents=True)
    (left / "segment-0.onnx").write_bytes(b"half")
    assert shell("export", run_directory, "--out", "again", "--trust")[0] == 0
    assert not left.parent.exists()
    with exclusive(Path(".other.partial")):
        assert "got another that is writing to it just now" in refused(
            shell, "export", run_directory, "--out", "other", "--trust"
        )
    assert not Path("other").exists()
