"""What the documentation states is so."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import Latent
from latentserve.service.cli import main
from latentserve.service.sampling.latents import draw_labels, draw_latents
from latentserve.service.settings import settings_table

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
