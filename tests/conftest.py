"""A working directory with tiny images and tiny networks, for every test that trains or runs a command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shallowdeep.cli.main import run
from shallowdeep.inference.backends.compiled_files import VARIABLE

NETWORKS = '''
"""Networks small enough to train in a blink; a file named `delay` or `poison` in the working directory changes them."""

import os
import time
from pathlib import Path

import torch
from torch import nn


class Hindrance(nn.Module):
    """Slow where a file `delay` says for how many seconds, broken in training where there is a file `poison`.

    A file `poison-1` breaks it in the second of several processes alone.
    """

    def forward(self, x):
        if Path("delay").exists():
            time.sleep(float(Path("delay").read_text()))
        if self.training and (Path("poison").exists() or Path(f"poison-{os.environ.get('RANK')}").exists()):
            return x * torch.nan
        return x


def _net(num_classes, norm, *first):
    layers = [*first]
    for before, after, stride in ((3, 8, 1), (8, 8, 2), (8, 8, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), norm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


def plain(num_classes):
    return _net(num_classes, lambda _: nn.Identity())


def normed(num_classes):
    return _net(num_classes, nn.BatchNorm2d, nn.Dropout(0.1))


def hindered(num_classes):
    return _net(num_classes, nn.BatchNorm2d, Hindrance(), nn.Dropout(0.1))


def fragile(num_classes):
    return _net(num_classes, lambda _: nn.Identity(), Hindrance())


def two_classes():
    return _net(2, lambda _: nn.Identity())


plain.image_size = normed.image_size = hindered.image_size = 16
fragile.image_size = two_classes.image_size = 16
'''


def write_images(root: Path, part: str, count: int, size: int = 16) -> None:
    """Write `count` noisy images of three classes, each brightest in one colour."""
    generator = np.random.default_rng(count)
    for number in range(count):
        label = number % 3
        pixels = generator.integers(0, 150, (size, size, 3))
        pixels[..., label] += 60
        folder = root / part / ("azure", "brick", "coral")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03}.png")


@pytest.fixture(autouse=True, scope="session")
def compiled_models_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled models are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `images/` (60 to train on, 12 to test on), `others/` (30) and `tiny_nets:NAME`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tiny_nets.py").write_text(NETWORKS)
    write_images(tmp_path / "images", "train", 60)
    write_images(tmp_path / "images", "test", 12)
    write_images(tmp_path / "others", "train", 30, size=20)
    return tmp_path


Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    """Run a command line in this process: (exit status, standard output, standard error)."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        return status, *capfd.readouterr()

    return command


@pytest.fixture(scope="module")
def module_shell() -> Shell:
    """The same for fixtures that a module's tests share."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
            status = run([str(argument) for argument in arguments])
        return status, output.getvalue(), errors.getvalue()

    return command


Training = Callable[..., dict[str, Any]]


@pytest.fixture
def trained(shell: Shell, workplace: Path) -> Training:  # noqa: ARG001 - where it runs
    """Train on the tiny images by the command line; returns its JSON document."""

    def train(out: str, *arguments: object, model: str = "tiny_nets:plain") -> dict[str, Any]:
        named = [] if "--init" in arguments else ["--model", model]
        status, output, errors = shell(
            "train", "--data", "images", *named, "--batch-size", 16, "--out", out, "--json", *arguments
        )
        assert status == 0, errors
        document: dict[str, Any] = json.loads(output)
        return document

    return train
