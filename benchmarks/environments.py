"""An environment for each peer, made on demand: what one needs (an older numpy) must not reach the others. And for a
package that tests use and the product must not depend on: on top of the environment that they run in."""

from __future__ import annotations

import json
import site
import subprocess
import sys
from pathlib import Path

import onnxruntime

_HERE = Path(__file__).parent
_INSTALL_SECONDS = 900


class AbsentError(Exception):
    """A server cannot be measured here; the message says why."""


def environment(name: str, requirements: Path | None = None) -> Path:
    """The Python of the environment `.venvs/NAME`, installed from its NAME.requirements.txt, or from `requirements` on
    top of the running environment. Raises AbsentError."""
    folder = _HERE / ".venvs" / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    on_top = requirements is not None
    requirements = requirements or next(_HERE.glob(f"*/*/{name}.requirements.txt"))
    # The same engine for everybody: the one that ours runs on.
    wanted = f"{requirements.read_text()}onnxruntime=={onnxruntime.__version__}\n"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {name} into {folder}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        pinned = folder / "requirements.txt"
        pinned.write_text(wanted)
        _run([sys.executable, "-m", "venv", str(folder)], name)
        if on_top:
            beneath = "\n".join(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages())
            (next(folder.glob("lib/*/site-packages")) / "beneath.pth").write_text(beneath)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "-r", str(pinned)], name)
        installed.write_text(wanted)
    return python


def versions(name: str) -> dict[str, str]:
    """The installed version of each package that NAME.requirements.txt names, and of the engine."""
    script = (
        "import importlib.metadata as m, json, re, sys; names = re.findall(r'^([\\w-]+)', sys.argv[1], re.M); "
        "print(json.dumps({name: m.version(name) for name in names}))"
    )
    folder = _HERE / ".venvs" / name
    wanted = (folder / "installed.txt").read_text()
    found = subprocess.run(
        [str(folder / "bin" / "python"), "-c", script, wanted], capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout)


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{name}: not installed within {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise AbsentError(f"{name}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
