"""Every file that C2PA holds is signed, and read back by C2PA's own reader; changed by a bit it is not believed."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.credentials.package import CredentialsError
from latentserve.service.credentials.signature import Asset, signature_of
from latentserve.service.encoding.animation import Animation
from latentserve.service.encoding.document import CSV, FLAC, GIF, MP3, NPY, PNG, WAV, ZIP, Document
from latentserve.service.encoding.documents import make_document
from latentserve.service.encoding.provenance import DIGITAL_SOURCE_TYPE, Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.encoding.signed import SIGNED_FILES, Signed
from latentserve.service.errors import TooLargeError
from latentserve.service.verifying.reading import Limits, UnreadableError, read_file
from tests.certificates import Chain, signing_chain, signing_chains

c2pa = pytest.importorskip("c2pa", reason="needs latentserve[c2pa]")
from latentserve.service.credentials.reading import Trust, read_trust  # noqa: E402
from latentserve.service.credentials.signer import Signer, read_signer  # noqa: E402

PICTURE = SampleSpec(kind="image", shape=[3, 16, 16], value_range=(-1, 1), channels="RGB")
SOUND = SampleSpec(kind="audio", shape=[4000], sample_rate=8000)
ARRAY = SampleSpec(kind="array", shape=[2, 3])
TABLE = SampleSpec(kind="table", shape=[1], columns=[Column(name="age", type="int64", decimals=0)])
MADE_BY = Provenance("toy", "0123456789ab", 7, 3, 1.0, labels=["一", "two"], producer="Ours")
N = 3
LIMITS = Limits(1 << 20, 10)


@pytest.fixture(scope="module")
def signer(chain: Chain) -> Signer:
    return read_signer(chain.certificate, chain.key)


@pytest.fixture(scope="module")
def trust(chain: Chain) -> Trust:
    return read_trust(chain.authority)


def written(document: Document, spec: SampleSpec) -> bytes:
    values = np.random.default_rng(0).uniform(-1, 1, (N, *spec.shape)).astype(np.float32)
    pieces = [document.opening()]
    for start, stop in ((0, 1), (1, N)):
        pieces += map(bytes, document.rows(Rows(values[start:stop], np.zeros(stop - start, np.int64))))
    return b"".join([*pieces, *map(bytes, document.closing())])


def signed(media: str, signer: Signer, spec: SampleSpec | None = None) -> bytes:
    spec = spec or (PICTURE if media.startswith("image/") else SOUND)
    if media == GIF:
        document: Document = Signed(Animation(GIF, N, spec, MADE_BY, 10, 1e9), GIF, N, MADE_BY, signer)
    else:
        document = make_document(media, N, spec, MADE_BY, signer=signer)
    content = written(document, spec)
    assert b"content-length" not in dict(document.headers)
    assert len(content) <= document.size
    return content


@pytest.mark.parametrize("media", SIGNED_FILES)
def test_a_file_is_read_back(media: str, signer: Signer, trust: Trust, chain: Chain):
    if media in (MP3, FLAC):
        pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    content = signed(media, signer)
    told = json.loads(c2pa.Reader(media, io.BytesIO(content), context=trust.lists[0][0]).json())
    assert told["validation_state"] == "Trusted", told
    manifest = told["manifests"][told["active_manifest"]]
    assertions = {one["label"]: one["data"] for one in manifest["assertions"]}
    assert json.loads(assertions["latentserve.mark"]["mark"]) == MADE_BY.mark(N)
    (action,) = assertions["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", DIGITAL_SOURCE_TYPE)
    assert "time" not in manifest["signature_info"]
    for believed in (trust, read_trust(chain.certificate)):
        signature = signature_of([Asset(media, content)], believed)
        assert signature is not None
        assert (signature.holds, signature.by, signature.mark) == (True, "Gallery", MADE_BY.mark(N))


@pytest.mark.parametrize("media", SIGNED_FILES)
def test_a_file_that_was_changed_is_not_believed(media: str, signer: Signer, trust: Trust, stranger: Chain):
    if media in (MP3, FLAC):
        pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    content = signed(media, signer)
    random, refused = np.random.default_rng(0), 0
    for _ in range(24):
        changed = bytearray(content)
        changed[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        signature = signature_of([Asset(media, bytes(changed))], trust)
        if signature is not None and signature.holds:  # it is in what fills up the manifest, and means nothing
            assert signature.mark == MADE_BY.mark(N)
            with suppress(UnreadableError):  # PNG has checksums
                assert read_file(bytes(changed), LIMITS).content.equals(read_file(content, LIMITS).content)
        else:
            assert signature is None or signature.why
            refused += 1
    assert refused >= 12
    for believed in (None, Trust(), read_trust(stranger.certificate, stranger.authority)):
        signature = signature_of([Asset(media, content)], believed)
        assert signature is not None
        assert (signature.holds, signature.mark) == (False, None)
        assert signature.said() == "Gallery signed it, which does not hold: nobody here trusts the certificate"


def test_of_a_chain_its_signer_alone_is_believed(trust: Trust, tmp_path: Path):
    """And not who else was signed by the same authority, which believed by itself vouches for both."""
    one, other = signing_chains(tmp_path, "One", "Other")
    for chain, sibling in ((one, other), (other, one)):
        content = signed(PNG, read_signer(chain.certificate, chain.key))
        for believed, holds in ((chain.certificate, True), (sibling.certificate, False), (chain.authority, True)):
            signature = signature_of([Asset(PNG, content)], read_trust(believed))
            assert signature is not None
            assert signature.holds == holds, (chain, believed)


def test_an_archive_holds_signed_files_or_a_manifest(signer: Signer, trust: Trust):
    for spec, media in ((PICTURE, PNG), (SOUND, WAV)):
        with zipfile.ZipFile(io.BytesIO(signed(ZIP, signer, spec))) as archive:
            names = [name for name in archive.namelist() if name.endswith((".png", ".wav"))]
            assets = [Asset(media, archive.read(name)) for name in names]
        signature = signature_of(assets, trust)
        assert signature is not None
        assert signature.holds
        assert [mark["offset"] for mark in signature.marks] == [3, 4, 5]
        assert signature_of([*assets, Asset(media, b"")], trust) is None
    for spec, media, name in ((ARRAY, NPY, "samples.npy"), (TABLE, CSV, "samples.csv")):
        with zipfile.ZipFile(io.BytesIO(signed(ZIP, signer, spec))) as archive:
            content, manifest = archive.read(name), archive.read("samples.c2pa")
        signature = signature_of([Asset(media, content, manifest)], trust)
        assert signature is not None
        assert (signature.holds, signature.mark) == (True, MADE_BY.mark(N)), signature
        other = signature_of([Asset(media, content[:-3] + b"9" + content[-2:], manifest)], trust)
        assert other is not None
        assert not other.holds


def test_many_threads_sign_at_once(signer: Signer, trust: Trust):
    with ThreadPoolExecutor(4) as pool:
        for content in pool.map(lambda _: signed(PNG, signer), range(20)):
            signature = signature_of([Asset(PNG, content)], trust)
            assert signature is not None
            assert signature.holds


def test_a_certificate_that_expires_signs_no_more(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And what it signed is not believed any more."""
    short = signing_chain(tmp_path, "Short", days=(-1, 1.5 / 86_400))
    signer = read_signer(short.certificate, short.key)
    content = signed(PNG, signer)
    credential = signer._credential
    assert credential.until - datetime.now(UTC) < timedelta(seconds=2)
    while datetime.now(UTC) < credential.until + timedelta(seconds=1):
        pass
    with pytest.raises(CredentialsError, match="has expired on"):
        signed(PNG, signer)
    for trust in (read_trust(short.certificate), read_trust(short.authority)):
        signature = signature_of([Asset(PNG, content)], trust)
        assert signature is not None
        assert (signature.holds, signature.why) == (False, "the certificate has expired")


