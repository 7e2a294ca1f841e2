"""One way to run a benchmark and to write down what it found: `python -m benchmarks NAME`.

A benchmark is a module with

    TITLE                          of its page
    measure(given, results)        adds what it finds to `results`, and calls `results.save()` as often as it likes
    report(results)                the lines of its page, below the title and the machine
    options(parser)                optional: its arguments; `--out` and `--report` are everybody's
    SHORT = True                   optional: it has a short form, `given.short`; its results stand beside the full ones
    RESUMES = True                 optional: it goes on with what is written down already

Results are JSON, and a page in Markdown that `--report` makes again from the JSON alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.environments import AbsentError
from benchmarks.machine import describe_machine, installed, named

RESULTS = Path(__file__).parent / "results"
_LINE = 160
BENCHMARKS = {
    "serving": "serving.comparison",
    "monitoring": "serving.monitoring",
    "noise": "serving.noise",
    "where": "serving.where",
    "gpu": "serving.gpu",
    "soak": "serving.soak",
    "hostile": "serving.hostile",
    "order": "serving.order",
    "streams": "serving.streams",
    "bulk": "serving.bulk",
    "bulk-cluster": "serving.bulk_cluster",
    "protocols": "serving.protocols",
    "page": "serving.page",
    "keys": "serving.keys",
    "audit": "serving.audit",
    "lookup": "serving.lookup",
    "marks": "serving.marks",
    "causes": "drift.causes",
    "conditions": "drift.conditions",
    "detection": "drift.detection",
    "probes": "drift.probes",
    "small-references": "drift.small_references",
    "fleet": "fleet.alerts",
    "rules": "fleet.rules",
    "families": "packing.families",
    "pack-memory": "packing.memory",
    "stylegan2": "packing.stylegan2",
    "demo": "training.demo",
    "colour": "training.colour",
    "training-speed": "training.speed",
    "pipeline": "training.pipeline",
    "supervision": "training.supervision",
    "samples": "quality.samples",
    "sounds": "quality.sounds",
    "tabular-utility": "quality.tabular_utility",
    "stacked-mnist": "quality.stacked_mnist",
    "modes": "quality.modes",
    "evaluation": "quality.evaluation",
    "verdicts": "quality.verdicts",
    "privacy": "quality.privacy",
    "value-ranges": "quality.value_ranges",
}


class Results(dict[str, Any]):
    """What a benchmark found so far, and where it is written."""

    def __init__(self, benchmark: ModuleType, path: Path, found: dict[str, Any]) -> None:
        """`path` has no suffix."""
        super().__init__(found)
        self._benchmark, self._path = benchmark, path

    def save(self) -> None:
        """Write PATH.json and PATH.md."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.with_suffix(".json").write_text(lines_of_json(self) + "\n")
        self._path.with_suffix(".md").write_text(self.page())

    def page(self) -> str:
        """The Markdown."""
        made = f"{named(self['machine'])}. {', '.join(map(' '.join, self.get('versions', {}).items()))}"
        command = f"`{self['command']}`" if "command" in self else ""
        head = (f"# {self._benchmark.TITLE}", "", f"{made.removesuffix('. ')}. {command}".rstrip(), "")
        text = "\n".join((*head, *self._benchmark.report(self)))
        return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmark that the first word names. Exits with 2 where it cannot be measured here."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] not in BENCHMARKS:
        print("python -m benchmarks NAME, with -h for what it measures and its arguments. NAME is one of")
        print("  " + "\n  ".join(BENCHMARKS))
        sys.exit(2)
    name = words[0]
    benchmark = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m benchmarks {name}", description=benchmark.__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, metavar="PATH", help=f"of the results, no suffix ({RESULTS.name}/{name})")
    parser.add_argument("--report", action="store_true", help="only write the page of what was measured once more")
    if "--report" not in words:
        if getattr(benchmark, "SHORT", False):
            parser.add_argument("--short", action="store_true", help="minutes; written beside the full results")
        getattr(benchmark, "options", lambda parser: None)(parser)
    given = parser.parse_args(words[1:])
    path = given.out or RESULTS / (f"{name}-short" if getattr(given, "short", False) else name)
    old = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").exists() else {}
    if given.report:
        Results(benchmark, path, old).save()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers under way are stopped like on ^C
    machine, began = describe_machine(), time.monotonic()
    if old and getattr(benchmark, "RESUMES", False):
        was = machine | old.get("machine", {})
        if other := [key for key in ("processor", "instructions", "cores") if was[key] != machine[key]]:
            parser.error(f"{path}.json was measured on another machine ({', '.join(other)}): another --out")
    else:
        old = {}
    results = Results(benchmark, path, old | {"machine": machine, "versions": installed(), "command": _shown(words)})
    before = results.get("minutes", 0.0)
    try:
        benchmark.measure(given, results)
    except AbsentError as error:
        print(f"benchmarks {name}: {error}", file=sys.stderr)
        sys.exit(2)
    results["minutes"] = round(before + (time.monotonic() - began) / 60, 1)
    results.save()
    print(results.page())


def lines_of_json(value: Any, indent: str = "") -> str:
    """JSON in which what is short, or holds nothing but numbers and words, has a line."""
    line = json.dumps(value)
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    if len(indent) + len(line) <= _LINE or not any(isinstance(one, (dict, list, tuple)) for one in inner):
        return line
    more = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {lines_of_json(one, more)}" for key, one in value.items()]
    else:
        parts = [lines_of_json(one, more) for one in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{more}" + f",\n{more}".join(parts) + f"\n{indent}{last}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table in Markdown. None is what was not measured."""
    shown = (["not measured" if cell is None else str(cell) for cell in row] for row in rows)
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in shown)]


def _shown(words: Sequence[str]) -> str:
    """The command; of paths their last part."""
    short = (Path(word).name if word.startswith(("/", ".", "~")) else word for word in words)
    return " ".join(("python -m benchmarks", *short))
