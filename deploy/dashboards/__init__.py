"""Grafana's dashboards, built with its own library."""

from __future__ import annotations

from deploy.dashboards.samples import samples
from deploy.dashboards.service import service
from deploy.dashboards.training import training

_DASHBOARDS = {"service": service, "samples": samples, "training": training}


def dashboards(runbooks: str) -> dict[str, str]:
    """The content of each dashboard's file; `runbooks` is the address of the folder that holds them."""
    return {f"{name}.json": build(runbooks) for name, build in _DASHBOARDS.items()}
