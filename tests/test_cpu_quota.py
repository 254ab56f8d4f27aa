"""Quotas of processor time by the files of control groups, as kernels and containers lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from shallowdeep.cpu_quota import cpu_quota

UNIFIED = "31 23 0:27 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def machine(system: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A system with these files; those of groups are below ``sys/fs/cgroup``."""
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text(text)
    return system


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("50000 100000", 1), ("100000 100000", 1), ("100001 100000", 2), ("350000 100000", 4), ("max 100000", None)],
)
def test_a_quota_is_rounded_up(tmp_path: Path, limit: str, cores: int | None) -> None:
    """Half a core is one, three and a half are four."""
    assert cpu_quota(machine(tmp_path, "0::/\n", UNIFIED.format(root="/"), {"cpu.max": f"{limit}\n"})) == cores


def test_the_smallest_quota_above_counts(tmp_path: Path) -> None:
    """A process has no more than any group that it is in; one beside it does not matter."""
    files = {
        "slice/cpu.max": "200000 100000", "slice/app/cpu.max": "max 100000",
        "slice/app/deep/cpu.max": "700000 100000", "slice/beside/cpu.max": "100000 100000",
    }  # fmt: skip
    assert cpu_quota(machine(tmp_path, "0::/slice/app/deep\n", UNIFIED.format(root="/"), files)) == 2


def test_version_1(tmp_path: Path) -> None:
    """Two files, of the controller of processor time alone; -1 is no limit."""
    groups = "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n"
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    system = machine(tmp_path, groups, FIRST.format(root="/") + OTHER, files)
    assert cpu_quota(system) is None
    files = {"cpu,cpuacct/box/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(machine(tmp_path, groups, FIRST.format(root="/") + OTHER, files)) == 3


def test_a_container_sees_its_own_group_as_the_mounted_one(tmp_path: Path) -> None:
    """The path of the group begins with the one mounted, or leads outside; both are at the mount point."""
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    mounts = FIRST.format(root="/docker/abc")
    assert cpu_quota(machine(tmp_path / "a", "3:cpu,cpuacct:/docker/abc\n", mounts, files)) == 2
    assert cpu_quota(machine(tmp_path / "b", "3:cpu,cpuacct:/../..\n", FIRST.format(root="/"), files)) == 2


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    """Neither on other systems, nor where files are strange or gone."""
    assert cpu_quota(tmp_path) is None
    strange = {"cpu.max": "many\n", "a/cpu.max": "1 0\n"}
    assert cpu_quota(machine(tmp_path, "nonsense\n0::/a\n", "short\n" + UNIFIED.format(root="/"), strange)) is None


@pytest.mark.parametrize("place", ["sys/fs/cgroup", "sys/fs/cgroup/cpu"])
def test_the_usual_places_count_without_a_mount(tmp_path: Path, place: str) -> None:
    """Sandboxes that mount groups otherwise, in either version."""
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if place.endswith("cpu"):
        (folder / "cpu.cfs_quota_us").write_text("150000")
        (folder / "cpu.cfs_period_us").write_text("100000")
    else:
        (folder / "cpu.max").write_text("150000 100000")
    assert cpu_quota(tmp_path) == 2
