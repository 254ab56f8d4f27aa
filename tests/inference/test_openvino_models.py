"""Compiled models: bounded in memory, found again on disk, refused where the processor cannot."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import openvino
import pytest
from tests.inference.test_engine import images, tiny

from shallowdeep.errors import ConfigurationError
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.inference.backends import compiled_files, openvino_models
from shallowdeep.inference.backends.compiled_files import VARIABLE, Kept
from shallowdeep.inference.backends.openvino_models import MEMORY_LIMIT, CompiledModels, content_of, memory_limit
from shallowdeep.inference.backends.openvino_runtime import BUCKETS, OpenVino, open_bundle, open_static
from shallowdeep.inference.bundle import Bundle
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.inference.precision import Precision

EVERY = shared_threshold(NEVER, 4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All exits of the tiny network, with the static one."""
    return write_bundle(tiny(), EVERY, tmp_path_factory.mktemp("models") / "all", "openvino")


def compiled_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the size of batch whenever a model is compiled, not read."""
    sizes: list[int] = []
    sized = openvino_models.sized

    def noted(graph: object, size: int, length: int = 0) -> object:
        sizes.append(size)
        return sized(graph, size, length)

    monkeypatch.setattr(openvino_models, "sized", noted)
    return sizes


def test_the_next_process_compiles_nothing(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine and static network alike; answers are the same to the last bit."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    sizes = compiled_at(monkeypatch)
    x = images(9).numpy()

    def answered() -> bytes:
        engine = EarlyExitEngine(bundle, threads=1)
        return bytes(engine(x).confidences.tobytes() + open_static(bundle, 1)(x).tobytes())

    first = answered()
    assert sizes == [10, 10, 10, 10, 9]
    assert answered() == first
    assert len(sizes) == 5
    monkeypatch.setenv(VARIABLE, "off")
    assert answered() == first
    assert len(sizes) == 10


@pytest.mark.parametrize("part", ["threads", "content", "version", "processor"])
def test_another_key_for_whatever_changes_a_model(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Settings, the files' content, the runtime's version, the processor."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    paths = [bundle.path / bundle.files[0]]
    sizes = compiled_at(monkeypatch)
    CompiledModels(paths, 1, "f32").model(0, 2)
    CompiledModels(paths, 1, "f32").model(0, 2)
    assert len(sizes) == 1
    if part == "version":
        monkeypatch.setattr(openvino, "get_version", lambda: "1999.1")
    if part == "processor":
        monkeypatch.setattr(openvino_models, "processor_flags", lambda: frozenset({"avx"}))
    threads, contents = (2 if part == "threads" else 1), (["other"] if part == "content" else ())
    CompiledModels(paths, threads, "f32", contents).model(0, 2)
    assert len(sizes) == 2


def test_a_file_that_the_runtime_cannot_read_is_compiled_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole by its checksum, but written by something else."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    models = CompiledModels([bundle.path / bundle.files[0]], 1, "f32")
    models._files.write(models._key(0, 2), Kept(b"no model at all", 1))
    held, _ = models.model(0, 2)
    assert held.memory > 1
    assert models._files.read(models._key(0, 2)) is not None


def test_memory_is_bounded_and_answers_stay(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one model alone each is compiled again whenever it is needed, in every thread's requests."""
    monkeypatch.setenv(VARIABLE, "off")
    x = images(70).numpy()
    free, tight = (open_bundle(bundle, 1) for _ in range(2))
    tight.models.limit = 1
    for count in (1, 3, 70, 3):
        expected, given_ = x[:count], x[:count].copy()
        for number in range(4):
            expected, wanted = free.run(number, expected)
            given_, logits = tight.run(number, given_)
            assert np.array_equal(logits, wanted)
            assert len(tight.models._held) == len(tight._own.requests) <= 1
    assert len(free.models._held) == 12 == len(free._own.requests)
    assert 0 < tight.memory < free.memory < 50e6
    assert free.memory == sum(held.memory for held in free.models._held.values())


