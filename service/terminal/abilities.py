"""Which graphics a terminal has: by what it says of itself in the environment, and by asking it."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Mapping

from rich.console import Console

from latentserve.service.terminal.graphics import Graphics

_ANSWER_SECONDS = 0.3  # for a terminal to answer; over a slow line it is taken for one that has none
# "Would you show this pixel?", as kitty's protocol says that one asks, and then "what are you?" (DA1), which every
# terminal answers: whoever answers the second alone has not understood the first.
_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")


def graphics_of(console: Console, environment: Mapping[str, str]) -> Graphics:
    """The best that this console has. Half blocks where it has none; shades where it has no colours, or an encoding
    without blocks."""
    plain: Graphics = "shades"
    if console.color_system is not None and not console.no_color and not console.options.ascii_only:
        plain = "blocks"
    if not console.is_terminal or console.is_dumb_terminal:
        return plain
    # Within a multiplexer the environment is of the terminal outside, which what is written does not reach.
    if not environment.get("TMUX") and not environment.get("TERM", "").startswith(("screen", "tmux")):
        program = environment.get("TERM_PROGRAM", "")
        if environment.get("KITTY_WINDOW_ID") or environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
            return "kitty"
        if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
            return "iterm2"
    answer = _asked()
    if b"\x1b_Gi=31;OK" in answer:
        return "kitty"
    attributes = _ATTRIBUTES.search(answer)
    return "sixel" if attributes is not None and b"4" in attributes[1].split(b";") else plain


def _asked() -> bytes:
    """What the terminal answers; nothing where standard input is another, or it does not answer in time."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return b""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    if os.tcgetpgrp(keyboard) != os.getpgrp():  # in the background: who touches the terminal is stopped
        return b""
    before = termios.tcgetattr(keyboard)
    answer = b""
    try:
        tty.setcbreak(keyboard, termios.TCSAFLUSH)
        os.write(screen, _QUESTION)
        until = time.monotonic() + _ANSWER_SECONDS
        while _ATTRIBUTES.search(answer) is None and (left := until - time.monotonic()) > 0:
            if select.select([keyboard], [], [], left)[0]:
                answer += os.read(keyboard, 1024)
    finally:
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)  # with what came too late, which nobody typed
    return answer
