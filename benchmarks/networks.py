"""Which networks can be converted: cut points, the same logits, the same training step, bundles that agree.

    python benchmarks/networks.py results/networks.json [NAME ...]

Without names, a list of torchvision's, timm's and transformers', untrained, at sizes that keep this short (those of
transformers in small configurations); each in a process of its own. Names that are in the file already are left out;
the table beside it (.md) is written anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers_networks import IMAGES, TEXT

from shallowdeep.documents import plain
from shallowdeep.errors import ShallowDeepError
from shallowdeep.exits.policy import NEVER, shared_threshold
from shallowdeep.files import write_json
from shallowdeep.inference.engine import EarlyExitEngine
from shallowdeep.inference.export import write_bundle
from shallowdeep.machine import this_machine
from shallowdeep.models.hf_zoo import from_config
from shallowdeep.models.registry import build
from shallowdeep.sdn.convert import candidates, convert
from shallowdeep.sdn.logits import logits_of

TIMEOUT = 600  # seconds for one network
TOKENS = 12  # of the example of a text network
SMALL = """
    torchvision:resnet18 torchvision:resnet50 torchvision:resnext50_32x4d torchvision:wide_resnet50_2 torchvision:vgg11
    torchvision:vgg16_bn torchvision:alexnet torchvision:densenet121 torchvision:mobilenet_v2
    torchvision:mobilenet_v3_small torchvision:mobilenet_v3_large torchvision:efficientnet_b0
    torchvision:efficientnet_v2_s torchvision:regnet_y_400mf torchvision:regnet_x_800mf torchvision:shufflenet_v2_x1_0
    torchvision:squeezenet1_1 torchvision:mnasnet1_0 torchvision:convnext_tiny torchvision:swin_t torchvision:swin_v2_t
    torchvision:googlenet torchvision:vit_b_16 torchvision:maxvit_t
    timm:resnet26d timm:resnetv2_50 timm:resnest14d timm:seresnet33ts timm:ecaresnet26t timm:skresnet18
    timm:res2net50_26w_4s timm:regnety_002 timm:efficientnet_lite0 timm:mobilenetv4_conv_small timm:mixnet_s
    timm:ghostnet_100 timm:hardcorenas_a timm:convnext_atto timm:convnextv2_atto timm:nf_resnet26 timm:dla34
    timm:hrnet_w18_small timm:vovnet39a timm:cspresnet50 timm:repvgg_a0 timm:mobileone_s0 timm:fastvit_t8
    timm:edgenext_xx_small timm:mobilevit_xxs timm:poolformer_s12 timm:inception_next_tiny timm:starnet_s1
    timm:rexnet_100 timm:tf_efficientnetv2_b0 timm:lcnet_050 timm:semnasnet_075
    timm:vit_tiny_patch16_224 timm:deit_tiny_patch16_224 timm:xcit_nano_12_p16_224
"""
LARGE = """
    torchvision:inception_v3 timm:beit_base_patch16_224 timm:mixer_s16_224 timm:levit_128s timm:coat_lite_tiny
    timm:twins_svt_small timm:pit_ti_224 timm:swin_tiny_patch4_window7_224 timm:eva02_tiny_patch14_224
