"""Signed bundles from outside: by commands, and at a server."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from latentserve import open_bundle
from latentserve.service.bundle import read_bundle, write_bundle
from latentserve.service.cli import cli
from latentserve.service.errors import SignatureError
from latentserve.service.settings import SettingsError, load_settings
from latentserve.service.trust import REQUIRE_SIGNATURE, TRUSTED_KEYS, Trust
from tests.server import Server

signers = pytest.importorskip("tests.signers", reason="needs latentserve[sign]")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> signers.Signer:
    return signers.make_key(tmp_path_factory.mktemp("keys"), "maker")


@pytest.fixture(scope="module")
def signed(bundle: Path, key: signers.Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, signed by the command."""
    copy = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("bundles") / "signed"))
    done = CliRunner().invoke(cli, ["sign", str(copy), "--key", str(key.key)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{copy / 'model.sig'}: toy ")
    return copy


@pytest.fixture
def required(key: signers.Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment."""
    monkeypatch.setenv(TRUSTED_KEYS, str(key.public))
    monkeypatch.setenv(REQUIRE_SIGNATURE, "true")


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize(
    "words",
    [
        ["check", "BUNDLE"],
        ["sample", "BUNDLE", "-n", "1", "--out", "OUT.npy"],
        ["sample", "BUNDLE", "-n", "1", "--format", "npz", "--out", "OUT"],
        ["verify", "BUNDLE/generator.onnx", "--bundle", "BUNDLE"],
        ["drift", "BUNDLE"],
        ["bench", "BUNDLE"],
        ["optimize", "BUNDLE", "--precision", "int8", "--out", "OUT"],
        pytest.param(["evaluate", "BUNDLE", "--data", "digits", "--out", "OUT"], marks=pytest.mark.full),  # loads torch
    ],
    ids=lambda words: " ".join(words[:1]),
)
def test_every_command_that_reads_a_bundle_refuses_one_that_is_not_signed(
    words: list[str], bundle: Path, tmp_path: Path
) -> None:
    if words[0] == "evaluate":
        pytest.importorskip("torch", reason="needs latentserve[training]")
    here = [word.replace("BUNDLE", str(bundle)).replace("OUT", str(tmp_path / "out")) for word in words]
    done = CliRunner().invoke(cli, here)
    assert done.exit_code != 0
    assert "is not signed" in f"{done.exception} {done.output}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("required")
def test_what_is_signed_is_opened(signed: Path, bundle: Path) -> None:
    assert open_bundle(signed).sample(1, seed=7).shape == (1, 1, 8, 8)
    with pytest.raises(SignatureError, match="is not signed"):
        open_bundle(bundle)
    done = CliRunner().invoke(cli, ["check", str(signed)])
    assert done.exit_code == 0, done.output
    assert "signed by the key " in done.output
    assert done.output.endswith("verified\n")


def test_how_the_command_says_what_is_wrong(signed: Path, tmp_path: Path) -> None:
    sealed = signers.make_key(tmp_path, "sealed", password="geheim")  # noqa: S106
    done = CliRunner().invoke(cli, ["sign", str(signed), "--key", str(sealed.key)])
    assert str(done.exception) == f"{sealed.key}: is encrypted, and there is no terminal to ask for its password"
    done = CliRunner().invoke(cli, ["sign", str(signed), "--key", str(sealed.key), "--chain", "x"])
    assert done.exit_code == 2
    assert "--certificate" in done.output


def test_settings_that_contradict_each_other(key: signers.Signer) -> None:
    with pytest.raises(SettingsError, match=r"REQUIRE_SIGNATURE: LATENTSERVE_TRUSTED_KEYS is not set"):
        load_settings(require_signature=True)
    assert load_settings(require_signature=True, trusted_keys=key.public).trust == Trust(key.public, required=True)


def test_a_server_takes_what_is_signed_and_nothing_else(
    signed: Path, key: signers.Signer, tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    copy = Path(shutil.copytree(signed, tmp_path / "served"))
    signature = read_bundle(copy, Trust(key.public)).signature
    assert signature is not None
    how = {"trusted_keys": key.public, "require_signature": True}
    server = start_server(copy, **how)
    told = server.http.get("/v1/models/toy").json()["signature"]
    assert told == signature.told()
    assert told["verified"]
    assert server.http.get("/v1/models").json()["models"][0]["signature"] == told
    assert server.metric("bundle_signature_verified", model="toy") == 1
    assert f"fingerprint={told['fingerprint']}" in server.log.read_text()
    # Packed again in its place: what the server was started with is served on, and would be refused at its next start.
    manifest = read_bundle(copy, Trust()).manifest
    write_bundle(copy, manifest, {name: (copy / name).read_bytes() for name in manifest.sha256})
    assert server.samples(n=1, seed=7).status_code == 200
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    server.wait_for(lambda: "worker-back" in server.log.read_text(), 60)
    with httpx.Client(base_url=server.url, timeout=60) as anew:
        assert anew.get("/v1/models/toy").json()["signature"] == told
    with pytest.raises(SignatureError, match="is not signed"):
        read_bundle(copy, Trust(key.public, required=True))


@pytest.mark.full
def test_a_server_of_what_is_not_signed_ends_with_a_line(
    bundle: Path, key: signers.Signer, start_server: Callable[..., Server]
) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1: .*is not signed \(it has no model\.sig\)"):
        start_server(bundle, trusted_keys=key.public, require_signature=True)


def test_a_server_says_so_of_one_that_is_not(server: Server) -> None:
    assert server.http.get("/v1/models/toy").json()["signature"] is None
    assert server.metric("bundle_signature_verified", model="toy") == 0
