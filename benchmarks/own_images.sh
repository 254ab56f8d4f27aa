#!/usr/bin/env bash
# Image folders of one's own by commands alone: trained, evaluated and reloaded; and a torchvision network from training to
# wall time. On an otherwise idle machine.
# Writes what the commands print to results/own-images.md; runs go to a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
source benchmarks/printing.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=$PWD/results/own-images.md
python benchmarks/shapes.py "$work/shapes"
python benchmarks/shapes.py "$work/many-shapes" --train 1200 --test 200
cd "$work"
{
  echo '# Image folders'
  echo
  echo 'Five drawn shapes, 300 + 100 images each of 48 to 72 pixels, a quarter grey (`python benchmarks/shapes.py shapes`), seed 0.'
  echo 'For the network of torchvision four times as many to train on (`--train 1200 --test 200`), enough to promise something.'
  printed_where
} > "$page"
show shallowdeep train --data shapes --model resnet20 --recipe joint --epochs 40 --out shapes-run
show shallowdeep evaluate shapes-run
show python -c "import shallowdeep; network = shallowdeep.load('shapes-run'); print(network.classes, network.preprocessing, len(network.exits), 'exits')"
show shallowdeep train --data many-shapes --model torchvision:mobilenet_v2 --recipe joint --epochs 20 --image-size 64 --calibration-fraction 0.3 --out mobile
show shallowdeep calibrate mobile --max-accuracy-loss 0.01
show shallowdeep export mobile --out bundle
show shallowdeep predict bundle many-shapes/test/star/0000.png many-shapes/test/circle/0001.png
show shallowdeep bench bundle --batch-sizes 1,64
