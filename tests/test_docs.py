"""What the documentation states is so."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from latentserve.service.bundle import Condition, Latent, LatentPart
from latentserve.service.cli import main
from latentserve.service.sampling.latents import Span, draw_conditions, draw_labels, draw_latents, draw_noise_of
from latentserve.service.settings import settings_table
from tests.service.sampling.test_latents import CONDITIONS, NOISE, recipe, uniforms

TOP = Path(__file__).parents[1]


def test_the_test_vectors_of_the_latents():
    page = (TOP / "docs" / "latents.md").read_text()
    rows = re.findall(
        r"^\| (normal|uniform) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| (.+) \| ([0-9a-f]+) \|$", page, re.M
    )
    assert len(rows) == 10
    for prior, seed, row, dim, truncation, values, content in rows:
        z = draw_latents(Latent(dim=int(dim), prior=prior), int(seed), int(row), 1, float(truncation))[0]
        assert np.array_equal(z, np.array([float(value) for value in values.split(", ")], np.float32))
        assert z.astype("<f4").tobytes().hex() == content


def test_the_test_vector_of_the_labels():
    page = (TOP / "docs" / "latents.md").read_text()
    stated = re.search(r"^`([\d ]+)`$", page, re.M)
    assert stated is not None
    assert draw_labels(5, 10, 7, 0, 12).tolist() == [int(label) for label in stated[1].split()]


def vectors(section: str) -> list[tuple[int, int, str, str]]:
    """Seed, row, values and bytes of a table of the page on latents."""
    page = (TOP / "docs" / "latents.md").read_text()
    table = page.split(f"| {section} of seed |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (.+) \| ([0-9a-f]+) \|$", table, re.M)
    assert len(rows) == 4
    return [(int(seed), int(row), values, content) for seed, row, values, content in rows]


def test_the_test_vectors_of_the_noise():
    """As published, as drawn, and as worked out from the page in Python's own numbers."""
    noise = LatentPart(name="noise", shape=[5], noise=True)
    latent = Latent(dim=12, parts=[LatentPart(name="z", shape=[7]), noise])
    for seed, row, values, content in vectors("noise"):
        stated = np.array([float(value) for value in values.split(", ")], np.float32)
        assert stated.tobytes().hex() == content
        assert np.array_equal(draw_noise_of(latent, [Span(seed, row, 1)])[0], stated)
        assert np.array_equal(ndtri(uniforms(5, seed, row, NOISE)[:5]).astype(np.float32), stated)


def test_the_test_vectors_of_the_conditions():
    conditions = [
        Condition(name="uniform", range=(-90, 90)),
        Condition(name="log-uniform", range=(1, 100), prior="log-uniform"),
        Condition(name="normal", range=(0, 6), prior="normal"),
        Condition(name="quantiles", range=(0, 10), prior="quantiles", quantiles=[0, 1, 10]),
    ]
    for seed, row, values, content in vectors("conditions"):
        stated = np.array([float(value) for value in values.split(", ")], np.float32)
        assert stated.tobytes().hex() == content
        assert np.array_equal(draw_conditions(Latent(dim=7), conditions, seed, row, 1)[0], stated)
        words = uniforms(7, seed, row, CONDITIONS)
        by_hand = [recipe(condition, u) for condition, u in zip(conditions, words, strict=False)]
        assert np.array_equal(np.array(by_hand, np.float32), stated)


def test_the_readme_holds_the_table_of_settings():
    assert settings_table() in (TOP / "README.md").read_text(), (
        "run `python -m latentserve.service.settings` and paste the table"
    )


def test_the_commands_of_the_page_on_supervision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As they stand there, but of few images."""
    pytest.importorskip("torch", reason="needs latentserve[training]")
    blocks = re.findall(r"^```bash\n(.*?)^```$", (TOP / "docs" / "supervision.md").read_text(), re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert commands
    monkeypatch.chdir(tmp_path)
    for command in commands:
        short = ["--set", "images=256", "--set", "width=16", "--set", "tick=128"]
        monkeypatch.setattr(sys, "argv", [*shlex.split(command), *short])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, command
    assert (tmp_path / "runs" / "digits" / "stats.jsonl").read_text().count('"frechet_floor"') == 2
