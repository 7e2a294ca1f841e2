"""Our own command, run as a user runs it: of this tree, or of another checkout with its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.environments import AbsentError


def latentserve(*words: object, checkout: Path | None = None, seconds: float = 1800) -> None:
    """Run `latentserve WORDS`; of `checkout` with its `.venv`. Raises AbsentError: it failed, and how."""
    shown = f"latentserve {' '.join(map(str, words))}"
    try:
        done = subprocess.run(
            program(checkout) + [str(word) for word in words],
            capture_output=True, text=True, timeout=seconds, check=False, cwd=checkout,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AbsentError(f"{shown}: {error}") from None
    if done.returncode:
        raise AbsentError(f"{shown}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")


def program(checkout: Path | None = None) -> list[str]:
    """The first words of the command."""
    if checkout is None:
        return [sys.executable, "-P", "-m", "latentserve"]
    return [str(checkout.resolve() / ".venv" / "bin" / "latentserve")]
