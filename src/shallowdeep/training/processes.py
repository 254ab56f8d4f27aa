"""One process or many: what spreads a training over them."""

from __future__ import annotations

import torch
from accelerate import Accelerator


def accelerator_on(device: torch.device) -> Accelerator:
    """One process or many on a device; precision is the training loop's business."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")
