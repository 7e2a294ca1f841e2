"""`python -m tests.service.host.supervise PORT FOLDER {"workers": 2, ...}`: the supervisor, of a small application."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from latentserve.service import logs
from latentserve.service.host import supervisor
from latentserve.service.host.limits import Limits
from latentserve.service.host.supervisor import Plan, Supervisor, WorkersError
from latentserve.service.watching.workers import count_start


def main() -> int:
    """Serve; the exit status."""
    for number in (signal.SIGHUP, signal.SIGQUIT):  # tests under nohup, or in a shell's background, pass them by
        signal.signal(number, signal.SIG_DFL)
    port, folder, given = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    limits = Limits(**given.pop("limits", {}))
    supervisor._GIVE_UP_SECONDS = given.pop("give_up_seconds", supervisor._GIVE_UP_SECONDS)
    logs.configure("text")
    if (lent := given.pop("lent", None)) is not None:
        listener = socket.socket(fileno=lent)
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    if given.pop("unrunnable", False):
        sys.executable = str(folder / "none")
    if given.pop("orphan", False):
        orphan = subprocess.Popen(["true"])  # nobody asks how it ended
        orphan.returncode = 0
    plan = {"workers": 1, "drain_seconds": 10.0, "hang_seconds": 60.0, **given}
    running = Supervisor(
        Plan(
            application="tests.service.host.app:make",
            limits=limits,
            folder=folder,
            environment=lambda index: {**os.environ, "INDEX": str(index)},
            address=f"http://127.0.0.1:{port}",
            started=lambda: count_start(Path(os.environ["FAULTS"])),
            **plan,
        ),
        [listener],
    )
    try:
        return running.run()
    except WorkersError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
