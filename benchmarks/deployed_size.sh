#!/usr/bin/env bash
# A network at the size people deploy, 224 x 224: how much faster are exits than its fastest static runtime? A speed case:
# trained for minutes at 64 pixels, then for one epoch at 224 with its exits, so its accuracy says little.
# On an otherwise idle machine. Takes the folder of Parquet files, a model, and where runs go.
#     benchmarks/deployed_size.sh ../shared/data/tinyimagenet40 torchvision:resnet50 runs
set -euo pipefail
data=$(realpath "${1:?the folder of Tiny ImageNet as Parquet files}")
model=${2:?a model, such as torchvision:resnet50}
mkdir -p "${3:?where runs go}"
runs=$(realpath "$3")
cd "$(dirname "$0")/.."
name=${model#*:}
small=$runs/$name-64 large=$runs/$name-224
if [ ! -e "$small/model.json" ]; then
  shallowdeep train --data "$data" --model "$model" --recipe backbone --image-size 64 --epochs "${EPOCHS:-8}" --seed 0 \
    --out "$small" ${RESUME:+--resume}
fi
python - "$small" <<'PYTHON'
"""The network's weights as a file of their own."""
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

run, prefix = Path(sys.argv[1]), "backbone."
weights = {name: value for name, value in load_file(run / "model.safetensors").items() if name.startswith(prefix)}
save_file({name.removeprefix(prefix): value for name, value in weights.items()}, run / "backbone.safetensors")
PYTHON
if [ ! -e "$large/model.json" ]; then
  shallowdeep train --data "$data" --model "$model" --weights "$small/backbone.safetensors" --recipe mixed \
    --exit-weight 0.3 --image-size 224 --epochs "${EPOCHS_AT_224:-1}" --seed 0 --out "$large" ${RESUME:+--resume}
fi
python benchmarks/precisions.py "$large" "results/speed/$name-224-precisions.json" --budget 0.5
