"""Answers are signed where it is asked for, never where caches keep them; and files come back to be verified."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from latentserve.service.commands.verify import verify
from latentserve.service.credentials.signature import Asset, Signature, signature_of
from latentserve.service.opened import open_bundle
from tests.certificates import Chain, signing_chain
from tests.conftest import make_bundle
from tests.server import Server

pytest.importorskip("c2pa", reason="needs latentserve[c2pa]")
from latentserve.service.credentials.reading import read_trust
from latentserve.service.credentials.signer import read_signer

ROWS = {"model": "toy", "n": 3, "seed": 7, "offset": 5}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return signing_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def signing(bundle: Path, plain_bundle: Path, chain: Chain) -> Iterator[Server]:
    server = Server(bundle, plain_bundle, c2pa_certificate=chain.certificate, c2pa_key=chain.key)
    yield server
    server.stop()


def signature(media: str, content: bytes, chain: Chain) -> Signature | None:
    return signature_of([Asset(media, content)], read_trust(chain.authority))


def verified(server: Server, content: bytes, **headers: str) -> dict[str, Any]:
    answer = server.http.post("/v1/verify", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_answers_are_signed_where_it_is_asked_for(signing: Server, chain: Chain):
    for form in ("png", "webp", "zip"):
        answer = signing.samples(**ROWS, format=form, signed=True)
        assert answer.status_code == 200, answer.text
        told = verified(signing, answer.content)
        assert (told["verdict"], told["rests_on"], told["distance"]) == ("exact", ["mark", "signature"], 0), told
        assert told["why"].endswith("Gallery signed it")
        plain = signing.samples(**ROWS, format=form)
        assert verified(signing, plain.content)["rests_on"] == ["mark"]
        assert len(plain.content) < len(answer.content) < len(plain.content) + 20_000 * ROWS["n"]
    ends = [{"seed": 7}, {"seed": 8}]
    for way, form, more in (
        ("interpolations", "gif", {"ends": ends, "frames": 4}),
        ("interpolations", "webp", {"ends": ends, "frames": 4}),
        ("variations", "png", {"seed": 7, "n": 3}),
    ):
        answer = signing.http.post(f"/v1/{way}", json={"model": "toy", "format": form, "signed": True, **more})
        found = signature(f"image/{form}", answer.content, chain)
        assert found is not None
        assert found.holds
        assert verified(signing, answer.content)["rests_on"] == ["mark", "signature"]
    where = {"$label": {"in": ["digit 3", "digit 7"]}}
    answer = signing.samples(model="toy", n=5, seed=7, where=where, format="png", signed=True)
    told = verified(signing, answer.content)
    assert (told["verdict"], told["rests_on"]) == ("exact", ["mark", "signature"]), told


def test_numbers_are_signed_in_an_archive(signing: Server):
    """Of rows, and of latents that nobody else has: those cannot be made again, and were signed."""
    answer = signing.samples(model="plain", n=3, seed=7, format="zip", signed=True)
    told = verified(signing, answer.content)
    assert (told["verdict"], told["rests_on"]) == ("exact", ["mark", "signature"]), told
    dim = signing.http.get("/v1/models/plain").json()["latent"]["dim"]
    answer = signing.samples(model="plain", latents=[[0.5] * dim] * 2, format="zip", signed=True)
    told = verified(signing, answer.content)
    assert (told["verdict"], told["rests_on"], told["seed"]) == ("exact", ["signature"], None), told
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert "samples.c2pa" in members
    members["samples.npy"] = members["samples.npy"][:-1] + bytes([members["samples.npy"][-1] ^ 1])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    told = verified(signing, packed.getvalue(), **{"Latentserve-Mark": json.dumps({"seed": 7, "n": 2})})
    assert (told["verdict"], told["rests_on"]) == ("no", []), told
    assert "changed after it was signed" in told["why"]


def test_a_long_answer_is_signed(signing: Server):
    """One that is sent in pieces."""
    answer = signing.samples(model="toy", n=4900, seed=7, format="png", signed=True)
    assert len(answer.content) > 1 << 18
    assert verified(signing, answer.content)["rests_on"] == ["mark", "signature"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": "npy"}, "signed: application/x-npy holds no signature; image/png, image/webp, image/gif, "),
        ({"format": "json"}, "signed: application/json holds no signature"),
        ({"format": "png", "signed": "yes"}, "signed"),
    ],
)
def test_what_cannot_be_signed_is_refused(fields: dict[str, Any], said: str, signing: Server):
    answer = signing.samples(**{**ROWS, "signed": True, **fields})
    assert answer.status_code == 422
    assert answer.json()["field"] == "signed"
    assert said in answer.json()["detail"]


def test_a_server_without_a_certificate_says_so(server: Server):
    answer = server.samples(**ROWS, format="png", signed=True)
    assert (answer.status_code, answer.json()["field"]) == (422, "signed")
    assert "no certificate" in answer.json()["detail"]
    assert server.samples(**ROWS, format="png", signed=False).status_code == 200


def test_what_caches_keep_is_not_signed(bundle: Path, chain: Chain, start_server: Any):
    """Though all else is: equal requests by GET have equal bytes."""
    server: Server = start_server(
        bundle, c2pa_certificate=chain.certificate, c2pa_key=chain.key, c2pa_always=True, cache_bytes=1 << 20
    )
    first, second = (server.http.get("/v1/models/toy/samples/7?n=3") for _ in range(2))
    assert first.content == second.content
    assert signature("image/png", first.content, chain) is None
    refused = server.http.get("/v1/models/toy/samples/7?signed=true")
    assert (refused.status_code, refused.json()["field"]) == (422, "signed")
    assert "what caches may keep is not signed" in refused.json()["detail"]
    posted = server.samples(**ROWS, format="png").content
    assert signature("image/png", posted, chain) is not None
    assert signature("image/png", server.samples(**ROWS, format="png", signed=False).content, chain) is None
    assert server.samples(**ROWS, format="npy").status_code == 200
    assert server.samples(**ROWS, format="json").status_code == 200
    for form in ("png", "webp", "jpeg"):
        asked = {"model": "toy", "prompt": "digit 3", "output_format": form}
        answer = server.http.post("/v1/images/generations", json=asked).json()
        found = signature(f"image/{form}", base64.b64decode(answer["data"][0]["b64_json"]), chain)
        assert found is not None
        assert found.holds


def test_signed_files_that_were_tampered_with(signing: Server, chain: Chain, tmp_path: Path):
    """Changed pixels, a mark that names another row, the manifest of another file, a signature by a stranger."""
    content = signing.samples(**ROWS, format="png", signed=True).content
    other = signing.samples(**{**ROWS, "offset": 50}, format="png", signed=True).content
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        stripped = io.BytesIO()
        picture.save(stripped, "PNG")
    grafted = with_manifest_of(content, stripped.getvalue())
    told = verified(signing, grafted)
    assert (told["verdict"], told["rests_on"]) == ("no", []), told
    assert "does not hold: the file was changed after it was signed" in told["why"]
    renamed = content.replace(b"&quot;offset&quot;:5", b"&quot;offset&quot;:6")
    assert renamed != content
    told = verified(signing, fixed(renamed))
    assert told["verdict"] == "no", told
    assert "does not hold" in told["why"]
    told = verified(signing, with_manifest_of(other, signing.samples(**ROWS, format="png").content))
    assert (told["verdict"], told["rests_on"]) == ("exact", ["mark"]), told
    assert "does not hold" in told["why"]
    stranger = signing_chain(tmp_path, "Stranger")
    plain = signing.samples(**ROWS, format="png").content
    forged = read_signer(stranger.certificate, stranger.key).sign(plain, "image/png", {"model": "toy", "seed": 1})
    told = verified(signing, forged)
    assert (told["verdict"], told["rests_on"], told["seed"]) == ("exact", ["mark"], 7), told
    assert told["why"].endswith("Stranger signed it, which does not hold: nobody here trusts the certificate")
    signed = read_signer(chain.certificate, chain.key).sign(plain, "image/png", {"model": "toy", "seed": 1, "n": 3})
    told = verified(signing, signed)  # whoever has the key signs what he likes: the rows are other ones
    assert (told["verdict"], told["rests_on"], told["seed"]) == ("no", [], 1), told


def fixed(content: bytes) -> bytes:
    """A PNG with the checksums of what is in it."""
    import zlib

    out, at = [content[:8]], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4])
        body = content[at + 4 : at + 8 + size]
        out.append(content[at : at + 4] + body + zlib.crc32(body).to_bytes(4))
        at += 12 + size
    return b"".join(out)


def chunk_of(content: bytes, name: bytes) -> bytes:
    at = 8
    while content[at + 4 : at + 8] != name:
        at += 12 + int.from_bytes(content[at : at + 4])
    return content[at : at + 12 + int.from_bytes(content[at : at + 4])]


def with_manifest_of(signed: bytes, content: bytes) -> bytes:
    return content[:33] + chunk_of(signed, b"caBX") + content[33:]


def test_the_command_rests_on_the_signature(signing: Server, chain: Chain, bundle: Path, tmp_path: Path):
    """Of a bundle, of another, and of none."""
    file = tmp_path / "signed.png"
    file.write_bytes(signing.samples(**ROWS, format="png", signed=True).content)
    other = make_bundle(tmp_path / "other", "other", critic=None, reference_samples=64)
    trusted = ["--trusted", str(chain.authority)]

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(verify, [str(file), "--json", *words])
        return done.exit_code, json.loads(done.output)

    status, told = run("--bundle", str(bundle), *trusted)
    assert (status, told["rests_on"]) == (0, ["mark", "signature"])
    status, told = run(*trusted)
    assert (status, told["verdict"], told["rests_on"], told["model"], told["row"]) == (
        0,
        "exact",
        ["signature"],
        "toy",
        5,
    )
    status, told = run("--bundle", str(other), *trusted)
    assert (status, told["verdict"], told["rests_on"]) == (1, "no", [])
    status, told = run("--trusted", str(signing_chain(tmp_path, "Stranger").certificate))
    assert (status, told["verdict"]) == (1, "no")
    assert "nobody here trusts the certificate" in told["why"]
    done = CliRunner().invoke(verify, [str(file)])
    assert done.exit_code == 2
    assert "'--bundle', or '--trusted'" in done.output
    done = CliRunner().invoke(verify, [str(file), "--trusted", str(tmp_path / "none.pem")])
    assert (done.exit_code, done.output) == (
        2,
        f"latentserve: {tmp_path / 'none.pem'}: cannot be read (No such file or directory)\n",
    )
    assert open_bundle(bundle).manifest.name == "toy"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"c2pa_key": "KEY"}, "LATENTSERVE_C2PA_KEY: LATENTSERVE_C2PA_CERTIFICATE is not set"),
        ({"c2pa_always": True}, "LATENTSERVE_C2PA_ALWAYS: LATENTSERVE_C2PA_CERTIFICATE is not set"),
        ({"c2pa_certificate": "CHAIN"}, "holds no private key in PEM"),
        ({"c2pa_certificate": "MISSING"}, "LATENTSERVE_C2PA_CERTIFICATE: cannot be read"),
        ({"c2pa_trusted": "KEY"}, "holds no certificate in PEM"),
    ],
)
def test_a_server_does_not_start_with_what_cannot_sign(
    settings: dict[str, Any], said: str, bundle: Path, chain: Chain, tmp_path: Path
):
    paths = {"KEY": chain.key, "CHAIN": chain.certificate, "MISSING": tmp_path / "none.pem"}
    private = tmp_path / "private.pem"
    private.touch(0o600)
    private.write_bytes(chain.certificate.read_bytes())
    paths["CHAIN"] = private
    given = {name: paths.get(value, value) if isinstance(value, str) else value for name, value in settings.items()}
    with pytest.raises(RuntimeError, match="ended with 1") as ended:
        Server(bundle, **given)
    lines = [line for line in str(ended.value).splitlines() if line]
    assert len(lines) == 1
    assert said in lines[0]
