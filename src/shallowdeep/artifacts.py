"""Names of the files in a RUN and in a bundle, once for those that write them and those that read them."""

from __future__ import annotations

# A saved network.
MODEL_MANIFEST = "model.json"
MODEL_WEIGHTS = "model.safetensors"

# Training.
CONFIG = "config.toml"
"""Settings of the command ``train``."""
FIT = "fit.json"
"""Settings of the function ``fit``."""
DATA = "data.json"
"""Fingerprints of the data."""
PLACEMENT = "placement.json"
"""What exits were placed by, where that was time."""
HISTORY = "history.jsonl"
TRAINING_STATE = "training.safetensors"
"""What a killed training goes on from."""
CACHES = "features-*"
"""Pattern of the feature caches."""
TENSORBOARD = "tensorboard"
"""Folder of the event files that TensorBoard reads."""
EVENT_FILES = f"{TENSORBOARD}/events.out.tfevents.*"
"""Pattern of these files."""

SKIPPED = "skipped.txt"
"""Names of the images that were left out, since they could not be decoded."""

# What the commands find in a run.
PREDICTIONS = "predictions"
"""Folder with one npz file for each split."""
METRICS = "metrics.json"
ACCURACY_PICTURE = "accuracy-cost.png"
POLICY = "policy.json"
CONFUSION_STATISTICS = "confusion.json"
PLANS = "plans"
"""Folder with what to deploy, one file for each machine."""
ANALYSIS = "analysis.json"
PAGE = "report.html"
BACKDOOR_AUDIT = "audit-backdoor.json"
SUSPECTS_AUDIT = "audit-suspects.json"
SLOWDOWN_AUDIT = "audit-slowdown.json"
STUDY = "study.json"
"""Settings of a backdoor study, in the folder of its runs."""
RESULTS = (
    METRICS,
    ACCURACY_PICTURE,
    POLICY,
    CONFUSION_STATISTICS,
    "analysis*.json",
    "report*.html",
    "report-*.png",
    "report-*.svg",
    "audit-*.json",
    SKIPPED,
    f"{PREDICTIONS}/*.npz",
    f"{PLANS}/*.json",
)
"""Patterns of all that is found with one set of weights, and goes with them."""

# A bundle.
BUNDLE_MANIFEST = "manifest.json"
STATIC_MODEL = "static.onnx"
STATIC_GRAPH = "static.xml"
"""Likewise, as OpenVINO has it."""

# A comparison of speed.
BENCH = "bench.json"
BENCH_PICTURE = "bench.png"
