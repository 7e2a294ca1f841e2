"""A checkout of its own, for commands that are run in one."""

from __future__ import annotations

import shutil
from pathlib import Path

TOP = Path(__file__).parents[1]
MADE = (".git", ".venv*", ".tools", "build", "dist", "demo", "runs", "bundles", ".*_cache", ".hypothesis")


def copy_checkout(to: Path) -> Path:
    """This one, without what was installed, fetched or made in it, which is a hundred times as much. What Python has
    compiled goes with it."""
    return Path(shutil.copytree(TOP, to, symlinks=True, ignore=shutil.ignore_patterns(*MADE)))
