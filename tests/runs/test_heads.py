"""Options of internal classifiers: what `train` makes of them, and by name where they do not apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shell, Training


def heads(run: str) -> list[tuple[str, bool]]:
    """Kind of each internal classifier, and whether it is cascaded."""
    exits = json.loads((Path(run) / "model.json").read_text())["exits"]
    return [(exit_["head"], exit_["cascaded"]) for exit_ in exits[:-1]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--deep-heads", 1), [("deep", False), ("pooled", False)]),
        (("--conv-heads", 9, "--cascade"), [("conv", False), ("conv", True)]),
        (("--recipe", "best"), [("deep", False), ("deep", False)]),
        (("--recipe", "best", "--deep-heads", 1), [("deep", False), ("pooled", False)]),
    ],
)
def test_options_reach_the_classifiers(
    trained: Training, options: tuple[object, ...], expected: list[tuple[str, bool]]
) -> None:
    """As many as asked for, or as there are; `best` gives all of them convolutions."""
    trained("run", *options, "--epochs", 1, "--exits", 2, model="resnet20")
    assert heads("run") == expected


def test_best_trains_networks_without_maps(shell: Shell, workplace: Path) -> None:
    """A vision transformer has none at its exits: its heads stay as they are, where --deep-heads is refused."""
    (workplace / "tiny_transformers.py").write_text(
        "from timm.models.vision_transformer import VisionTransformer\n\n\n"
        "def tiny(num_classes):\n"
        "    return VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=4, num_heads=2,\n"
        "                             num_classes=num_classes)\n\n\n"
        "tiny.image_size = 16\n"
    )
    base = ("train", "--data", workplace / "images", "--model", "tiny_transformers:tiny", "--epochs", 1, "--exits", 2)
    status, _, errors = shell(*base, "--out", "refused", "--deep-heads", 1)
    assert status == 2
    assert "Expected maps for deep heads, got token sequences at blocks." in errors
    assert not Path("refused").exists()
    assert shell(*base, "--out", "run", "--recipe", "best")[0] == 0
    assert heads("run") == [("pooled", False), ("pooled", False)]


@pytest.mark.parametrize("options", [("--recipe", "best"), ("--recipe", "joint", "--cascade")])
def test_policies_and_bundles_carry_them(trained: Training, shell: Shell, options: tuple[str, ...]) -> None:
    """Trained, calibrated with an ensemble, exported and run: every command takes such a run."""
    trained("run", *options, "--epochs", 1, "--exits", 2)
    status, out, errors = shell("calibrate", "run", "--budget", 0.9, "--signal", "ensemble", "--trust", "--json")
    assert status == 0, errors
    policy = json.loads(out)["policy"]
    assert policy["found"]["ensemble_from"] in {"tune", None}
    assert (policy["ensemble"] is None) == (policy["thresholds"] == [None, None])
    assert shell("export", "run", "--backend", "onnxruntime", "--out", "bundle", "--trust")[0] == 0
    status, out, errors = shell("predict", "bundle", "images/test", "--json")
    assert status == 0, errors
    assert len(json.loads(out)["predictions"]) == 12
    assert shell("analyze", "run", "--trust", "--resamples", 0)[0] == 0
    assert shell("report", "run", "--trust", "--resamples", 0, "--images", 2)[0] == 0
    assert shell("export", "run", "--backend", "torch", "--out", "eager", "--trust")[0] == 2  # names code
