"""`latentserve sample --show` on a real terminal: the pixels that it shows are those of the samples."""

from __future__ import annotations

import base64
import io
import re
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from latentserve import open_bundle
from latentserve.service.bundle import Column, Latent, SampleSpec, typed
from latentserve.service.cli import cli
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.service.terminal.abilities import graphics_of
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server
from tests.service.terminal.screen import Reply, blocks, in_terminal, sixels

SEED = ("-n", 4, "--seed", 7)
JOB = Column(name="job", type="string", categories=["nurse", "[clerk]", None])
FULL = pytest.mark.full
DEVICE = b"\x1b[c"


def sheet(bundle: Path, columns: int | None = None, factor: int = 1) -> NDArray[np.uint8]:
    """What is to be seen of four samples."""
    pixels = to_uint8(open_bundle(bundle).sample(n=4, seed=7), (-1, 1))
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3)
    return np.moveaxis(contact_sheet(pixels, columns or 4).repeat(3, axis=0), 0, -1)


def answering(answer: bytes) -> Reply:
    """A terminal that says this when it is asked what it is."""
    return lambda asked: answer if DEVICE in asked else b""


def png(content: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


@pytest.mark.parametrize(
    ("columns", "abreast"),
    [(80, 4), pytest.param(20, 2, marks=FULL), pytest.param(12, 1, marks=FULL)],
)
def test_half_blocks(bundle: Path, columns: int, abreast: int) -> None:
    shown = in_terminal("sample", bundle, *SEED, "--show", columns=columns)
    assert shown.status == 0, shown.text
    assert np.array_equal(blocks(shown.text), sheet(bundle, abreast))
    assert "digit" in shown.plain
    assert "seed 7" in shown.plain


def test_a_terminal_that_answers_that_it_is_like_kitty(bundle: Path) -> None:
    shown = in_terminal(
        "sample",
        bundle,
        *SEED,
        "--show",
        reply=lambda asked: b"\x1b_Gi=31;OK\x1b\\\x1b[?62c" if DEVICE in asked else b"",
    )
    assert shown.status == 0, shown.text
    commands = re.findall(r"\x1b_Ga=T,f=100,q=2,m=0;([^\x1b]*)\x1b\\", shown.text)
    commands = commands or ["".join(re.findall(r"\x1b_G(?:a=T,f=100,q=2,)?m=[01];([^\x1b]*)\x1b\\", shown.text))]
    assert np.array_equal(png(commands[0]), sheet(bundle, factor=6))


def test_a_terminal_that_answers_that_it_has_sixels(bundle: Path) -> None:
    shown = in_terminal("sample", bundle, *SEED, "--show", reply=answering(b"\x1b[?62;4;6c"))
    assert shown.status == 0, shown.text
    assert np.abs(sixels(shown.text).astype(int) - sheet(bundle, factor=6)).max() <= 2  # hundredths of 255


@pytest.mark.parametrize(
    ("environment", "graphics"),
    [
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/run/tmux"}, "blocks"),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "screen-256color"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_a_terminal_that_says_what_it_is(environment: dict[str, str], graphics: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert graphics_of(console, environment) == graphics


@pytest.mark.full
def test_what_is_asked_for(bundle: Path) -> None:
    shown = in_terminal("sample", bundle, *SEED, "--show", "--graphics", "iterm2")
    (content,) = re.findall(r"\x1b\]1337;File=[^:]*:([^\x07]*)\x07", shown.text)
    assert np.array_equal(png(content), sheet(bundle, factor=6))
    assert DEVICE not in shown.written


def test_without_colours(bundle: Path) -> None:
    shown = in_terminal("sample", bundle, *SEED, "--show", NO_COLOR="1")
    assert "█" in shown.plain
    assert "38;" not in shown.text


@pytest.mark.full
def test_without_signs_that_are_not_ascii(bundle: Path) -> None:
    ascii_only = in_terminal("sample", bundle, *SEED, "--show", LANG="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ascii_only.status == 0, ascii_only.text
    assert ascii_only.written.isascii()
    assert "@" in ascii_only.plain


def test_a_server_that_is_asked(server: Server, bundle: Path) -> None:
    shown = in_terminal("sample", server.url, "--model", "toy", *SEED, "--show", "--graphics", "blocks")
    assert shown.status == 0, shown.text
    assert np.array_equal(blocks(shown.text), sheet(bundle))
    assert "digit" in shown.plain


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = [
        Column(name="age", type="int64"),
        Column(name="job", type="string", categories=["nurse", "[clerk]", None]),
    ]
    return make_bundle(
        tmp_path_factory.mktemp("bundles") / "people",
        "people",
        generator=dense_generator(dim=2, shape=(2,), labels=None).SerializeToString(),
        critic=None,
        latent=Latent(dim=2),
        labels=None,
        sample=SampleSpec(kind="table", shape=[2], columns=columns),
        reference_samples=64,
    )


@pytest.mark.parametrize("columns", [80, pytest.param(9, marks=FULL)])
def test_a_table(people: Path, columns: int) -> None:
    shown = in_terminal("sample", people, "-n", 50, "--seed", 7, "--show", columns=columns)
    assert shown.status == 0, shown.text
    lines = shown.plain.splitlines()
    rows = open_bundle(people).sample(n=50, seed=7)
    assert all(len(line.rstrip()) <= columns for line in lines)
    if columns == 80:
        assert lines[0].split() == ["age", "job"]
        jobs = typed(rows[:, 1], JOB)
        assert [line.split()[1] for line in lines[1:41]] == ["–" if job is None else job for job in jobs[:40]]
        assert "and 10 more" in shown.plain


def test_a_sound(tmp_path: Path) -> None:
    spec = SampleSpec(kind="audio", shape=[1, 600], sample_rate=8000)
    generator = dense_generator(dim=4, shape=(1, 600), labels=2).SerializeToString()
    given = {"latent": Latent(dim=4), "labels": ["lark", "wren"], "sample": spec, "reference_samples": 64}
    make_bundle(tmp_path / "chirps", "chirps", generator=generator, critic=None, **given)
    shown = in_terminal(
        "sample", tmp_path / "chirps", "-n", 2, "--label", "lark", "--show", "--out", tmp_path / "a.wav"
    )
    assert shown.status == 0, shown.text
    first, second = (line for line in shown.plain.splitlines() if "lark" in line)
    assert first.startswith("0 lark ")
    assert second.endswith(" 0.075 s")
    assert len(set(first) & set("▁▂▃▄▅▆▇█")) > 1
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() == 1200


def test_refusals(bundle: Path) -> None:
    def refused(*words: str) -> str:
        done = CliRunner().invoke(cli, ["sample", str(bundle), *words])
        assert done.exit_code != 0
        return f"{done.output}{done.exception}"

    assert "--show" in refused()
    assert "1,000 at the most" in refused("-n", "1001", "--show")
    assert "shards" in refused("--show", "--format", "npz", "--out", "folder")
