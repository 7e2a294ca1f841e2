"""What pages tell people to type, typed."""

from __future__ import annotations

import re
import shlex
import subprocess
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from latentserve.service.cli import cli


def typed(script: str, folder: Path) -> str:
    """What the lines of a block print, in a folder: `latentserve` in this process, which has imported it, and all else
    in a shell. Each must end well."""
    printed = []
    for line in re.sub(r"\\\n *", "", script).splitlines():
        program, *words = shlex.split(line)
        if program == "latentserve":
            with chdir(folder):
                done = CliRunner().invoke(cli, words, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            printed.append(done.stdout)
        else:
            shell = subprocess.run(["bash", "-euc", line], cwd=folder, capture_output=True, text=True, check=False)
            assert shell.returncode == 0, shell.stderr
            printed.append(shell.stdout)
    return "".join(printed)
