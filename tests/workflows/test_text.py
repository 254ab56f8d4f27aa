"""A text classifier of `transformers`, from a folder and a table to answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Shell
from tests.texts import write_model, write_reviews

from shallowdeep.checkpoint import load
from shallowdeep.data.text import TextPreprocessing, padded
from shallowdeep.errors import DataError
from shallowdeep.exits.policy import Policy, decide
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.models.token_classifier import TokenClassifier

SAID = ("w1 the film is w2 w3 good", "w5 the film is poor", "w7 the film is w8 w9 w10 w11 w12 w13 fine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and reviews."""
    folder = tmp_path_factory.mktemp("text")
    write_model(folder / "model")
    write_reviews(folder / "reviews")
    return folder


@pytest.fixture(scope="module")
def run(place: Path, module_shell: Shell) -> Path:
    """A trained run."""
    done = module_shell(
        "train", "--data", place / "reviews", "--model", f"hf:{place / 'model'}", "--recipe", "joint", "--epochs", 12,
        "--batch-size", 16, "--learning-rate", 1e-3, "--exits", 2, "--out", place / "run",
    )  # fmt: skip
    assert done[0] == 0, done[2]
    return place / "run"


def encoded(run: Path) -> tuple[TextPreprocessing, torch.Tensor]:
    """The run's preprocessing, and three texts as token ids."""
    preprocessing = load(run).preprocessing
    assert isinstance(preprocessing, TextPreprocessing)
    return preprocessing, torch.from_numpy(padded(preprocessing.encode(SAID)[0]))


def test_a_run_needs_no_folder_of_the_model(run: Path, place: Path) -> None:
    """What rebuilds it is in its manifest; it has learned which words decide."""
    (place / "model").rename(place / "elsewhere")
    try:
        network = load(run)
        _, tokens = encoded(run)
        assert isinstance(network.backbone, TokenClassifier)
        assert [network.classes[n] for n in network(tokens)[-1].argmax(-1).tolist()] == ["good", "bad", "good"]
    finally:
        (place / "elsewhere").rename(place / "model")


@pytest.mark.parametrize(
    ("backend", "precision"), [("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "int8"), ("torch", "f32")]
)
def test_from_a_run_to_answers(run: Path, place: Path, module_shell: Shell, backend: str, precision: str) -> None:
    """`predict` says what the network says, of texts in any order and of any length; the engine cuts what leaves."""
    bundle = place / f"{backend}-{precision}"
    calibrated = module_shell("calibrate", run, "--threshold", 0.8)
    assert calibrated[0] == 0, calibrated[2]
    exported = module_shell(
        "export", run, "--backend", backend, "--precision", precision, "--out", bundle, "--overwrite",
        "--least-agreement", 0.9,
    )  # fmt: skip
    assert exported[0] == 0, exported[2]
    lines = place / "lines.txt"
    lines.write_text("\n".join([*SAID, ""]), encoding="utf-8")
    done = module_shell("predict", bundle, "--text-file", lines, "--text", SAID[0], "--json")
    assert done[0] == 0, done[2]
    told = json.loads(done[1])["predictions"]
    assert [one["text"] for one in told] == [SAID[0], *SAID]
    assert [one["label"] for one in told] == ["good", "good", "bad", "good"]
    assert told[1]["file"] == "line 1 of lines.txt"


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino"])
def test_the_engine_agrees_with_all_exits_then_policy(run: Path, backend: str) -> None:
    """On batches of texts of many lengths, at thresholds that send some away at each exit."""
    network = load(run)
    draw = np.random.default_rng(1)
    rows = [np.concatenate([[2], draw.integers(4, 400, int(draw.integers(1, 30))), [3]]) for _ in range(40)]
    tokens = padded(rows)
    logits = network(torch.from_numpy(tokens)).detach().numpy()
    confidence = np.sort(np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True), axis=-1)[:, -1]
    policy = Policy((float(np.quantile(confidence, 0.6)), 0.7))
    engine = EarlyExitEngine.from_network(network, policy, backend=backend)
    for count in (1, 3, 40):
        expected = decide(policy, logits[:, :count], network.costs)
        got = engine(tokens[:count])
        near = np.abs(confidence[:count] - policy.thresholds[0]) < 1e-5
        assert ((np.asarray(got.exits) == np.asarray(expected.exits)) | near).all()
        assert ((np.asarray(got.labels) == np.asarray(expected.labels)) | near).all()


def test_analysis_and_report_of_text(run: Path, module_shell: Shell) -> None:
    """They run on texts too."""
    for command in ("evaluate", "analyze", "report"):
        done = module_shell(command, run)
        assert done[0] == 0, done[2]


def test_texts_that_are_too_long_are_cut_and_counted(run: Path, place: Path, module_shell: Shell) -> None:
    """In one line."""
    bundle = place / "onnxruntime-f32"
    if not bundle.exists():
        module_shell("calibrate", run, "--threshold", 0.8)
        assert module_shell("export", run, "--out", bundle)[0] == 0
    done = module_shell("predict", bundle, "--text", "w1 " * 100, "--json")
    assert done[0] == 0, done[2]
    assert "1 text was longer than 40 tokens and cut there" in done[2]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("predict", "{bundle}", "picture.png"), "Expected --text or --text-file for the text network"),
        (("predict", "{bundle}"), "Expected --text or --text-file to answer, got nothing"),
        (("train", "--data", "mnist5k", "--model", "hf:{model}", "--out", "x"), "Expected texts for this network"),
        (("train", "--data", "{reviews}", "--model", "resnet20", "--out", "x"), "Expected images for this network"),
        (
            ("train", "--data", "{reviews}", "--model", "hf:{model}", "--text-column", "said", "--out", "x"),
            "Expected a column 'said' in train.csv, got text, label; --text-column names it",
        ),
        (
            ("train", "--data", "{reviews}", "--model", "hf:{model}", "--max-length", 99, "--out", "x"),
            "Expected a length of at most 40 tokens, got 99",
        ),
        (
            ("train", "--data", "{reviews}", "--model", "hf:{reviews}", "--out", "x"),
            "Expected a model folder with config",
        ),
        (("audit", "slowdown", "{run}"), "got one of text: this is for images alone"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    run: Path, place: Path, module_shell: Shell, command: tuple[object, ...], message: str
) -> None:
    """With exit status 2."""
    bundle = place / "onnxruntime-f32"
    if not bundle.exists():
        module_shell("calibrate", run, "--threshold", 0.8)
        assert module_shell("export", run, "--out", bundle)[0] == 0
    places = {"bundle": bundle, "model": place / "model", "reviews": place / "reviews", "run": run}
    done = module_shell(*(str(part).format(**places) for part in command))
    assert done[0] == 2, done
    assert message in " ".join(done[2].split())
    assert len(done[2].strip().splitlines()) <= 2


