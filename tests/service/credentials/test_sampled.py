"""`latentserve sample --out` signs its file where that is asked for, or always."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from latentserve.service.cli import cli
from latentserve.service.errors import LatentserveError
from tests.certificates import Chain


def sample(bundle: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["sample", str(bundle), "-n", "2", "--seed", "7", "--out", str(out), *words])


def rests_on(bundle: Path, file: Path, chain: Chain) -> list[str]:
    words = ["verify", str(file), "--bundle", str(bundle), "--trusted", str(chain.authority), "--json"]
    told = json.loads(CliRunner().invoke(cli, words).stdout)
    assert told["verdict"] == "exact"
    grounds: list[str] = told["rests_on"]
    return grounds


def test_a_file_is_signed(bundle: Path, chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refused = sample(bundle, tmp_path / "none.png", "--signed")
    assert isinstance(refused.exception, LatentserveError)
    assert "LATENTSERVE_C2PA_CERTIFICATE" in str(refused.exception)
    monkeypatch.setenv("LATENTSERVE_C2PA_CERTIFICATE", str(chain.certificate))
    monkeypatch.setenv("LATENTSERVE_C2PA_KEY", str(chain.key))
    for name, words, always, grounds in (
        ("plain.png", (), "false", ["mark"]),
        ("asked.png", ("--signed",), "false", ["mark", "signature"]),
        ("always.webp", (), "true", ["mark", "signature"]),
        ("always.zip", (), "true", ["mark", "signature"]),
        ("declined.png", ("--unsigned",), "true", ["mark"]),
    ):
        monkeypatch.setenv("LATENTSERVE_C2PA_ALWAYS", always)
        done = sample(bundle, tmp_path / name, *words)
        assert done.exit_code == 0, done.output
        assert rests_on(bundle, tmp_path / name, chain) == grounds, name
    assert sample(bundle, tmp_path / "always.npy").exit_code == 0  # which holds none
    for file, words, said in (
        ("asked.npy", ("--signed",), "holds no signature"),
        ("shards", ("--signed", "--format", "png"), "shards are not signed"),
    ):
        refused = sample(bundle, tmp_path / file, *words)
        assert said in str(refused.exception)
        assert not (tmp_path / file).exists()
