"""Signals still arrive after engines ended, in whatever order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.inference.test_engine import tiny

from shallowdeep.artifacts import STATIC_GRAPH
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.inference.export import write_bundle

pytest.importorskip("openvino")

ENGINES = """
import gc, signal, sys
import numpy as np
from shallowdeep.inference.engine import EarlyExitEngine

answer = np.zeros((1, 3, 16, 16), np.float32)
first = EarlyExitEngine(sys.argv[1], threads=1)
second = EarlyExitEngine(sys.argv[1], threads=1)
first(answer), second(answer)
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
signal.raise_signal(signal.SIGUSR1)
"""

QUANTISED = """
import gc, signal, sys
import numpy as np
from shallowdeep.inference.openvino_core import core
from shallowdeep.inference.precision import Judged
from shallowdeep.inference.quantisation import quantised

generator = np.random.default_rng(0)
images = generator.normal(size=(40, 3, 16, 16)).astype(np.float32)
judged = Judged(images, generator.integers(0, 5, 40))  # at chance: layers are tried in turn
quantised(core().read_model(sys.argv[1]), images, judged)
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
signal.raise_signal(signal.SIGUSR1)
"""


def signalled(program: str, path: Path) -> tuple[int, str]:
    """Exit status and output of a program given a path."""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_signal_after_two_engines(tmp_path: Path) -> None:
    """Two cores that end in the order of their making leave a freed stack for signals: OpenVINO 2026.4 does so."""
    write_bundle(tiny(), shared_threshold(NEVER, 4), tmp_path / "all", "openvino")
    assert signalled(ENGINES, tmp_path / "all") == (0, "heard\n")


def test_a_signal_after_quantising(tmp_path: Path) -> None:
    """NNCF makes cores of its own, meanwhile."""
    pytest.importorskip("nncf")
    write_bundle(tiny(), shared_threshold(NEVER, 4), tmp_path / "all", "openvino")
    assert signalled(QUANTISED, tmp_path / "all" / STATIC_GRAPH) == (0, "heard\n")


SENDING = """
import multiprocessing, threading
started = []
for kind in (threading.Thread, multiprocessing.Process):
    kind.start = lambda self: started.append(self)
import shallowdeep.inference.openvino_core
from shallowdeep.inference.telemetry import without_telemetry
with without_telemetry():
    import nncf
print(started, sys.modules.get("openvino_telemetry"))
"""


def test_no_usage_data() -> None:
    """Importing OpenVINO and NNCF starts no thread or process that sends any."""
    pytest.importorskip("nncf")
    done = subprocess.run([sys.executable, "-c", f"import sys{SENDING}"], capture_output=True, text=True, check=True)
    assert done.stdout == "[] None\n"