def test_weights_that_are_missing_are_named(place: Path, module_shell: Shell) -> None:
    """A folder with a configuration alone."""
    folder = place / "bare"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text((place / "model" / "config.json").read_text())
    done = module_shell("train", "--data", place / "reviews", "--model", f"hf:{folder}", "--out", place / "y")
    assert done[0] == 2
    assert "Expected" in done[2]
    assert "bare" in done[2]


def test_engines_refuse_what_is_no_text(run: Path) -> None:
    """In one line."""
    engine = EarlyExitEngine.from_network(load(run), Policy((0.9, 0.9)))
    with pytest.raises(DataError, match=r"Expected token ids, integers, got dtype float32"):
        engine(np.zeros((1, 4), np.float32))
    with pytest.raises(DataError, match=r"of at least one token"):
        engine(np.full((1, 4), -1))
    with pytest.raises(DataError, match=r"Expected texts of at most 40 tokens, got 41"):
        engine(np.zeros((1, 41), np.int64))
    with pytest.raises(DataError, match=r"got a list with int"):
        engine(["a", 3])
    assert len(engine(list(SAID)).labels) == 3
    assert len(engine([]).labels) == 0


def test_heads_on_a_frozen_trunk(run: Path, place: Path, module_shell: Shell) -> None:
    """`ic-only` caches what internal classifiers read of texts too; the trunk stays as it is."""
    done = module_shell(
        "train", "--data", place / "reviews", "--init", run, "--recipe", "ic-only", "--epochs", 2, "--exits", 2,
        "--out", place / "heads",
    )  # fmt: skip
    assert done[0] == 0, done[2]
    _, tokens = encoded(run)
    assert torch.equal(load(place / "heads")(tokens)[-1], load(run)(tokens)[-1])


def test_a_checkpoint_in_half_precision_is_trained_and_loaded_in_float32(place: Path, module_shell: Shell) -> None:
    """Whatever its configuration says."""
    from transformers import AutoModelForSequenceClassification  # noqa: PLC0415 - seconds

    AutoModelForSequenceClassification.from_pretrained(place / "model").half().save_pretrained(place / "half")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / "half" / name).write_bytes((place / "model" / name).read_bytes())
    done = module_shell(
        "train", "--data", place / "reviews", "--model", f"hf:{place / 'half'}", "--recipe", "backbone", "--epochs", 1,
        "--out", place / "whole",
    )  # fmt: skip
    assert done[0] == 0, done[2]
    assert {parameter.dtype for parameter in load(place / "whole").parameters()} == {torch.float32}


def test_a_length_that_is_the_width_too_is_not_frozen(place: Path) -> None:
    """32 tokens in a network of 32 features, exported and run on fewer."""
    from shallowdeep.inference.export import write_bundle  # noqa: PLC0415 - seconds
    from shallowdeep.models.registry import build  # noqa: PLC0415
    from shallowdeep.sdn.convert import convert  # noqa: PLC0415

    backbone = build(f"hf:{place / 'model'}", num_classes=2, image_size=1, pretrained=True).eval()
    network = convert(backbone, torch.zeros(1, 32, dtype=torch.int64), fractions=[0.4])
    bundle = write_bundle(network, Policy((2.0,)), place / "square", "onnxruntime")
    tokens = np.random.default_rng(0).integers(4, 400, (3, 7))
    expected = network(torch.from_numpy(tokens))[-1].softmax(-1).max(-1).values.detach().numpy()
    assert np.allclose(EarlyExitEngine(bundle)(tokens).confidences, expected, atol=1e-4)


def test_weights_that_do_not_fit_the_trunk_are_refused(place: Path) -> None:
    """Not replaced by random ones; a head of another size is started anew and told."""
    from shallowdeep.errors import ModelError  # noqa: PLC0415
    from shallowdeep.models.hf_zoo import build_pretrained  # noqa: PLC0415

    said: list[str] = []
    build_pretrained(f"hf:{place / 'model'}", 5, 1, told=said.append)
    assert said == [
        f"Started anew, since {place / 'model'} has no weights that fit: classifier.bias, classifier.weight"
    ]
    wider = write_model(place / "wider", layers=4)
    (wider / "model.safetensors").write_bytes((place / "model" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"that fit all but the head, got none that fit bert\.encoder\.layer\.3"):
        build_pretrained(f"hf:{wider}", 2, 1)
