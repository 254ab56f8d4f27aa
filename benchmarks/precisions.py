"""Engine and static network at every precision there is here, taking turns: what exits gain over the best static one.

    python benchmarks/precisions.py RUN results/speed/NAME.json [--max-accuracy-loss 0.01 | --budget 0.5]

A copy of RUN is planned on its `tune` images; the plan's exits are calibrated on each runtime's own outputs, exported,
and timed on `test` images; RUN stays as it is. The divisor is the fastest static contender at any precision whose
accuracy on the images timed is within a point of float32's, compiled for the fixed batch; from 64 images on also on two
streams with asynchronous requests. ``--within 1.5`` times only runtimes whose static network takes, by the plan, at
most so many times the fastest one's milliseconds at some size. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from race import race, show

from shallowdeep.files import write_json
from shallowdeep.inference.bundle import read_bundle
from shallowdeep.machine import available_cores

RUNTIMES = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8"))


def shallowdeep(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command; its notes are shown."""
    print("$ shallowdeep", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "shallowdeep", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def near(plan: dict[str, Any], times: float) -> list[tuple[str, str]]:
    """Runtimes whose static network takes at most so many times the fastest one's time at some size, by a plan."""
    statics = plan["statics"]
    fastest = [min(column) for column in zip(*(row["milliseconds"] for row in statics), strict=True)]
    return [
        (row["backend"], row["precision"])
        for row in statics
        if any(mine <= times * least for mine, least in zip(row["milliseconds"], fastest, strict=True))
    ]


def main() -> None:
    """Plan, calibrate, export, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-accuracy-loss", default="0.01")
    parser.add_argument("--budget")
    parser.add_argument("--batch-sizes", default="1,8,64,256")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--keep", type=Path, help="where to keep the bundles, for `race.py`")
    parser.add_argument("--within", type=float, default=math.inf)
    parser.add_argument("--trust", action="store_true")
    given = parser.parse_args()
    asked = ["--budget", given.budget] if given.budget else ["--max-accuracy-loss", given.max_accuracy_loss]
    trust = ["--trust"] if given.trust else []
    with tempfile.TemporaryDirectory() as directory:
        work, calibrated = Path(directory), dict[str, Any]()
        run = str(work / "run")
        shutil.copytree(given.run, run, ignore=shutil.ignore_patterns("predictions"))
        plan = shallowdeep("plan", run, *asked, "--batch-sizes", given.batch_sizes, *trust)
        plan["run"] = given.run.name  # not the copy's place
        best = plan["finalists"][0]["exits"] if plan["finalists"] else []
        kept = ["--exits", ",".join(map(str, best))] if best else ["--no-plan"]
        timed = near(plan, given.within)
        for backend, precision in timed:
            lower = [] if precision == "f32" else ["--backend", backend, "--precision", precision]
            name = f"{backend} {precision}"
            found = shallowdeep("calibrate", run, *asked, *lower, *kept, *trust)
            calibrated[name] = {key: found[key] for key in ("tune", "certify", "test", "promise")}
            calibrated[name]["thresholds"] = found["policy"]["thresholds"]
            shallowdeep(
                "export", run, "--backend", backend, "--precision", precision, "--out", str(work / name), *trust
            )
        bundles = {f"{b} {p}": read_bundle(work / f"{b} {p}", static=True) for b, p in timed}
        sizes = [int(size) for size in given.batch_sizes.split(",")]
        found = race(run, bundles, sizes, given.rounds, given.threads, trust=given.trust)
        if given.keep is not None:
            for name, bundle in bundles.items():
                shutil.copytree(bundle.path, given.keep / name.replace(" ", "-"), dirs_exist_ok=True)
    document = {
        "run": given.run.name, "model": next(iter(bundles.values())).model, "asked": asked,
        "timed": [f"{b} {p}" for b, p in timed], "plan": plan, "calibrated": calibrated, **found,
    }  # fmt: skip
    write_json(given.out, document)
    print(plan["sentence"])
    show(found)


if __name__ == "__main__":
    main()
