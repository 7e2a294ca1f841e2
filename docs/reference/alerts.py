"""The alerts, from the rules that Prometheus reads."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

_RULES = Path(__file__).parents[2] / "deploy" / "prometheus"


def table() -> str:
    """Markdown: a row for each alert, with its severities and what it says. Links are to pages in the same folder."""
    severities: dict[str, list[str]] = {}
    summaries: dict[str, str] = {}
    for file in sorted(_RULES.glob("*.rules.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
                    summaries.setdefault(rule["alert"], rule["annotations"]["summary"])
    lines = ["| alert | severity | it says |", "|---|---|---|"]
    for name, summary in sorted(summaries.items()):
        said = re.sub(r"\{\{.*?\$labels\.(\w+).*?\}\}", r"*\1*", summary).replace("|", "\\|")
        lines.append(f"| [{name}]({name}.md) | {', '.join(dict.fromkeys(severities[name]))} | {said} |")
    return "\n".join(lines) + "\n"