def test_what_is_too_large_to_hold_is_not_signed(signer: Signer):
    for media, spec, n in ((WAV, SOUND, 10_000), (ZIP, ARRAY, 10_000_000)):
        with pytest.raises(TooLargeError, match=r"n: the file would have up to \d+ bytes; at most 67108864 are signed"):
            make_document(media, n, spec, MADE_BY, signer=signer)
    make_document(ZIP, 10_000, PICTURE, MADE_BY, signer=signer)  # a file after the other


def remote(content: bytes, url: str, signer: Signer) -> bytes:
    """A file whose manifest is elsewhere."""
    about: dict[str, Any] = {"claim_generator_info": [{"name": "other", "version": "1"}], "assertions": []}
    builder = c2pa.Builder(about, signer._context)
    builder.set_no_embed()
    builder.set_remote_url(url)
    into = io.BytesIO()
    builder.sign(PNG, io.BytesIO(content), into)
    return into.getvalue()


def test_nothing_that_a_file_names_is_fetched(signer: Signer, trust: Trust):
    """A manifest may be said to be at an address within the server's network."""
    import http.server
    import threading

    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        plain = written(make_document(PNG, N, PICTURE, MADE_BY), PICTURE)
        content = remote(plain, f"http://127.0.0.1:{elsewhere.server_port}/manifest.c2pa", signer)
        assert b"manifest.c2pa" in content
        signature = signature_of([Asset(PNG, content)], trust)
        elsewhere.shutdown()
    assert asked == []
    assert signature is None or not signature.holds
