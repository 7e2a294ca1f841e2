"""The line of progress: as wide as its terminal, of signs that it has, and gone at the end."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from latentserve.service.terminal.line import Line, duration
from tests.generators import dense_generator
from tests.service.terminal.screen import in_terminal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (3599.6, "1 h 0 min"), (90_000, "25 h 0 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def shown(line: Line, width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    console.print(line)
    file.flush()
    return file.buffer.getvalue().decode(encoding).rstrip("\n")  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_what_has_no_room_is_left_out(encoding: str) -> None:
    line = Line(shown=False)
    line.begin("training", 1000, "images")
    line.at(250, "frechet 0.31 (floor 0.05)")
    line._began -= 10
    whole = shown(line, 120, encoding)
    for word in ("training", "250/1,000 images", "25/s", "30 s left", "frechet 0.31 (floor 0.05)"):
        assert word in whole
    for width in range(1, 121):
        assert len(shown(line, width, encoding)) < max(width, 2)
    assert "250/1,000 images" in shown(line, 40, encoding)


def test_it_is_gone_at_the_end_and_what_is_printed_stays(tmp_path: Path) -> None:
    onnx.save(dense_generator(labels=None), tmp_path / "g.onnx")
    words = ("pack", "g.onnx", "--name", "g", "--out", "b", "--reference-samples", 3000)
    packed = in_terminal(*words, cwd=tmp_path, columns=100)
    assert packed.status == 0, packed.text
    assert "input z" in packed.plain
    assert "reference" in packed.plain
    assert b"b: g " in packed.written


@pytest.mark.full
def test_lines_where_there_is_no_terminal_that_can_more(tmp_path: Path) -> None:
    onnx.save(dense_generator(labels=None), tmp_path / "g.onnx")
    words = ("pack", "g.onnx", "--name", "g", "--out", "b", "--reference-samples", 64)
    dumb = in_terminal(*words, cwd=tmp_path, TERM="dumb")
    assert b"\x1b" not in dumb.written
    piped = subprocess.run(
        [sys.executable, "-m", "latentserve", *map(str, words)], cwd=tmp_path, capture_output=True, check=True
    )
    assert b"\x1b" not in piped.stdout + piped.stderr
