"""The base installation, in a fresh virtual environment: runs bundles, has no torch, says what else is needed for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import write_images

ROOT = Path(__file__).parent.parent
OLD = Path(__file__).parent / "old"
LARGEST = 400 * 2**20  # bytes; PyTorch alone is several times that


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment in which ``pip install .`` was run, and nothing else."""
    environment = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    source = tmp_path_factory.mktemp("source")  # building leaves files beside the source
    shutil.copytree(ROOT / "src", source / "src")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", source], check=True)
    return environment / "bin"


def run(base: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command of the environment, elsewhere than in the repository."""
    command = [str(base / str(arguments[0])), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=base.parent, timeout=120)


def test_predict_answers_as_the_whole_installation_does(base: Path, tmp_path: Path) -> None:
    """The old bundle gives its old answers."""
    write_images(tmp_path / "images", "test", 120)
    done = run(base, "shallowdeep", "predict", OLD / "bundle", tmp_path / "images", "--json")
    assert done.returncode == 0, done.stderr
    found, expected = (
        [(answer["label"], answer["exit"]) for answer in json.loads(text)["predictions"]]
        for text in (done.stdout, (OLD / "answers.json").read_text())
    )
    assert found == expected


def test_the_engine_runs_without_torch(base: Path) -> None:
    """From Python too; what needs torch says which extra brings it."""
    script = (
        "import numpy as np, shallowdeep\n"
        f"engine = shallowdeep.EarlyExitEngine.from_bundle({str(OLD / 'bundle')!r})\n"
        "print(engine(np.zeros((2, 3, 16, 16), np.float32)).labels.shape)\n"
        "try:\n    shallowdeep.convert\nexcept ModuleNotFoundError as error:\n    print(error)\n"
    )
    done = run(base, "python", "-c", script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "(2,)",
        "Expected torch for shallowdeep.convert, found it not installed; pip install 'shallowdeep[train]'",
    ]


@pytest.mark.parametrize(
    "command",
    ["train --data mnist5k --out x", "evaluate RUN", "calibrate RUN --budget 1", "analyze RUN", "report RUN",
     "export RUN --out x", "demo", "models", "audit slowdown RUN", "audit backdoor --quick"],
)  # fmt: skip
def test_every_other_command_says_what_it_needs(base: Path, command: str) -> None:
    """One line, exit status 2, nothing made."""
    done = run(base, "shallowdeep", *command.replace("RUN", str(OLD / "run")).split())
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "found it not installed; pip install 'shallowdeep[train]'" in done.stderr
    assert not (base.parent / "x").exists()


def test_it_is_small(base: Path) -> None:
    """Without torch and without what training needs."""
    files = [path for path in base.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert not list(base.parent.glob("lib/*/site-packages/torch"))