"""
TRANSFORMERS = "transformers:"
SIZES = {
    **dict.fromkeys(SMALL.split(), 64),
    **dict.fromkeys(LARGE.split(), 224),
    **{f"{TRANSFORMERS}{kind}": 64 for kind in IMAGES},
    **{f"{TRANSFORMERS}{kind}": TOKENS for kind in TEXT},
}
EVERY = ("eval", "train", "onnxruntime", "openvino")


def examined(name: str, size: int) -> dict[str, Any]:
    """What can be done with a network."""
    torch.manual_seed(0)
    backbone, twin = made(name, size), made(name, size)
    twin.load_state_dict(backbone.state_dict())
    images, labels = samples(name, size), torch.arange(4)
    example = images[:1]
    found: dict[str, Any] = {"size": size, "parameters": sum(p.numel() for p in backbone.parameters())}
    try:
        found["cut_points"] = len(candidates(backbone, example))
        network = convert(backbone, example)
    except ShallowDeepError as error:
        return {**found, "error": str(error)}
    found["exits"] = len(network.exits)
    with torch.no_grad():
        found["eval"] = torch.equal(network.eval()(images)[-1], logits_of(twin.eval()(images)))
    gradients = []
    for module in (network, twin):
        module.train()
        torch.manual_seed(1)
        output = module(images)
        logits = output[-1] if module is network else logits_of(output)
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        trunk = network.backbone if module is network else twin
        gradients.append([None if p.grad is None else p.grad.clone() for p in trunk.parameters()])
    found["train"] = all(
        (one is None) == (other is None) and (one is None or torch.equal(one, other))
        for one, other in zip(*gradients, strict=True)
        if other is not None or one is not None
    )
    network.eval()
    for backend in ("onnxruntime", "openvino"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                count = len(network.exits)
                bundle = write_bundle(network, shared_threshold(NEVER, count), Path(folder) / "bundle", backend)
                said = EarlyExitEngine(bundle)(images.numpy()).labels.tolist()
                with torch.no_grad():
                    found[backend] = said == network(images)[-1].argmax(dim=1).tolist()
            except ShallowDeepError as error:
                found[backend] = str(error)
    return found


def made(name: str, size: int) -> nn.Module:
    """An untrained network of 10 classes."""
    kind = name.removeprefix(TRANSFORMERS)
    if kind == name:
        return build(name, num_classes=10, image_size=size)
    return from_config({"model_type": kind, **(TEXT.get(kind) or IMAGES[kind])}, 10, size)


def samples(name: str, size: int) -> Tensor:
    """Four images, or texts of several lengths of which the first is the longest."""
    if name.removeprefix(TRANSFORMERS) not in TEXT:
        return torch.randn(4, 3, size, size)
    tokens = torch.randint(4, 100, (4, size))
    for row in range(1, 4):
        tokens[row, size - 2 * row :] = -1
    return tokens


def main() -> None:
    """Examine one, or each of many in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--one", type=int, default=0, help="size: examine the name given, here")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(examined(given.names[0], given.one)))
        return
    document = json.loads(given.out.read_text()) if given.out.exists() else {"networks": {}}
    wanted = {name: size for name, size in SIZES.items() if name in given.names or not given.names}
    for name, size in wanted.items():
        if name in document["networks"]:
            continue
        begun = time.perf_counter()
        command = [sys.executable, __file__, str(given.out), name, "--one", str(size)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            lines = done.stdout.strip().splitlines()
            found = json.loads(lines[-1]) if done.returncode == 0 else {"error": done.stderr.strip().splitlines()[-1]}
        except subprocess.TimeoutExpired:
            found = {"error": f"more than {TIMEOUT} s"}
        document["networks"][name] = {**found, "seconds": round(time.perf_counter() - begun, 1)}
        document["machine"] = plain(this_machine(2))
        write_json(given.out, document)
        given.out.with_suffix(".md").write_text(page(document))
        print(name, document["networks"][name], flush=True)


def page(document: dict[str, Any]) -> str:
    """The table."""
    networks, machine = document["networks"], document["machine"]
    good = sum(all(one.get(key) is True for key in EVERY) for one in networks.values())
    lines = [
        "# Which networks can be converted",
        "",
        f"`python benchmarks/networks.py results/networks.json`, {machine['cpu']}, {machine['date']}: untrained",
        f"networks of 10 classes; {good} of {len(networks)} in every way. eval: the final exit's logits are the",
        "network's, bit for bit; train: so are the gradients of a step in train mode, from the same seed; then bundles",
        "for ONNX Runtime and OpenVINO in float32, run in batches of several sizes and compared with PyTorch (1e-4 of",
        "the largest logit) before they are kept.",
        "",
        "| network | pixels or tokens | cut points | exits | eval | train | ONNX Runtime | OpenVINO |",
        "|---|---|---|---|---|---|---|---|",
    ]
    why = []
    for name, one in networks.items():
        cells = ["yes" if one.get(key) is True else "no" if key in one else "-" for key in EVERY]
        size, cuts, exits = (one.get(key, "-") for key in ("size", "cut_points", "exits"))
        lines.append(f"| `{name}` | {size} | {cuts} | {exits} | {' | '.join(cells)} |")
        told = [one.get("error"), *(one.get(key) for key in ("onnxruntime", "openvino"))]
        why += [f"- `{name}`: {text}" for text in dict.fromkeys(t for t in told if isinstance(t, str))]
    return "\n".join([*lines, "", *(["## What fails, and why", "", *why] if why else [])]) + "\n"


if __name__ == "__main__":
    main()
