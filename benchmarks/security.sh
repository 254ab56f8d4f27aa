#!/usr/bin/env bash
# The audits of results/security, one after the other: hours on two cores, most of them for VGG-16; goes on where it was
# stopped.
#
#     benchmarks/security.sh ../shared/data/cifar10 runs/security [STEP ...]
#
# Steps: vgg16-badnets resnet20-blended resnet20-sig resnet20-minority vgg16 slowdown-resnet56 slowdown-vgg16 (all by
# default). What the audits print as JSON goes to results/security; trained runs stay in the second folder.
set -euo pipefail
data=$1 runs=$2
shift 2
steps=("${@:-all}")
results=results/security
mkdir -p "$runs" "$results"

wanted() { [[ " ${steps[*]} " == *" all "* || " ${steps[*]} " == *" $1 "* ]]; }
audit() { # NAME ARGUMENTS: an audit whose JSON is kept
  local name=$1
  shift
  python -m shallowdeep audit "$@" --json > "$runs/$name.json"
  mv "$runs/$name.json" "$results/$name.json"
}
train() { # OUT ARGUMENTS
  local out=$1
  shift
  python -m shallowdeep train --data "$data" --out "$out" --resume "$@"
}

if wanted vgg16-badnets; then # the paper's setting
  audit vgg16-badnets backdoor --data "$data" --model vgg16 --epochs 10 --ic-epochs 10 --optimizer sgd --learning-rate 0.05 \
    --out "$runs/vgg16-badnets" --resume
fi
for trigger in blended sig; do
  if wanted "resnet20-$trigger"; then
    audit "resnet20-$trigger" backdoor --data "$data" --model resnet20 --trigger $trigger --epochs 12 --ic-epochs 10 \
      --out "$runs/resnet20-$trigger" --resume
  fi
done
if wanted resnet20-minority; then # a fiftieth of all images, a sixth of what is labelled as the target
  audit resnet20-minority backdoor --data "$data" --model resnet20 --trigger blended --poison-ratio 0.02 --epochs 12 \
    --ic-epochs 10 --out "$runs/resnet20-minority" --resume
fi
if wanted vgg16; then
  train "$runs/vgg16" --model vgg16 --recipe backbone --epochs 15 --optimizer sgd --weights-dtype fp16
  train "$runs/vgg16-ic-only" --recipe ic-only --init "$runs/vgg16" --weights-dtype fp16
fi
strong=(--iterations 100 --step 1) # more and smaller steps than published
if wanted slowdown-resnet56; then
  joint=results/cifar10-resnet56/joint
  train "$runs/resnet56-hardened" --recipe ic-only --init $joint --adversarial-steps 5 --epochs 2
  train "$runs/resnet56-hardened-trunk" --recipe joint --init $joint --optimizer sgd --learning-rate 0.03 \
    --adversarial-steps 5 --epochs 2
  audit slowdown-resnet56 slowdown $joint --transfer results/best-resnet56/best --hardened "$runs/resnet56-hardened"
  audit slowdown-resnet56-strong slowdown $joint "${strong[@]}" --hardened "$runs/resnet56-hardened-trunk"
fi
if wanted slowdown-vgg16; then
  audit slowdown-vgg16 slowdown "$runs/vgg16-ic-only" --transfer results/cifar10-resnet56/joint --samples 300
  audit slowdown-vgg16-strong slowdown "$runs/vgg16-ic-only" "${strong[@]}" --samples 300
fi
