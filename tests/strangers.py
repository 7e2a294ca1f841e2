"""A Python that has every package of this one, except the project: as in BentoML's container, or before an install."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path


def make_stranger(folder: Path) -> Path:
    """The Python of a new environment in `folder`."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if "latentserve" not in installed.name:
            (packages / installed.name).symlink_to(installed)
    absent = subprocess.run([python, "-c", "import latentserve"], cwd=folder, capture_output=True, check=False)
    assert absent.returncode != 0
    return python
