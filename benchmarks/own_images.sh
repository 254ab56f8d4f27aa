#!/usr/bin/env bash
# An image folder of one's own, trained, evaluated and reloaded by commands alone; one torchvision network for an epoch.
# Writes what the commands print to results/own-images.md; runs go to a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=$PWD/results/own-images.md
python benchmarks/shapes.py "$work/shapes"
cd "$work"
{
  echo '# Image folders'
  echo
  echo 'Five drawn shapes, 300 + 100 images each of 48 to 72 pixels, a quarter grey (`python benchmarks/shapes.py shapes`), seed 0.'
  echo 'An epoch of these is ten steps: the network of torchvision, untrained before, stays at chance and shows the commands only.'
  echo "Printed by \`benchmarks/own_images.sh\` on $(date -u +%F), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), no GPU."
} > "$page"
show() {
  printf '\n    $ %s\n' "$*" >> "$page"
  "$@" 2> errors | sed 's/^/    /; s/ *$//' >> "$page" || { cat errors >&2; exit 1; }
}
show shallowdeep train --data shapes --model resnet20 --recipe joint --epochs 40 --out shapes-run
show shallowdeep evaluate shapes-run
show python -c "import shallowdeep; network = shallowdeep.load('shapes-run'); print(network.classes, network.preprocessing, len(network.exits), 'exits')"
show shallowdeep train --data shapes --model torchvision:mobilenet_v2 --recipe joint --epochs 1 --image-size 64 --out mobile
show shallowdeep evaluate mobile
