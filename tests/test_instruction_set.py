"""The instruction set that a precision runs on, from flags as processors have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shallowdeep import instruction_set as module
from shallowdeep.instruction_set import flags_in, instruction_set

SAPPHIRE_RAPIDS = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}
ZEN_4 = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16"}
CASCADE_LAKE = {"avx2", "avx512f", "avx512_vnni"}
SKYLAKE = {"avx2", "avx512f"}
ALDER_LAKE = {"avx2", "avx_vnni"}
HASWELL = {"avx2", "fma"}
SANDY_BRIDGE = {"avx", "sse4_2"}
GRAVITON_3 = {"asimd", "asimddp", "i8mm", "bf16", "sve"}
GRAVITON_2 = {"asimd", "asimddp"}


@pytest.mark.parametrize(
    ("flags", "f32", "bf16", "int8"),
    [
        (SAPPHIRE_RAPIDS, "avx512f", "amx_bf16", "amx_int8"),
        (ZEN_4, "avx512f", "avx512_bf16", "avx512_vnni"),
        (CASCADE_LAKE, "avx512f", "avx512f", "avx512_vnni"),
        (SKYLAKE, "avx512f", "avx512f", "avx512f"),
        (ALDER_LAKE, "avx2", "avx2", "avx_vnni"),
        (HASWELL, "avx2", "avx2", "avx2"),
        (SANDY_BRIDGE, "generic", "generic", "generic"),
        (GRAVITON_3, "neon", "neon_bf16", "neon_i8mm"),
        (GRAVITON_2, "neon", "neon", "neon_dotprod"),
    ],
)
def test_each_precision_has_its_best_level(flags: set[str], f32: str, bf16: str, int8: str) -> None:
    """Of several, the one a runtime would take."""
    assert [instruction_set(name, flags) for name in ("f32", "bf16", "int8")] == [f32, bf16, int8]


def test_flags_are_those_of_all_cores() -> None:
    """x86 and ARM call the list differently; what one kind of core lacks is not counted."""
    x86 = ["processor\t: 0", "flags\t\t: fpu avx2 avx512f", "", "processor\t: 1", "flags\t\t: fpu avx2"]
    arm = ["processor\t: 0", "Features\t: fp asimd i8mm"]
    assert flags_in(x86) == {"fpu", "avx2"}
    assert flags_in(arm) == {"fp", "asimd", "i8mm"}
    assert flags_in(["model name\t: something"]) == set()


def test_where_the_system_does_not_tell_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is another answer than a processor without any of them."""
    module.processor_flags.cache_clear()
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "none")
    assert instruction_set("int8") == "unknown"
    assert instruction_set("int8", ()) == "generic"
    (tmp_path / "none").write_text("flags : avx2\n")
    module.processor_flags.cache_clear()
    assert instruction_set("int8") == "avx2"
    module.processor_flags.cache_clear()
