"""The cores that a process may use: quotas of both versions of control groups, of made-up trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latentserve.service import cores as module
from latentserve.service.cores import cores, quotas, whole_cores
from latentserve.service.settings import load_settings


def tree(folder: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A folder of `/proc`; `{folder}` in mounts is where the files are."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts.format(folder=str(folder).replace(" ", "\\040")))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return proc


V2 = "30 23 0:26 {root} {{folder}}/sys rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:27 / {{folder}} ro - tmpfs tmpfs ro,mode=755\n"
    "32 31 0:28 {root} {{folder}}/cpu rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:29 {root} {{folder}}/cpuset rw - cgroup cgroup rw,cpuset\n"
)
V1_GROUP = "5:cpuset:/pods/one\n4:cpu,cpuacct:/pods/one\n1:name=systemd:/pods/one\n0::/other\n"


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


TREES = {
    "v2": ("0::/\n", V2.format(root="/"), {"sys/cpu.max": "150000 100000\n"}, [1.5]),
    "v2, none": ("0::/\n", V2.format(root="/"), {"sys/cpu.max": "max 100000\n"}, []),
    "v2, nested": (
        "0::/a.slice/b.scope/c\n",
        V2.format(root="/"),
        {
            "sys/a.slice/cpu.max": "50000 100000",
            "sys/a.slice/b.scope/cpu.max": "max 100000",
            "sys/a.slice/b.scope/c/cpu.max": "300000 100000",
        },
        [3.0, 0.5],
    ),
    "v2, a container that sees its own part": (
        "0::/docker/abc/inner\n",
        V2.format(root="/docker/abc"),
        {"sys/cpu.max": "400000 100000", "sys/inner/cpu.max": "200000 100000"},
        [2.0, 4.0],
    ),
    "v2, of another namespace": (
        "0::/../../abc\n",
        V2.format(root="/"),
        {"sys/cpu.max": "100000 100000", "abc/cpu.max": "1 100000"},
        [1.0],
    ),
    "v1": (V1_GROUP, V1.format(root="/"), v1("cpu/pods/one", 250_000) | v1("cpu", -1), [2.5]),
    "v1, nested": (V1_GROUP, V1.format(root="/"), v1("cpu/pods/one", -1) | v1("cpu/pods", 25_000, 50_000), [0.5]),
    "v1, a container": (V1_GROUP, V1.format(root="/pods/one"), v1("cpu", 200_000), [2.0]),
    "both": (
        V1_GROUP,
        V1.format(root="/") + V2.format(root="/"),
        v1("cpu/pods/one", 300_000) | {"sys/other/cpu.max": "100000 50000"},
        [3.0, 2.0],
    ),
    "nonsense": ("0::/\n", V2.format(root="/"), {"sys/cpu.max": "100000\n"}, []),
    "a period of nothing": ("0::/\n", V2.format(root="/"), {"sys/cpu.max": "100000 0\n"}, []),
    "no groups": ("", "30 23 0:26 / / rw - ext4 /dev/sda rw\n", {}, []),
}


@pytest.mark.parametrize("name", TREES)
def test_quotas_of_a_group_and_of_those_above_it(name: str, tmp_path: Path):
    groups, mounts, files, expected = TREES[name]
    folder = tmp_path / "a folder"
    folder.mkdir()
    assert list(quotas(tree(folder, groups, mounts, files))) == expected


def test_where_nothing_is_known_of_groups(tmp_path: Path):
    assert list(quotas(tmp_path / "none")) == []


def test_where_a_sandbox_does_not_tell(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: int) -> set[int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_getaffinity", refuse)
    assert 0 < cores() <= (os.cpu_count() or 1)


def test_the_smallest_quota_decides_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    groups, mounts, files, _ = TREES["v2, nested"]
    monkeypatch.setattr(module, "_PROC", tree(tmp_path, groups, mounts, files))
    assert cores() == 0.5
    assert whole_cores() == 1
    assert load_settings().engine_threads == 1
    many = "1600000 100000"
    (tmp_path / "sys/a.slice/cpu.max").write_text(many)
    (tmp_path / "sys/a.slice/b.scope/c/cpu.max").write_text(many)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert load_settings().engine_threads == 15
    assert load_settings(workers=4).engine_threads == 3
    assert load_settings(workers=4).encoder_threads == 4
