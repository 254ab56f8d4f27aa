"""Which of the processor's instructions arithmetic at a precision uses: what its results, and its speed, depend on."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

UNKNOWN = "unknown"  # the system does not tell what its processor can
GENERIC = "generic"  # none of those below
_CPUINFO = Path("/proc/cpuinfo")
_FIELDS = ("flags", "Features")  # what x86 and ARM call the list
_VECTORS = {"avx512f": "avx512f", "avx2": "avx2", "asimd": "neon", "neon": "neon"}
# Best first: the flag in /proc/cpuinfo, and the name of the level. ARM calls its flags otherwise.
_LEVELS: dict[str, dict[str, str]] = {
    "f32": _VECTORS,
    "bf16": {"amx_bf16": "amx_bf16", "avx512_bf16": "avx512_bf16", "bf16": "neon_bf16", **_VECTORS},
    "int8": {
        "amx_int8": "amx_int8",
        "avx512_vnni": "avx512_vnni",
        "avx_vnni": "avx_vnni",
        "i8mm": "neon_i8mm",
        "asimddp": "neon_dotprod",
        **_VECTORS,
    },
}


def instruction_set(precision: str, flags: Collection[str] | None = None) -> str:
    """Return the best instruction set there is for a precision.

    Without VNNI (``avx512f``, ``avx2``) sums of 8-bit products can saturate; so results at ``int8`` depend on it.

    Args:
        precision: ``f32``, ``bf16`` or ``int8``; another one counts as ``f32``.
        flags: of the processor, as /proc/cpuinfo has them; None for those of this one.

    Returns:
        ``amx_int8``, ``avx512_vnni``, ``avx_vnni``, ``neon_i8mm``, ``neon_dotprod`` (int8); ``amx_bf16``,
        ``avx512_bf16``, ``neon_bf16`` (bf16); ``avx512f``, ``avx2``, ``neon`` (any); ``generic`` for none of them,
        ``unknown`` where this system does not tell.

    Example:
        >>> instruction_set("int8", {"avx2", "avx512f", "avx512_vnni"})
        'avx512_vnni'
        >>> instruction_set("f32", {"avx2", "avx512f", "avx512_vnni"})
        'avx512f'
    """
    if flags is None:
        flags = processor_flags()
        if not flags:
            return UNKNOWN
    levels = _LEVELS.get(precision, _VECTORS)
    return next((name for flag, name in levels.items() if flag in flags), GENERIC)


@cache
def processor_flags() -> frozenset[str]:
    """Return what this processor can, as /proc/cpuinfo calls it; empty where there is no such file."""
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return flags_in(lines)


def flags_in(lines: Collection[str]) -> frozenset[str]:
    """Return the flags that all processors of a /proc/cpuinfo have: some machines have two kinds of core."""
    named = (line.partition(":") for line in lines)
    found = [frozenset(values.split()) for name, _, values in named if name.strip() in _FIELDS]
    return frozenset.intersection(*found) if found else frozenset()
