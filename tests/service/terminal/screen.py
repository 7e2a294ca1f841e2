"""A real pseudo-terminal that a command runs in, and a reader of what it writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Reply = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Shown:
    """What a command wrote to its terminal, and its status."""

    written: bytes
    status: int

    @property
    def text(self) -> str:
        return self.written.decode(errors="replace").replace("\r\n", "\n")

    @property
    def plain(self) -> str:
        """Without escape sequences."""
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[_P].*?\x1b\\", "", self.text, flags=re.S)


def in_terminal(
    *words: object,
    columns: int = 80,
    reply: Reply | None = None,
    cwd: Path | None = None,
    seconds: float = 120,
    **environment: str | None,
) -> Shown:
    """Run `latentserve WORDS` with all its streams on a terminal of this width. `reply`: what the terminal answers to
    what is written. None takes a variable of the environment away."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    names = ("NO_COLOR", "TERM_PROGRAM", "TMUX", "COLORTERM", "KITTY_WINDOW_ID", "COLUMNS", "FORCE_COLOR", "CI")
    kept = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("LC_")}
    kept |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    kept = {name: value for name, value in {**kept, **environment}.items() if value is not None}
    running = subprocess.Popen(
        [sys.executable, "-m", "latentserve", *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=kept,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    written = b""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the last of its writers is gone
            break
        if not part:
            break
        written += part
        if reply is not None and (answer := reply(part)):
            os.write(ours, answer)
    status = running.wait(10)
    os.close(ours)
    return Shown(written, status)


def blocks(text: str) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of half blocks in 24-bit colour."""
    lines = []
    for line in text.splitlines():
        found = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line)
        if found:
            pixels = np.array(found, dtype=np.uint8)
            lines += [pixels[:, :3], pixels[:, 3:]]
    return np.array(lines)


def sixels(text: str) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a sixel picture, by a reader of the format that knows nothing of the writer."""
    head = re.search(r'\x1bP[\d;]*q"1;1;(\d+);(\d+)(.*?)\x1b\\', text, re.S)
    assert head is not None
    width, height, body = int(head[1]), int(head[2]), head[3]
    picture = np.zeros((-(-height // 6) * 6, width, 3), np.uint8)
    palette: dict[int, tuple[int, ...]] = {}
    x = y = colour = 0
    for sign in re.findall(r"#\d+(?:;\d+)*|!\d+[?-~]|[?-~]|[$-]", body):
        if sign[0] == "#":
            colour, *rest = (int(part) for part in sign[1:].split(";"))
            if rest:
                assert rest[0] == 2
                palette[colour] = tuple(round(part * 255 / 100) for part in rest[1:])
        elif sign == "$":
            x = 0
        elif sign == "-":
            x, y = 0, y + 6
        else:
            count = int(sign[1:-1]) if sign[0] == "!" else 1
            for bit in range(6):
                if (ord(sign[-1]) - 63) >> bit & 1:
                    picture[y + bit, x : x + count] = palette[colour]
            x += count
    return picture[:height]
