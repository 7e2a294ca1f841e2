"""The cores that this process may use: its affinity, and the quotas of its control groups, of both versions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")
_OCTAL = re.compile(r"\\([0-7]{3})")


def cores() -> float:
    """How many: a quota may be a part of one."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except OSError:  # a sandbox does not tell
        allowed = os.cpu_count() or 1
    return min(float(allowed), *quotas(_PROC), float("inf"))


def whole_cores() -> int:
    """The same for a number of threads, 1 at the least."""
    return max(1, int(cores()))


def quotas(proc: Path) -> Iterator[float]:
    """The quotas, in cores, of a process's control groups and of all groups above them that can be seen.

    `proc`: the process's folder of `/proc`. A group's quota binds whoever is below it, so the smallest holds. Which
    files state it depends on the version (cgroup v2: `cpu.max`; v1: `cpu.cfs_quota_us`), and a machine may have both.
    """
    try:
        groups = dict(_groups((proc / "cgroup").read_text()))
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in mounts:
        before, _, after = line.partition(" - ")
        kind, *_, options = after.split(" ")
        if kind == "cgroup2":
            group = groups.get("")
        elif kind == "cgroup" and "cpu" in options.split(","):
            group = groups.get("cpu")
        else:
            continue
        if group is None:
            continue
        root, mounted = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), text) for text in before.split(" ")[3:5])
        for folder in _upwards(Path(mounted), PurePosixPath(group), PurePosixPath(root)):
            with suppress(OSError, ValueError, ZeroDivisionError):  # none, or `max`, or -1
                if (quota := _quota(folder)) > 0:
                    yield quota


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """The group of each controller; of "" that of version 2."""
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, group


def _upwards(mounted: Path, group: PurePosixPath, root: PurePosixPath) -> Iterator[Path]:
    """The folders of a group and of those above it, where the part of the tree from `root` on is mounted.

    A group beside that part is not seen there: then what is mounted is the nearest that is known.
    """
    below = group.relative_to(root) if group.is_relative_to(root) and ".." not in group.parts else PurePosixPath()
    folder = mounted / below
    yield folder
    yield from (parent for parent in folder.parents if parent.is_relative_to(mounted))


def _quota(folder: Path) -> float:
    """Of one group. Raises OSError, ValueError, ZeroDivisionError where it states none."""
    if (file := folder / "cpu.max").exists():
        quota, period = file.read_text().split()
    else:
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    return int(quota) / int(period)
