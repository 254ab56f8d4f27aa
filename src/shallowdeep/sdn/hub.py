"""Networks on the Hugging Face hub: a folder as `save` writes it, with a model card."""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shallowdeep.artifacts import HISTORY, MODEL_MANIFEST, MODEL_WEIGHTS, POLICY
from shallowdeep.errors import ModelError, one_line
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.policy_file import read_policy
from shallowdeep.sdn.saving import save

if TYPE_CHECKING:
    from shallowdeep.sdn.network import ShallowDeepNetwork

PREFIX = "hf:"
CARD = "README.md"
_CLASSES = 10  # whose names a card tells
_KEPT = (MODEL_MANIFEST, MODEL_WEIGHTS, HISTORY, POLICY)  # of a run; its settings name places on this machine


def push(network: ShallowDeepNetwork, name: str, *, run: Path | str | None = None, private: bool = False) -> str:
    """Upload a network with a model card; returns its address.

    Args:
        network: as `save` takes it.
        name: ``OWNER/NAME`` on the hub.
        run: the RUN it was loaded from, whose files, history and policy among them, are uploaded as they are.
        private: make a repository that others cannot see.

    Raises:
        ModelError: huggingface_hub is not installed, or the hub refuses or cannot be reached.
    """
    hub = _hub()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(network, Path(folder), name, None if run is None else Path(run))
        try:
            interface = hub.HfApi()
            address = str(interface.create_repo(name, private=private, exist_ok=True))
            interface.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a shallowdeep network")
        except Exception as error:
            raise ModelError(f"Expected to upload {name} to the Hugging Face hub, got {one_line(error)}") from error
    return address


def write_folder(network: ShallowDeepNetwork, folder: Path, name: str, run: Path | None) -> None:
    """Write what is uploaded: the network, a run's history and policy, and the card."""
    policy = None
    if run is None:
        save(network, folder)
    else:
        for part in _KEPT:
            if (run / part).exists():
                shutil.copy(run / part, folder / part)
        if (run / POLICY).exists():
            policy = read_policy(run / POLICY, network.weights)
    (folder / CARD).write_text(card(network, name, policy, _accuracies(folder / HISTORY)), encoding="utf-8")


def card(network: ShallowDeepNetwork, name: str, policy: Policy | None, accuracies: Sequence[float]) -> str:
    """Return the model card: what the network is, its exits, and what its policy promises.

    Args:
        network: that is told of.
        name: ``OWNER/NAME``.
        policy: of its run; None for none.
        accuracies: of each exit on held-out images, as fractions; empty where they are not known.
    """
    model = "" if network.architecture is None else network.architecture.name
    told = [f"{100 * value:.1f} %" for value in accuracies] + [""] * len(network.exits)
    rows = [
        f"| {number} | {exit_.name} | {cost:.3f} | {told[number]} |"
        for number, (exit_, cost) in enumerate(zip(network.exits, network.costs.reached, strict=True))
    ]
    promises = [] if policy is None else [one.sentence for one in (policy.promise,) if one is not None]
    thresholds = "none" if policy is None else json.dumps(list(policy.thresholds))
    shown = ", ".join(network.classes[:_CLASSES]) + (" ..." if len(network.classes) > _CLASSES else "")
    what = f"A Shallow-Deep Network{f' on {model}' if model else ''} with {len(network.exits) - 1} internal classifiers"
    promised = " ".join(promises) or "Nothing is promised."
    return f"""---
library_name: shallowdeep
tags: [early-exit, shallow-deep-network]
---
# {name}

{what} and {len(network.classes)} classes ({shown}).

| exit | after | relative cost | held-out accuracy |
|---|---|---|---|
{chr(10).join(rows)}

Thresholds of its policy: {thresholds}. {promised}

```python
import shallowdeep
network = shallowdeep.load("{PREFIX}{name}")
```
"""


def fetched(name: str) -> Path:
    """Return a local copy of a network on the hub; of one that was fetched before without the hub.

    Args:
        name: ``hf:OWNER/NAME``.

    Raises:
        ModelError: huggingface_hub is not installed, or there is no such network and no copy.
    """
    try:
        return Path(_hub().snapshot_download(name.removeprefix(PREFIX)))
    except Exception as error:
        raise ModelError(f"Expected a network on the Hugging Face hub in {name!r}, got {one_line(error)}") from error


def _accuracies(history: Path) -> list[float]:
    """Held-out accuracy of each exit after the last epoch; none where there is no history."""
    lines = history.read_text().splitlines() if history.exists() else []
    return [float(value) for value in json.loads(lines[-1]).get("tune_accuracy", [])] if lines else []


def _hub() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelError(f"The hub needs huggingface_hub: pip install shallowdeep[hf] ({one_line(error)})") from error
