"""The pages of `docs/` that guide: they build without a warning, and what they tell people to type works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click import Context
from click.testing import CliRunner
from PIL import Image

from latentserve.service.bundle import Column, Latent, SampleSpec, read_bundle
from latentserve.service.cli import cli
from latentserve.service.packing import reference
from tests.certificates import signing_chain
from tests.conftest import make_bundle
from tests.generators import model
from tests.server import Server
from tests.service.packing.foreign.graphs import FLOAT
from tests.typed import typed

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
HERE = "http://127.0.0.1:3000"
RUNNABLE = ("bash", "python", "javascript", "typescript")


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Language and text of the blocks of a page, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)
    return [(language, text) for language, text in found if language in (languages or RUNNABLE)]


# What takes nearly half of a build, and no page can be wrong in.
BARE = """
import runpy
import furo
from sphinx.builders.html import StandaloneHTMLBuilder
globals().update(runpy.run_path({conf!r}))
furo._compute_navigation_tree = lambda _context: ""  # the same tree of all pages, beside each of them
StandaloneHTMLBuilder.search = False
"""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.full)])
def test_they_build_without_a_warning(whole: bool, tmp_path: Path) -> None:
    """In the short form without the sidebar and the index of the search."""
    pytest.importorskip("sphinx", reason="needs latentserve[docs]")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", str(DOCS), str(tmp_path)]
    if not whole:
        (tmp_path / "conf.py").write_text(BARE.format(conf=str(DOCS / "conf.py")))
        command += ["--conf-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {name: (tmp_path / "reference" / f"{name}.html").read_text() for name in ("http", "commands", "settings")}
    assert 'id="post-v1-samples"' in built["http"]
    assert "--reference-samples" in built["commands"]
    assert "MAX_QUEUE_ROWS" in built["settings"]
    alerts = (tmp_path / "runbooks" / "index.html").read_text()
    assert all(f"{page.stem}.html" in alerts for page in DOCS.glob("runbooks/Latentserve*.md"))
    asked = re.findall(r"(?:src|href)=\"(https?://[^\"]+\.(?:js|css|woff2?))\"", "".join(built.values()))
    assert asked == []  # pages are read without a network


def test_no_page_is_left_untried() -> None:
    """Every page with something to type is named by a test."""
    tests = "".join(file.read_text() for file in (TOP / "tests").rglob("test_*.py"))
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if not page.is_relative_to(DOCS / "results")]
    assert [page for page in pages if blocks(page) and Path(page).name not in tests] == []


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pictures with labels, and a table: what the pages of clients ask."""
    folder = tmp_path_factory.mktemp("bundles")
    digits = make_bundle(folder / "digits", "digits", labels=[str(digit) for digit in range(10)])
    columns = [
        Column(name="age", type="int64"),
        Column(name="job", type="string", categories=["nurse", "clerk", "farmer", None]),
        Column(name="height", decimals=2),
    ]
    value = onnx.helper.make_tensor_value_info
    weights = {"scale": np.float32([10, 1.5, 8]), "shift": np.float32([40, 1.5, 170])}
    generator = model(
        [onnx.helper.make_node("Mul", ["z", "scale"], ["h"]), onnx.helper.make_node("Add", ["h", "shift"], ["sample"])],
        "generator",
        [value("z", FLOAT, ["batch", 3])],
        [value("sample", FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    people = make_bundle(
        folder / "people",
        "people",
        generator=generator.SerializeToString(),
        critic=None,
        latent=Latent(dim=3),
        labels=None,
        sample=SampleSpec(kind="table", shape=[3], columns=columns),
        reference_samples=64,
    )
    with Server(digits, people) as server:
        yield server


@pytest.mark.parametrize(
    "page", ["curl.md", "client.md", "pandas.md", "polars.md", "pyarrow.md", "duckdb.md", "bentoml.md"]
)
def test_the_page_of_a_client(page: str, models: Server, tmp_path: Path) -> None:
    """Its commands and its programs, in their order, the programs as one."""
    names: dict[str, Any] = {}
    printed = StringIO()
    for language, text in blocks(f"clients/{page}"):
        here = text.replace(HERE, models.url)
        if language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            printed.write(done.stdout)
        else:
            with chdir(tmp_path), redirect_stdout(printed):
                exec(here, names)  # noqa: S102
    assert printed.getvalue().strip()
    for picture in tmp_path.glob("*.png"):
        Image.open(picture).verify()


def test_the_page_on_browsers(models: Server) -> None:
    """Its pictures are there, and may be kept as it says. (A real browser shows such: `test_browser.py`.)"""
    addresses = re.findall(r'<img src="([^"]+)"', (DOCS / "clients" / "browser.md").read_text())
    assert len(addresses) == 2
    for address in addresses:
        answer = models.http.get(address.removeprefix(HERE))
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("image/")
        again = models.http.get(address.removeprefix(HERE), headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304


def test_the_page_on_javascript(models: Server, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js")
    program = tmp_path / "page.mjs"
    text = "".join(text for _, text in blocks("clients/javascript.md", "javascript"))
    program.write_text(text.replace(HERE, models.url))
    done = subprocess.run([node, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, pixels, rows = done.stdout.splitlines()
    assert first == "7 [ '3', '3' ] iVBORw0K"
    assert (int(pixels), int(rows)) == (2 * 64, 1000)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Server]]:
    """A folder with `demo/bundle`, and a server of it."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "demo").mkdir()
    digits = make_bundle(folder / "demo" / "bundle", "digits", labels=[str(digit) for digit in range(10)])
    with Server(digits) as server:
        yield folder, server


@pytest.mark.parametrize("page", ["start.md", "on-call.md", "drift.md", "marks.md"])
def test_the_commands_of_a_page_about_a_server(page: str, demo: tuple[Path, Server]) -> None:
    folder, server = demo
    for language, text in blocks(page):
        if " latentserve serve " in text:
            continue  # started below
        if language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", text.replace(HERE, server.url)]
            path = f"{sys.prefix}/bin:{os.environ['PATH']}"
            done = subprocess.run(
                command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        else:
            assert told(text, folder)


def test_the_server_that_signs_of_the_page_on_marks(demo: tuple[Path, Server], tmp_path: Path) -> None:
    pytest.importorskip("c2pa", reason="needs latentserve[c2pa]")
    (line,) = (text for _, text in blocks("marks.md", "bash") if " latentserve serve " in text)
    *given, _, command, bundle = shlex.split(line)
    assert command == "serve"
    chain = signing_chain(tmp_path)
    settings = dict(word.removeprefix("LATENTSERVE_").lower().split("=") for word in given)
    for name, file in (("c2pa_certificate", chain.certificate), ("c2pa_key", chain.key)):
        shutil.copy2(file, tmp_path / settings[name])
    with Server(demo[0] / bundle, cwd=tmp_path, **settings) as server:
        plain, signed = (
            server.http.post("/v1/samples", json={"seed": 7, "format": "png", "signed": wanted}).content
            for wanted in (False, True)
        )
    assert len(signed) > len(plain) + 1000


def test_the_files_of_the_page_to_start_with(demo: tuple[Path, Server]) -> None:
    listed = re.findall(r"`([\w.]+\.(?:json|onnx|npz|md))`", (DOCS / "start.md").read_text())
    assert (
        {file.name for file in (demo[0] / "demo" / "bundle").iterdir()}
        >= set(listed)
        >= {"manifest.json", "golden.npz"}
    )


def told(program: str, folder: Path, names: dict[str, Any] | None = None) -> bool:
    """Whether a program prints what the page says that it prints, in a comment behind."""
    printed = StringIO()
    with chdir(folder), redirect_stdout(printed):
        exec(program, {} if names is None else names)  # noqa: S102
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", program, re.M)
    return all(line in printed.getvalue().splitlines() for line in expected)


@pytest.mark.parametrize(
    ("page", "name", "shape"),
    [
        pytest.param("stylegan.md", "faces", [3, 32, 32], marks=pytest.mark.full),  # torch takes its time to trace it
        ("vae.md", "vae", [3, 32, 32]),
        ("physics.md", "showers", [12, 12]),
    ],
)
def test_the_page_of_a_family(page: str, name: str, shape: list[int], tmp_path: Path) -> None:
    """As it stands there, but of a small reference; what it prints is what it says."""
    torch = pytest.importorskip("torch", reason="needs latentserve[training]")
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for _, text in blocks(page, "python"):
        few = re.sub(r"(export_bundle\(.*?)name=", r"\1reference_samples=64, name=", text)
        assert told(few, tmp_path, names)
    assert read_bundle(tmp_path / "bundles" / name).manifest.sample.shape == shape


def test_the_generator_of_the_page_on_stylegan() -> None:
    """That it is one; what becomes of it is seen in the long form of the test above."""
    torch = pytest.importorskip("torch", reason="needs latentserve[training]")
    names: dict[str, Any] = {}
    exec(blocks("stylegan.md", "python")[0][1], names)  # noqa: S102
    assert names["Generator"]()(torch.randn(2, 64), truncation_psi=0.7).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("page", ["serving.md", "operating.md"])
def test_the_commands_of_a_page_about_a_bundle(page: str, bundle: Path, tmp_path: Path) -> None:
    """Those that end; how `serve` is started is tried by all others."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "bundle").symlink_to(bundle)
    lines = [line for _, text in blocks(page) for line in text.splitlines()]
    assert lines
    for line in lines:
        if line.startswith("latentserve serve "):
            assert line == "latentserve serve demo/bundle --port 3000"
            continue
        typed(line, tmp_path)


def test_the_words_of_the_page_on_kinds_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of learning.md takes the words that it has there: what comes of them is in the long form, and of
    such commands in the page on pictures and the README."""
    monkeypatch.chdir(tmp_path)
    Path("people.csv").touch()
    for _, text in blocks("learning.md"):
        for line in text.splitlines():
            program, name, *words = shlex.split(line)
            assert program == "latentserve"
            context = Context(cli)
            command = cli.get_command(context, name)
            assert command is not None, name
            command.make_context(name, words, parent=context)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_commands_of_the_page_on_kinds_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """learning.md, as it stands there, but of few images and a small reference; each kind comes out as what it is."""
    pytest.importorskip("torch", reason="needs latentserve[training]")
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0)
    jobs, rich = rows.choice(["nurse", "clerk"], 300), rows.choice(["no", "yes"], 300)
    lines = [f"{age},{job},{yes}" for age, job, yes in zip(rows.integers(20, 60, 300), jobs, rich, strict=True)]
    Path("people.csv").write_text("\n".join(["age,job,rich", *lines]) + "\n")
    short = {
        "train": ["--set", "images=256", "--set", "tick=128", "--set", "width=16"],
        "export": ["--reference-samples", "64"],
        "evaluate": ["--samples", "100"],
    }
    for _, text in blocks("learning.md"):
        for line in text.splitlines():
            program, command, *words = shlex.split(line)
            assert program == "latentserve"
            done = CliRunner().invoke(cli, [command, *words, *short.get(command, [])], catch_exceptions=False)
            assert done.exit_code == 0, done.output
    with Image.open("digits.png") as picture:
        assert picture.size == (98, 98)
    head, *drawn = Path("people.csv").read_text().splitlines()
    assert set(head.split(",")) == {"age", "job", "rich"}
    assert len(drawn) == 1000
    assert Path("tones.wav").read_bytes()[:4] == b"RIFF"
    assert [condition.name for condition in read_bundle(Path("bundles/blobs")).manifest.conditions or ()]
    assert "<html" in Path("report/report.html").read_text()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.full)])
def test_the_three_commands_of_the_page_on_pictures(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of 300 colour pictures becomes a generator, a report and a server, and what is printed is what the page
    says. The short form learns for some steps, with few channels, and draws a small reference; the long one as the
    recipe has it, for a tenth of its images."""
    pytest.importorskip("torch", reason="needs latentserve[training]")
    from benchmarks.training.healthy import colour

    monkeypatch.chdir(tmp_path)
    if not whole:
        monkeypatch.setattr(reference, "REFERENCE_SAMPLES", 400)
        monkeypatch.setattr(reference, "CELL_SAMPLES", 200)
    drawn = colour(300, 0)
    for row, (sample, label) in enumerate(zip(drawn.samples, drawn.labels, strict=True)):
        folder = Path("shapes", drawn.label_names[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(sample, 0, -1)).resize((40, 36)).save(folder / f"{row:03d}.png")
    ((_, text),) = blocks("pictures.md", "bash")
    train, evaluate, serve = (shlex.split(line)[1:] for line in text.splitlines())
    tiny = ("width=8", "widest=16", "images=256", "tick=128", "threads=1")
    for field in ("images=20000",) if whole else tiny:
        train += ["--set", field]
    done = CliRunner().invoke(cli, train, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (DOCS / "pictures.md").read_text()
    printed = re.findall(r"^(?:recipe|data): .*$", page, re.M)
    assert len(printed) == 7
    said = [line for line in done.output.splitlines() if line.startswith(("recipe: ", "data: "))]
    assert said == printed
    samples = [] if whole else ["--samples", "50"]
    done = CliRunner().invoke(cli, [*evaluate, *samples], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(Path("report/report.json").read_text())
    assert "halves" not in json.dumps(report)  # of reals that were held out
    command, bundle, *_ = serve
    assert command == "serve"
    manifest = read_bundle(Path(bundle)).manifest
    assert (manifest.name, manifest.labels, manifest.sample.shape) == ("shapes", ["box", "ellipse"], [3, 32, 32])
    assert manifest.lineage.recipe == "pictures-32"
    with Server(Path(bundle)) as server:
        answer = server.http.get("/v1/models/shapes/samples/7?n=4&label=box&format=png")
        assert answer.status_code == 200, answer.text
        assert Image.open(BytesIO(answer.content)).mode == "RGB"


def test_the_table_of_the_page_on_pictures() -> None:
    """Channels, blocks, parameters, gamma, batch and images are those of the recipes."""
    torch = pytest.importorskip("torch", reason="needs latentserve[training]")
    from latentserve.training.data import Description
    from latentserve.training.networks import build
    from latentserve.training.recipe import load_config

    rows = re.findall(r"^\| `((?:pictures|r3gan)-(\d+))` \| (.*) \|$", (DOCS / "pictures.md").read_text(), re.M)
    assert len(rows) == 6
    for name, size, cells in rows:
        config = load_config(name)
        _, blocks_told, parameters, gamma, batch, images = cells.split(" | ")
        assert int(blocks_told) == config.blocks
        assert gamma == f"{config.gamma.start:g} to {config.gamma.end:g}"
        assert int(batch) == config.batch
        assert images in (f"{config.images:,}", f"{config.images // 10**6} million")
        with torch.device("meta"):
            networks = build(config, Description("any", "", [3, int(size), int(size)], [], []))
        counts = [sum(one.numel() for one in network.parameters()) for network in networks]
        rounded = f"{counts[0] / 1e6:.1f} million, {counts[1] / 1e6:.1f}"
        assert parameters in (rounded, " and ".join(f"{count:,}" for count in counts))