def test_batches_too_large_for_the_memory_are_split(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the segments of one batch do not fit together, the next batch would compile them all again."""
    monkeypatch.setenv(VARIABLE, "off")
    free, tight = (EarlyExitEngine(bundle, threads=1) for _ in range(2))
    x = images(256).numpy()
    expected = free(x)
    tight.backend.models.limit = free.backend.memory * 9 // 10  # type: ignore[attr-defined]  # OpenVINO's
    tight.backend.largest = 256  # not what values have room for
    assert np.allclose(tight(x).confidences, expected.confidences, atol=1e-5)
    assert tight.backend.largest == 128
    sizes = compiled_at(monkeypatch)
    for _ in range(2):
        assert np.array_equal(tight(x).labels, expected.labels)
    assert sizes == 4 * [128]
    again = EarlyExitEngine(bundle, threads=1)
    again.backend.models.limit = free.backend.memory * 9 // 10  # type: ignore[attr-defined]
    again.backend.largest = 256
    again.warm_up(256)
    assert again.backend.largest == 128


def test_batches_are_as_large_as_models_of_all_sizes_have_room_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that survivors of any number find their model; of small images that is the largest bucket."""
    monkeypatch.setenv(VARIABLE, "off")
    assert open_bundle(bundle, 1).largest == 256
    engine = EarlyExitEngine(bundle, threads=1)
    models = engine.backend.models  # type: ignore[attr-defined]  # OpenVINO's
    models.limit = 2 * 200 * models.bytes_per_sample() + 40 * 2**20
    assert 16 <= (engine.backend.largest or 0) < 128
    expected = EarlyExitEngine(bundle, threads=1)(images(256).numpy())
    engine.warm_up(256)
    sizes = compiled_at(monkeypatch)
    assert np.array_equal(engine(images(256).numpy()).labels, expected.labels)
    assert not sizes


def test_sizes_that_come_again_and_again_are_split(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Survivors of many numbers, in a memory too small for all their models: in the end nothing is compiled."""
    monkeypatch.setenv(VARIABLE, "off")
    backend = open_bundle(bundle, 1)
    x = images(64).numpy()
    backend.run(0, x)
    backend.models.limit = int(2.5 * backend.memory)
    backend.largest = 256  # not what values have room for
    sizes = compiled_at(monkeypatch)
    counts = [0]
    for _ in range(30):
        for count in (64, 48, 40, 32, 56):
            for start in range(0, count, backend.largest or count):
                part = x[start : min(count, start + (backend.largest or count))]
                for number in range(4):
                    part, _ = backend.run(number, part)
        counts.append(len(sizes))
    assert backend.largest is not None
    assert 8 <= backend.largest <= 32
    assert counts[-1] == counts[-10]


def test_the_callers_images_are_not_kept(bundle: Bundle) -> None:
    """They are read in place, and let go with the answer."""
    opened, x = open_bundle(bundle, 1), images(224).numpy()
    gone = weakref.ref(x)
    opened.run(0, x)
    del x
    assert gone() is None


def test_large_weights_are_not_written_to_memory_for_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model too large for the disk's share is compiled alone."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiled_files, "LARGEST", 100)
    monkeypatch.setattr(openvino_models, "BytesIO", None)
    assert CompiledModels([bundle.path / bundle.files[0]], 1, "f32").model(0, 1)[0].memory > 100


def test_the_least_recently_used_goes_first(bundle: Bundle) -> None:
    """Using a model again keeps it."""
    models = CompiledModels([bundle.path / bundle.files[0]], 1, "f32")
    first, _ = models.model(0, 1)
    second, _ = models.model(0, 2)
    models.touch(first)
    models.limit = first.memory + second.memory + 1
    _, dropped = models.model(0, 4)
    assert dropped[0] == (0, 2, 0)


def test_a_larger_size_will_do_where_memory_is_short(bundle: Bundle) -> None:
    """One up to twice as large, of the same segment; where there is room, or none is near, the size itself."""
    models = CompiledModels([bundle.path / name for name in bundle.files], 1, "f32")
    models.model(0, 8), models.model(1, 6)
    assert models.nearest(0, 5) == 5
    models.limit = models.memory
    assert [models.nearest(0, size) for size in (8, 5, 4, 3, 9)] == [8, 8, 8, 3, 9]
    assert [models.nearest(1, size) for size in (5, 8)] == [6, 8]
    x = images(5).numpy()
    opened, free = (open_bundle(bundle, 1) for _ in range(2))
    opened.run(0, images(8).numpy())
    opened.models.limit = 1
    for given, wanted in zip(opened.run(0, x), free.run(0, x), strict=True):
        assert np.allclose(given, wanted, atol=1e-5)
    assert list(opened.models._held) == [(0, 8, 0)]


def test_warmed_up_nothing_is_compiled(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every segment at every size that batches of so many may come to."""
    monkeypatch.setenv(VARIABLE, "off")
    sizes = compiled_at(monkeypatch)
    engine = EarlyExitEngine(bundle, threads=1)
    engine.warm_up(11)
    assert sorted(sizes) == sorted(4 * [*range(1, 9), 10, 12])
    for count in range(1, 12):
        engine(images(count).numpy())
    assert len(sizes) == 40
    engine.warm_up(3)
    assert len(sizes) == 40
    with pytest.raises(ConfigurationError, match="at least 1 to warm up for, got 0"):
        engine.warm_up(0)


def test_more_samples_and_weights_take_more_memory(bundle: Bundle) -> None:
    """The estimate grows with the batch, by the values alive at once: 8 maps in and out, and 3 of the image."""
    models = CompiledModels([bundle.path / bundle.files[0]], 1, "f32")
    one, many = (models.model(0, size)[0].memory for size in (1, 256))
    least = 255 * 4 * 2 * 8 * 16 * 16
    assert least <= many - one < 3 * least


def test_the_environment_limits_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """In MB; nonsense is refused."""
    monkeypatch.delenv("SHALLOWDEEP_MEMORY_MB", raising=False)
    assert memory_limit() == MEMORY_LIMIT
    monkeypatch.setenv("SHALLOWDEEP_MEMORY_MB", "64")
    assert memory_limit() == 64 * 2**20
    for given_ in ("0", "-1", "much", "1.5"):
        monkeypatch.setenv("SHALLOWDEEP_MEMORY_MB", given_)
        with pytest.raises(
            ConfigurationError, match="Expected SHALLOWDEEP_MEMORY_MB to be a whole number above 0, got"
        ):
            memory_limit()


def test_a_precision_that_the_processor_lacks_is_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written, and at opening; the message names those it has."""
    monkeypatch.setattr(openvino_models, "precisions", lambda: ("f32", "int8"))
    message = "Expected a precision that openvino can compute in on this processor, f32 or int8, got 'bf16'"
    with pytest.raises(ConfigurationError, match=message):
        write_bundle(tiny(), EVERY, tmp_path / "out", "openvino", precision=Precision("bf16"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=message):
        OpenVino([bundle.path / name for name in bundle.files], 1, "bf16")


def test_contents_are_those_of_the_manifest(bundle: Bundle) -> None:
    """What a bundle was read with saves a second look at its files, and is the same."""
    opened = open_bundle(bundle, 1)
    assert opened.models._contents == [content_of(bundle.path / name) for name in bundle.files]
    assert opened.rows(9) == 10
    assert opened.largest == BUCKETS[-1]


@pytest.mark.parametrize("count", [1, 40])
def test_images_that_may_not_be_written_to_are_answered(bundle: Bundle, count: int) -> None:
    """Such as those of a file that is mapped into memory."""
    x = images(count).numpy()
    engine, static = EarlyExitEngine(bundle, threads=1), open_static(bundle, 1)
    expected = engine(x).confidences.tobytes(), static(x).tobytes()
    x.flags.writeable = False
    assert (engine(x).confidences.tobytes(), static(x).tobytes()) == expected
