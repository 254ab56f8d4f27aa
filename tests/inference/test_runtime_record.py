"""What a bundle records of its runtime, and which runtimes may not run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.inference.test_engine import images, tiny

from shallowdeep.documents import SEAL, sealed
from shallowdeep.errors import CheckpointError
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.inference import runtime_record
from shallowdeep.inference.backends.openvino_runtime import BUCKETS, open_bundle
from shallowdeep.inference.bundle import Bundle, read_bundle
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.runtime_record import BorderRecord, RuntimeRecord, check_runtime, installed

EVERY = shared_threshold(NEVER, 4)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """For OpenVINO."""
    return write_bundle(tiny(), EVERY, tmp_path / "bundle", "openvino", static=False)


def altered(bundle: Bundle, **runtime: object) -> Path:
    """The bundle with another record, or none."""
    path = bundle.path / "manifest.json"
    document = json.loads(path.read_text())
    document.pop(SEAL)
    document["runtime"] = {**document["runtime"], **runtime} if runtime else None
    path.write_text(json.dumps(sealed(document)))
    return bundle.path


def test_bundles_record_their_runtime(bundle: Bundle, tmp_path: Path) -> None:
    """Version, what passes each border, sizes of batch; read again as written."""
    assert bundle.runtime is not None
    assert bundle.runtime.package == "openvino"
    assert bundle.runtime.version == str(installed("openvino"))
    assert bundle.runtime.borders == tuple(BorderRecord(exit_, "f32", "NHWC") for exit_ in range(3))
    assert bundle.runtime.buckets == BUCKETS
    assert RuntimeRecord.from_dict(bundle.runtime.to_dict()) == bundle.runtime
    other = write_bundle(tiny(), EVERY, tmp_path / "onnx", "onnxruntime").runtime
    assert other == RuntimeRecord("onnxruntime", str(installed("onnxruntime")))


@pytest.mark.parametrize("version", ["2099.1.0", "2026.99.1-dev"])
def test_a_newer_runtime_is_asked_for(bundle: Bundle, version: str) -> None:
    """It may have written what the one installed does not know."""
    needed = ".".join(version.split(".")[:2])
    message = f"Expected openvino {needed} or newer for .*bundle, found .*; pip install -U openvino"
    with pytest.raises(CheckpointError, match=message):
        read_bundle(altered(bundle, version=version))


def test_a_bundle_of_a_runtime_too_old_is_to_be_exported_again(bundle: Bundle) -> None:
    """Older than any that is supported."""
    message = r"to be written with openvino 2026\.2 or newer, found 2024\.6\.0; export it again"
    with pytest.raises(CheckpointError, match=message):
        read_bundle(altered(bundle, version="2024.6.0"))


def test_patches_and_older_releases_are_run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches change no format, and runtimes read files of releases before them."""
    record = RuntimeRecord("openvino", "2026.4.7")
    monkeypatch.setattr(runtime_record, "installed", lambda _: "2026.4.1")
    check_runtime(record, "it")
    monkeypatch.setattr(runtime_record, "installed", lambda _: "2027.0.0")
    check_runtime(record, "it")
    monkeypatch.setattr(runtime_record, "installed", lambda _: None)  # told when it is opened
    check_runtime(record, "it")
    check_runtime(RuntimeRecord("onnxruntime", "0.1"), "it")
    assert read_bundle(altered(bundle, version="2026.2")).runtime is not None


def test_bundles_without_a_record_are_read(bundle: Bundle) -> None:
    """Those that were written before there was one."""
    read = read_bundle(altered(bundle))
    assert read.runtime is None
    assert open_bundle(read, 1).rows(9) == 10


def test_recorded_sizes_of_batch_are_compiled_for(bundle: Bundle) -> None:
    """Whatever this version would take; a batch over the largest is split."""
    opened = open_bundle(read_bundle(altered(bundle, buckets=[1, 6])), 1)
    assert [opened.rows(count) for count in (1, 2, 6)] == [1, 6, 6]
    assert opened.largest == 6
    assert len(opened.run(0, images(4).numpy())[1]) == 4


@pytest.mark.parametrize(
    "wrong", [{"buckets": [2, 1]}, {"buckets": ["x"]}, {"borders": [{"exit": 0}]}, {"buckets": [0]}]
)
def test_a_garbled_record_is_refused(bundle: Bundle, wrong: dict[str, object]) -> None:
    """As any other part of a manifest."""
    with pytest.raises(CheckpointError, match="Expected a complete manifest"):
        read_bundle(altered(bundle, **wrong))
