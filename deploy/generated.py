"""All that is generated, by the file it is written to."""

from __future__ import annotations

from deploy.configuration import prometheus_configuration
from deploy.dashboards import dashboards
from deploy.rules import rule_files
from deploy.windows import Times


def generated(times: Times, runbooks: str) -> dict[str, str]:
    """The content of each file, by its path within `deploy`."""
    rules = rule_files(times, runbooks)
    files = {**rules, "prometheus.yml": prometheus_configuration(times, rules)}
    return {
        **{f"prometheus/{name}": content for name, content in files.items()},
        **{f"grafana/dashboards/{name}": content for name, content in dashboards(runbooks).items()},
    }
