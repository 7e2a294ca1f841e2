"""What a command is at, in one line of a terminal: stage, how far, how fast, how long still, and what matters now."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

_BAR = 10, 40  # cells, at the least and at the most
_WORTH_TELLING = 1.0  # seconds of a stage that is told when it is over


class Line:
    """On standard error, while the block lasts; then it is taken back. Nothing where that is no terminal, or one
    that cannot move its cursor: `live` says so, and whoever shows something there writes lines of its own.

    Stages that took a second are told above it as they end. Colours are left out where NO_COLOR says so, and signs
    that the terminal's encoding has not.
    """

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = shown and self.console.is_terminal and not self.console.is_dumb_terminal
        self._stage = self._unit = self._note = ""
        self._total: float | None = None
        self._within: float | None = None
        self._done = self._first = 0.0
        self._began = time.monotonic()
        # What is printed meanwhile goes above the line; but standard output is left alone where it is a file.
        self._shown = Live(self, console=self.console, transient=True, redirect_stdout=sys.stdout.isatty())

    def __enter__(self) -> Self:
        if self.live:
            self._shown.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.live:
            if kind is None:
                self._tell()
            self._stage = ""
            self._shown.stop()

    def begin(
        self, stage: str, total: float | None = None, unit: str = "", done: float = 0, within: float | None = None
    ) -> None:
        """Another stage: of so much in all, of which `done` is done; it ends after `within` seconds in any case."""
        self._tell()
        self._stage, self._total, self._unit, self._within = stage, total, unit, within
        self._done = self._first = done
        self._note = ""
        self._began = time.monotonic()

    def at(self, done: float, note: str | None = None) -> None:
        """So much is done of the stage; `note` is what matters now, else what mattered before still does."""
        self._done = done
        self._note = self._note if note is None else note

    def _tell(self) -> None:
        took = time.monotonic() - self._began
        if self.live and self._stage and took >= _WORTH_TELLING:
            of = f", {_number(self._done)} {self._unit}" if self._unit else ""
            mark = "done" if self.console.options.ascii_only else "✓"
            self.console.print(f"[green]{mark}[/] {_plain(self._stage)}{of} [dim]{duration(took)}[/]")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._stage:
            return
        took = time.monotonic() - self._began
        made = self._done - self._first
        rate = made / took if made > 0 and took > 0 else None
        far, fast, left = "", "", f"{duration(took)}"
        if self._total:
            far = f"{_number(self._done)}/{_number(self._total)} {self._unit}".strip()
        elif self._done:
            far = f"{_number(self._done)} {self._unit}".strip()
        if rate is not None and self._unit:
            fast = f"{_number(rate)}/s"
        if self._total and (rate is not None or self._within is not None):
            ends = [(self._total - self._done) / rate] if rate is not None else []
            ends += [self._within - took] if self._within is not None else []
            left = f"{duration(max(0.0, min(ends)))} left"
        separator = " - " if options.ascii_only else " · "
        width = options.max_width - 1
        # What has no room is left out, from the end of this list on; the stage itself is cut.
        line = Text(no_wrap=True, overflow="ellipsis").append(self._stage, style="bold")
        room = width - cell_len(self._stage)
        shown = []
        for part, style in ((far, "cyan"), (left, "magenta"), (self._note, "yellow"), (fast, "blue")):
            if part and room >= cell_len(separator) + cell_len(part):
                shown.append((part, style))
                room -= cell_len(separator) + cell_len(part)
        order = {style: place for place, style in enumerate(("cyan", "blue", "magenta", "yellow"))}
        if self._total and room > _BAR[0]:
            line.append(" ")
            line.append_text(_bar(min(self._done / self._total, 1.0), min(room - 1, _BAR[1]), options.ascii_only))
        for part, style in sorted(shown, key=lambda one: order[one[1]]):
            line.append(separator, style="dim").append(part, style=style)
        line.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
        yield line


def duration(seconds: float) -> str:
    """In words that are short: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _bar(share: float, cells: int, ascii_only: bool) -> Text:
    full, empty = ("#", ".") if ascii_only else ("━", "━")
    done = round(share * cells)
    return Text(full * done, style="green").append((" " if not ascii_only else empty) * (cells - done), style="dim")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def _plain(text: str) -> str:
    """Text of which rich takes nothing for its markup."""
    return text.replace("[", "\\[")
