"""What the service manager hears that started this process, if it wants to (`Type=notify` of systemd, sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Tell it, as `READY=1`. Whoever does not listen is not waited for."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def watched() -> bool:
    """Whether it wants to hear again and again that this process is alive (`WatchdogSec`)."""
    return "WATCHDOG_USEC" in os.environ and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
