"""Programs of others: Prometheus's and Alertmanager's, on PATH or where `.ci/prometheus` puts them."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.environments import AbsentError

_TOP = Path(__file__).parents[2]
_ALSO = {"alertmanager": "prometheus-alertmanager"}  # Debian's name


def program(name: str) -> Path:
    """The path of `prometheus`, `promtool`, `alertmanager` or `amtool`. Raises AbsentError."""
    here = _TOP / ".tools" / name
    found = shutil.which(name) or shutil.which(_ALSO.get(name, name)) or (here if here.is_file() else None)
    if found is None:
        raise AbsentError(f"{name} is neither on PATH nor in .tools/: run .ci/prometheus")
    return Path(found)
