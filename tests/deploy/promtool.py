"""Series made up for `promtool test rules`, and what must come of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.rules import rule_groups
from deploy.rules.rule import Group, rule_file
from deploy.windows import BLOCK, SCRAPE, Times
from tests.fleet import tool

PER_MINUTE = int(BLOCK / SCRAPE)
FILES = ("serving", "samples", "alerts", "training")


@dataclass(frozen=True)
class Counter:
    """Grows by `a_minute`, from `start`."""

    a_minute: float
    start: float = 1e6


Values = Counter | float | str  # a float is a gauge; a text is promtool's own notation, a value for each scrape
Key = tuple[str, tuple[tuple[str, str], ...]]
Series = dict[Key, Values]


@dataclass(frozen=True)
class Check:
    """`expression` must give exactly these values by labels after so many minutes."""

    minutes: float
    expression: str
    gives: Sequence[tuple[Mapping[str, str], float]] = ()


def key(metric: str, **labels: str) -> Key:
    """What a series is known by."""
    return metric, tuple(sorted(labels.items()))


def change(found: Series, metric: str, to: Values, **labels: str) -> Series:
    """The same with other values of all series of this metric that have these labels. There must be some."""
    changed = {one: to for one in found if one[0] == metric and labels.items() <= set(one[1])}
    assert changed, (metric, labels)
    return {**found, **changed}


def firing(*matchers: str, by: Sequence[str] = ()) -> str:
    """PromQL for the alerts that fire, of those whose labels match; `by`: their number for each value of these."""
    matching = ", ".join(['alertstate="firing"', *matchers])
    found = f"ALERTS{{{matching}}}"
    return f"count by ({', '.join(by)}) ({found})" if by else found


def growing(start: float, a_minute: float, minutes: float) -> str:
    """A counter in promtool's notation, up to but not at the end."""
    return f"{start!r}+{a_minute / PER_MINUTE!r}x{round(minutes * PER_MINUTE) - 1}"


def notation(of: Values, minutes: int, restart: int | None = None, away: str = "_") -> str:
    """Values as promtool writes them. At the minute `restart` whoever shows them goes, for a minute, in which each
    scrape finds `away`; a counter then begins again from 0."""
    if isinstance(of, str):
        return of

    def part(start: float, length: int) -> str:
        steady = f"{of!r}x{length * PER_MINUTE - 1}"
        return growing(start, of.a_minute, length) if isinstance(of, Counter) else steady

    start = of.start if isinstance(of, Counter) else 0.0
    if restart is None:
        return part(start, minutes + 1)
    return " ".join([part(start, restart), *[away] * PER_MINUTE, part(0.0, minutes - restart)])


def passes(
    folder: Path,
    content: Mapping[Key, Values | tuple[Values, int]],
    minutes: int,
    checks: Iterable[Check],
    files: Sequence[str] = FILES,
    alert: str | None = None,
) -> None:
    """Assert that each check holds, of the rules in `files` as they are generated now.

    Values may come with the minute at which they restart. Where all checks are on one `alert`, only that and the
    records beneath it are evaluated, which is what promtool's time goes into.
    """
    every = rule_groups(Times())
    groups = {f"{name}.rules.yml": every[f"{name}.rules.yml"] for name in files}
    if alert is not None:
        groups = _beneath(alert, groups)
    texts = {name: rule_file(of, "runbooks") for name, of in groups.items()}
    for name, text in texts.items():
        (folder / name).write_text(text)
    inputs = []
    used = "".join(texts.values())
    for one, of in content.items():
        if one[0] not in used:  # promtool would take its time over it
            continue
        own, restart = of if isinstance(of, tuple) else (of, None)
        away = "0" if one[0] == "up" else "_"
        inputs.append({"series": _written(one), "values": notation(own, minutes, restart, away)})
    test: dict[str, Any] = {
        "interval": f"{SCRAPE:g}s",
        "input_series": inputs,
        "promql_expr_test": [
            {
                "eval_time": f"{check.minutes * 60:g}s",
                "expr": check.expression,
                "exp_samples": [{"labels": _written(key("", **labels)), "value": at} for labels, at in check.gives],
            }
            for check in checks
        ],
    }
    # promtool evaluates all groups at one interval, that of the records on which the others rest. Those of single
    # replicas, of every fourth minute, are then summed four times over: their shares are the same.
    file = {
        "rule_files": list(groups),
        "evaluation_interval": f"{BLOCK:g}s",
        "group_eval_order": [group.name for of in groups.values() for group in of],
        "tests": [test],
    }
    (folder / "test.yml").write_text(json.dumps(file, ensure_ascii=False))
    command = [tool("promtool"), "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:5000]


def _beneath(alert: str, groups: Mapping[str, Sequence[Group]]) -> dict[str, list[Group]]:
    """The same files and groups with this alert alone, what it is computed from, and what that is computed from."""
    rules = [rule for of in groups.values() for group in of for rule in group.rules]
    known: set[str] = set()
    names = {alert}
    while names != known:
        known = set(names)
        names |= {word for rule in rules if rule.name in known for word in re.findall(r"[a-zA-Z_][\w:]*", rule.expr)}
    kept = {
        file: [replace(group, rules=[rule for rule in group.rules if rule.name in names]) for group in of]
        for file, of in groups.items()
    }
    return {file: of for file, some in kept.items() if (of := [group for group in some if group.rules])}


def _written(one: Key) -> str:
    metric, labels = one
    return f"{metric}{{{','.join(f'{name}={json.dumps(text, ensure_ascii=False)}' for name, text in labels)}}}"
