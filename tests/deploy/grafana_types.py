"""Dashboards against the types that Grafana publishes, of the version that they are generated for and of the current
one, by TypeScript's compiler; all from npm, into .tools/."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet.panels.asking import Dashboard, panels

PACKAGES = ("@grafana/schema@11.6.0", "grafana-schema-13@npm:@grafana/schema@13.2.3", "typescript@5.9.3")

_FOLDER = Path(__file__).parents[2] / ".tools" / "grafana-schema"
# A version's package, and what the names of its files end with.
_SCHEMAS = {"v11": ("@grafana/schema", ".js"), "v13": ("grafana-schema-13", "")}
_PLUGINS = {
    "timeseries": "TimeSeries",
    "stat": "Stat",
    "heatmap": "Heatmap",
    "state-timeline": "StateTimeline",
    "table": "Table",
}
_OPTIONS = {"strict": True, "noEmit": True, "skipLibCheck": True, "module": "esnext", "moduleResolution": "bundler"}
# A string of JSON is never of an enum's type, whose values it may have all the same.
_JSON = """\
type Json<T> = unknown extends T ? T : T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
    : T extends (infer E)[] ? Json<E>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
"""


def installed() -> Path:
    """The folder of npm's packages, fetched once. Without npm, or what it fetches, the test is skipped."""
    complete = _FOLDER / "complete"
    if not complete.exists() or complete.read_text() != " ".join(PACKAGES):
        if shutil.which("npm") is None or shutil.which("node") is None:
            pytest.skip("no node and npm: the dashboards' types are not checked")
        _FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(_FOLDER), *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install {' '.join(PACKAGES)}: {done.stderr.strip().splitlines()[-1]}")
        complete.write_text(" ".join(PACKAGES))
    return _FOLDER / "node_modules"


def mistyped(folder: Path, dashboards: Mapping[str, Dashboard]) -> str:
    """What the compiler has to say of these dashboards; the folder is an empty one for its files."""
    packages = installed()
    (folder / "node_modules").symlink_to(packages)
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": _OPTIONS, "files": ["check.ts"]}))
    (folder / "check.ts").write_text(
        "\n".join([_JSON, *(line for version in _SCHEMAS for line in _of(version, dashboards))])
    )
    command = ["node", str(packages / "typescript" / "bin" / "tsc"), "--project", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def _of(version: str, dashboards: Mapping[str, Dashboard]) -> list[str]:
    package, end = _SCHEMAS[version]
    lines = [f"import type * as {version} from '{package}';"]
    for kind, name in _PLUGINS.items():
        file = f"{package}/dist/esm/raw/composable/{kind.replace('-', '')}/panelcfg/x/{name}PanelCfg_types.gen{end}"
        lines.append(f"import type * as {version}{name} from '{file}';")
    for name, dashboard in dashboards.items():
        lines.append(_check(f"{version}_{name}", f"{version}.Dashboard", dashboard))
        for panel in panels(dashboard):
            place, plugin = f"{version}_{name}_{panel['id']}", version + _PLUGINS[panel["type"]]
            lines.append(_check(place, f"{version}.Panel", panel))
            lines.append(_check(f"{place}_options", f"Partial<{plugin}.Options>", panel.get("options", {})))
            if custom := panel["fieldConfig"]["defaults"].get("custom"):
                lines.append(_check(f"{place}_custom", f"Partial<{plugin}.FieldConfig>", custom))
    return lines


def _check(name: str, kind: str, value: Any) -> str:
    return f"export const {name}: Json<{kind}> = {json.dumps(value)};"
