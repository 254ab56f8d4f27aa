"""Seeds, device, precision and modes: how things run, apart from what runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from shallowdeep.errors import ConfigurationError

PRECISIONS = ("auto", "fp32", "bf16")


def derive_seed(*parts: int) -> int:
    """A 63-bit seed that is a fixed function of ``parts``, unlike for (seed, epoch) and (epoch, seed)."""
    sequence = np.random.SeedSequence([part & 0xFFFFFFFFFFFFFFFF for part in parts])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def seed_everything(*parts: int) -> None:
    """Seed Python, NumPy and torch on every device from ``parts`` (see `derive_seed`)."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries underneath read the global generator
    torch.manual_seed(seed)


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` takes an accelerator where there is one.

    Raises:
        ConfigurationError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"Expected a device that is present, got {name!r}") from error


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 autocast is faster than float32 on ``device``: it needs units for it in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def pick_precision(name: str, device: torch.device) -> str:
    """``fp32`` or ``bf16``; ``auto`` takes bfloat16 autocast where `bf16_pays`.

    Raises:
        ConfigurationError: ``name`` is none of `PRECISIONS`.
    """
    if name not in PRECISIONS:
        raise ConfigurationError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got {name!r}")
    if name == "auto":
        return "bf16" if bf16_pays(device) else "fp32"
    return name


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put ``modules`` in eval mode inside the block, and every submodule back in its own mode after it."""
    modes = [(module, module.training) for root in modules for module in root.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
