#!/usr/bin/env bash
# ResNet-56 on CIFAR-10 from training to wall time by commands alone, with few epochs. On an otherwise idle machine.
# Takes the folder of Parquet files; writes what the commands print to results/cifar10-resnet56/chain.md.
#     benchmarks/cifar_chain.sh ../shared/data/cifar10
set -euo pipefail
data=$(realpath "${1:?the folder of CIFAR-10 as Parquet files}")
cd "$(dirname "$0")/.."
source benchmarks/printing.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=$PWD/results/cifar10-resnet56/chain.md
ln -s "$data" "$work/cifar10"
cd "$work"
python - <<'PYTHON'
"""Four test images as files."""
from pathlib import Path

import pyarrow.parquet as pq

table = pq.read_table(sorted(Path("cifar10").rglob("test-*.parquet"))[0]).slice(0, 4).to_pylist()
folder = Path("photos")
folder.mkdir()
for number, row in enumerate(table):
    image = next(value for value in row.values() if isinstance(value, dict))
    (folder / f"{number}.jpg").write_bytes(image["bytes"])
PYTHON
{
  echo '# ResNet-56 on CIFAR-10, by commands alone'
  echo
  echo 'Three epochs, so a weak network: the chain is the point here; [the runs beside this page](README.md) had twelve.'
  echo 'The photos are the first four test images.'
  printed_where
} > "$page"
show shallowdeep train --data ./cifar10 --model resnet56 --recipe joint --epochs 3 --out run
show shallowdeep evaluate run
show shallowdeep calibrate run --max-accuracy-loss 0.01
show shallowdeep export run --out bundle
show shallowdeep predict bundle photos
show shallowdeep bench bundle --batch-sizes 1,64
