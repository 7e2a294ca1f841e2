"""Signed bundles: what somebody who is trusted has signed is verified, and with a required signature nothing else is
read; here and by OpenSSF Model Signing's own command."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentserve.service.bundle import Signature, read_bundle, write_bundle
from latentserve.service.bundle.files import DATA, GENERATOR, MANIFEST, replace_generator
from latentserve.service.bundle.signature import SIGNATURE, read_signature, sign_folder
from latentserve.service.cli import cli
from latentserve.service.errors import BundleError, RuntimeMissingError, SignatureError
from latentserve.service.trust import REQUIRE_SIGNATURE, TRUSTED_KEYS, Trust
from latentserve.service.watching.disk import FilesOnDisk
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.service.bundle.test_files import edit, forge
from tests.service.test_held import hold

signers = pytest.importorskip("tests.signers", reason="needs latentserve[sign]")
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402
from model_signing._cli import main as model_signing  # noqa: E402

from tests.signers import CODE_SIGNING, WEB_SERVER, Signer, make_certificate, make_key  # noqa: E402


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    """A maker's key; somebody else's; and certificates: `leaf` is by `between`, which is by `root`."""
    folder = tmp_path_factory.mktemp("keys")
    made = {name: make_key(folder, name) for name in ("maker", "stranger")}
    made["root"] = make_certificate(folder, "root")
    made["between"] = make_certificate(folder, "between", made["root"])
    made["leaf"] = make_certificate(folder, "leaf", made["between"], uses=CODE_SIGNING)
    made["expired"] = make_certificate(folder, "expired", made["root"], (-2, -1), CODE_SIGNING)
    made["early"] = make_certificate(folder, "early", made["root"], (0.5, 1), CODE_SIGNING)
    made["web"] = make_certificate(folder, "web", made["root"], uses=WEB_SERVER)
    made["old root"] = make_certificate(folder, "old root", days=(-3, -1))
    made["of old root"] = make_certificate(folder, "of old root", made["old root"], (-2, 1), CODE_SIGNING)
    made["alone"] = make_certificate(folder, "alone", uses=[])
    return made


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be signed, and spoilt."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


@pytest.fixture
def trust(keys: dict[str, Signer], tmp_path: Path) -> Trust:
    """In the maker, and in the authorities; what is not signed by them is refused."""
    folder = tmp_path / "trusted"
    folder.mkdir()
    for file in (keys["maker"].public, keys["root"].certificate, keys["old root"].certificate):
        shutil.copy(file, folder)
    return Trust(folder, required=True)


def sign(bundle: Path, by: Signer, *chain: Signer) -> Signature:
    """By its key, or with its certificate."""
    certificate = by.certificate if by.certificate.exists() else None
    return sign_folder(bundle, read_bundle(bundle, Trust()).digests, by.key, None, certificate,
                       [one.certificate for one in chain])  # fmt: skip


def refused(bundle: Path, trust: Trust, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, trust)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    for word in (str(bundle), *words):
        assert word in message, message


def told(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / SIGNATURE).read_text())
    return content


def told_again(bundle: Path, content: object) -> None:
    (bundle / SIGNATURE).write_text(json.dumps(content))


# What is verified.


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_what_a_key_has_signed_is_verified(copy: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = make_key(tmp_path, "key", curve)
    signed = sign(copy, key)
    read = read_bundle(copy, Trust(key.public, required=True))
    assert read.signature == signed == Signature("key", hashlib.sha256(key.public.read_bytes()).hexdigest())
    assert read.signature.verified
    assert stat.S_IMODE((copy / SIGNATURE).stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "key.key", "key.pub"]
    assert SIGNATURE not in read.manifest.sha256


def test_what_a_certificate_has_signed_is_verified(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    leaf = keys["leaf"]
    signed = sign(copy, leaf, keys["between"])
    read = read_bundle(copy, trust)
    assert read.signature is not None
    assert (read.signature.by, read.signature.subject, read.signature.verified) == ("certificate", "CN=leaf", True)
    assert read.signature.fingerprint == signed.fingerprint
    der = base64.b64decode("".join(leaf.certificate.read_text().splitlines()[1:-1]))
    assert read.signature.fingerprint == hashlib.sha256(der).hexdigest()
    whole = leaf.certificate.with_name("whole.crt")
    whole.write_text(leaf.certificate.read_text() + keys["between"].certificate.read_text())
    digests = read_bundle(copy, Trust()).digests
    sign_folder(copy, digests, leaf.key, certificate=whole)  # the chain may stand behind it
    assert read_bundle(copy, trust).signature == read.signature
    sign(copy, keys["alone"])  # a certificate that is its own authority
    assert read_bundle(copy, Trust(keys["alone"].certificate, required=True)).signature is not None


def test_without_anybody_to_trust_a_signature_is_told_and_not_believed(copy: Path, keys: dict[str, Signer]) -> None:
    assert read_bundle(copy, Trust()).signature is None
    sign(copy, keys["maker"])
    found = read_bundle(copy, Trust()).signature
    assert found is not None
    assert (found.by, found.verified, found.fault) == ("key", False, f"{TRUSTED_KEYS} is not set")
    (copy / SIGNATURE).write_text("garbage")
    found = read_bundle(copy, Trust()).signature
    assert found is not None
    assert (found.by, found.fingerprint) == (None, None)


def test_where_none_is_required_it_is_told_what_is_wrong(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    lenient = Trust(trust.keys)
    assert read_bundle(copy, lenient).signature is None
    sign(copy, keys["stranger"])
    found = read_bundle(copy, lenient).signature
    assert found is not None
    assert not found.verified
    assert "does not hold" in str(found)


# By the library's own command, and for it.


def library(*words: object) -> None:
    done = CliRunner().invoke(model_signing, [str(word) for word in words])
    assert done.exit_code == 0, done.output


def test_the_library_verifies_what_is_signed_here(copy: Path, keys: dict[str, Signer]) -> None:
    signature = ["--signature", copy / SIGNATURE]
    sign(copy, keys["maker"])
    library("verify", "key", copy, *signature, "--public_key", keys["maker"].public)
    sign(copy, keys["leaf"], keys["between"])
    library("verify", "certificate", copy, *signature, "--certificate_chain", keys["root"].certificate)
    (copy / GENERATOR).open("ab").write(b"\0")
    done = CliRunner().invoke(model_signing, ["verify", "key", str(copy), *map(str, signature), "--public_key",
                                              str(keys["maker"].public)])  # fmt: skip
    assert done.exit_code != 0


def test_what_the_library_has_signed_is_verified_here(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    signature = ["--signature", copy / SIGNATURE]
    library("sign", "key", copy, *signature, "--private_key", keys["maker"].key)
    found = read_bundle(copy, trust).signature
    assert found == Signature("key", hashlib.sha256(keys["maker"].public.read_bytes()).hexdigest())
    given = ["--signing_certificate", keys["leaf"].certificate, "--certificate_chain", keys["between"].certificate]
    library("sign", "certificate", copy, *signature, "--private_key", keys["leaf"].key, *given)
    found = read_bundle(copy, trust).signature
    assert found is not None
    assert found.subject == "CN=leaf"
    # Of some of the files only: whoever changes the others is not found out.
    ignored = ["--ignore-paths", copy / "critic.onnx"]
    library("sign", "key", copy, *signature, "--private_key", keys["maker"].key, *ignored)
    refused(copy, trust, "critic.onnx")


def test_signatures_of_earlier_releases_say_not_which_key_they_are_by(
    copy: Path, keys: dict[str, Signer], trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    for signer in ("maker", "stranger"):
        sign(copy, keys[signer])
        signature = told(copy)
        signature["verificationMaterial"]["publicKey"] = {"rawBytes": "", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        told_again(copy, signature)
        if signer == "maker":
            found = read_bundle(copy, trust).signature
            assert found is not None
            assert found.fingerprint == hashlib.sha256(keys["maker"].public.read_bytes()).hexdigest()
        else:
            refused(copy, trust, "is by no key that")
    assert capsys.readouterr().out == ""


# What is refused.


def spoil_payload(bundle: Path) -> None:
    """One byte of what is signed."""
    signature = told(bundle)
    payload = bytearray(base64.b64decode(signature["dsseEnvelope"]["payload"]))
    payload[payload.index(b"sha256")] ^= 1
    signature["dsseEnvelope"]["payload"] = base64.b64encode(bytes(payload)).decode()
    told_again(bundle, signature)


def spoil_generator(bundle: Path) -> None:
    """A weight, with hashes and version that fit."""
    model = onnx.load(bundle / GENERATOR)
    model.graph.initializer[0].CopyFrom(dense_generator(seed=5).graph.initializer[0])
    forge(bundle, GENERATOR, model.SerializeToString())


def link(bundle: Path, name: str) -> None:
    """Instead of a file, a symbolic link to it."""
    elsewhere = bundle.with_name("elsewhere")
    shutil.move(bundle / name, elsewhere)
    (bundle / name).symlink_to(elsewhere)


def pack_again(bundle: Path) -> None:
    """As a new bundle by the same name, with the signature of the old one."""
    signature = (bundle / SIGNATURE).read_bytes()
    make_bundle(bundle, generator=dense_generator(seed=5).SerializeToString(), reference_samples=64)
    (bundle / SIGNATURE).write_bytes(signature)


def drop_signatures(bundle: Path) -> None:
    signature = told(bundle)
    signature["dsseEnvelope"]["signatures"] = []
    told_again(bundle, signature)


def not_a_file(bundle: Path, make: Callable[[Path], object]) -> None:
    (bundle / SIGNATURE).unlink()
    make(bundle / SIGNATURE)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "not signed": (lambda b: (b / SIGNATURE).unlink(), "is not signed"),
    "packed again": (pack_again, "signs other files than these"),
    "written again": (lambda b: write_bundle(b, read_bundle(b, Trust()).manifest, {
        name: (b / name).read_bytes() for name in read_bundle(b, Trust()).manifest.sha256}), "is not signed"),
    "one byte of a file": (lambda b: (b / "golden.npz").write_bytes((b / "golden.npz").read_bytes()[:-1] + b"\1"),
                           "golden.npz: SHA-256 is"),
    "a weight, hashed again": (spoil_generator, GENERATOR),
    "the manifest": (lambda b: edit(b, lambda manifest: manifest.update(license="MIT")), MANIFEST),
    "a file less": (lambda b: (b / "critic.onnx").unlink(), "critic.onnx: is missing"),
    "a file more": (lambda b: (b / "notes.txt").write_text("hello"), "'notes.txt' lies beside"),
    "a file more, listed": (lambda b: forge(b, "notes.txt", b"hello"), "notes.txt"),
    "a file of git's": (lambda b: (b / ".gitattributes").write_text("*"), "'.gitattributes' lies beside"),
    "an empty folder": (lambda b: (b / "empty").mkdir(), "'empty' lies beside"),
    "a file by no name": (lambda b: (b / "\n").write_text(""), r"'\n' lies beside"),
    "a link": (lambda b: link(b, GENERATOR), f"{GENERATOR} is a symbolic link"),
    "a link to the signature": (lambda b: link(b, SIGNATURE), "is a symbolic link"),
    "a folder for a signature": (lambda b: not_a_file(b, Path.mkdir), "is no file"),
    "a pipe for a signature": (lambda b: not_a_file(b, os.mkfifo), "is no file"),
    "a payload that was changed": (spoil_payload, "was not made with the key that it names"),
    "no signature in it": (drop_signatures, "is no signature that can be read"),
    "of another bundle": (lambda b: edit(b, lambda manifest: manifest.update(name="other")), "signs other files"),
    "huge": (lambda b: (b / SIGNATURE).open("ab").truncate(1 << 40), "is larger than"),
    "huge JSON": (lambda b: (b / SIGNATURE).write_text("[" * 1_000_000), "is no signature"),
    "empty": (lambda b: (b / SIGNATURE).write_bytes(b""), "is no signature"),
    "bytes": (lambda b: (b / SIGNATURE).write_bytes(bytes(range(256))), "is no signature"),
    "a list": (lambda b: told_again(b, []), "is no signature"),
    "other JSON": (lambda b: told_again(b, {"verificationMaterial": {"publicKey": 7}}), "is by neither a key"),
    "of Sigstore's": (lambda b: told_again(b, {"verificationMaterial": {"certificate": {"rawBytes": ""}}}), "Sigstore"),
    "a chain of nothing": (lambda b: told_again(
        b, {"verificationMaterial": {"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}}}), "certif"),
    "another media type": (lambda b: told_again(b, told(b) | {"mediaType": "text/plain"}), "is no signature that"),
    "listed by the manifest": (lambda b: edit(b, lambda manifest: manifest["sha256"].update(
        {SIGNATURE: hashlib.sha256((b / SIGNATURE).read_bytes()).hexdigest()})), f"sha256 lists {SIGNATURE}"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "word"), SPOILT.values(), ids=SPOILT)
def test_what_is_not_as_it_was_signed_is_refused(
    spoil: Callable[[Path], object], word: str, copy: Path, keys: dict[str, Signer], trust: Trust
) -> None:
    sign(copy, keys["maker"])
    assert read_bundle(copy, trust).signature is not None
    spoil(copy)
    refused(copy, trust, word)


@pytest.mark.parametrize("by", ["maker", "leaf"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_signature_there_is_one_line(
    data: st.DataObject, by: str, bundle: Path, keys: dict[str, Signer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A part of it changed, left out or put in: it is believed, or it is told why not, and of these files only."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(bundle, folder, dirs_exist_ok=True)
    sign(folder, keys[by], *([keys["between"]] if by == "leaf" else []))
    digests = read_bundle(folder, Trust()).digests
    content = (folder / SIGNATURE).read_bytes()
    start = data.draw(st.integers(0, 1 << 20)) % (len(content) + 1)  # no two signatures need be of one length
    end = start + data.draw(st.integers(0, 8))
    put = data.draw(st.binary(max_size=4) | st.sampled_from([b"{", b'"', b"null", b"[]", b"1e999", b"\\u0000"]))
    (folder / SIGNATURE).write_bytes(content[:start] + put + content[end:])
    trusted = Trust(keys["maker"].public if by == "maker" else keys["root"].certificate)
    found = read_signature(folder, digests, trusted)
    assert found is not None
    if found.verified:
        other = dict(digests) | {GENERATOR: "0" * 64}
        again = read_signature(folder, other, trusted)
        assert again is not None
        assert not again.verified
    else:
        assert found.fault
        assert "\n" not in found.fault


BY_OTHERS = {
    "stranger": ((), "which LATENTSERVE_TRUSTED_KEYS does not hold"),
    "alone": ((), "its certificate is not good: self-signed certificate"),
    "leaf": ((), "unable to get local issuer certificate"),
    "expired": ((), "expired"),
    "early": ((), "not yet valid"),
    "web": ((), "for other uses than to sign code"),
    "of old root": ((), "expired"),
}


@pytest.mark.parametrize("name", BY_OTHERS)
def test_who_is_not_trusted_or_no_longer_is_refused(
    name: str, copy: Path, keys: dict[str, Signer], trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentserve.service.bundle import openssf

    class Elsewhen(signers.datetime):  # type: ignore[name-defined,misc]
        @classmethod
        def now(cls, _zone: object) -> Any:
            """When the certificate was valid."""
            first = signers.x509.load_pem_x509_certificate(keys[name].certificate.read_bytes())
            return first.not_valid_before_utc

    if keys[name].certificate.exists():
        monkeypatch.setattr(openssf, "datetime", Elsewhen)
    chain, word = BY_OTHERS[name]
    sign(copy, keys[name], *(keys[one] for one in chain))
    refused(copy, trust, word)


def test_a_certificate_is_believed_of_authorities_that_are_trusted_and_of_no_others(
    copy: Path, keys: dict[str, Signer]
) -> None:
    """Where only keys are, of none: the library's default are those of all web sites."""
    sign(copy, keys["leaf"], keys["between"])
    refused(copy, Trust(keys["maker"].public, required=True), "holds none of an authority")
    refused(copy, Trust(keys["alone"].certificate, required=True), "its certificate is not good")
    sign(copy, keys["maker"])
    refused(copy, Trust(keys["root"].certificate, required=True), "does not hold")
    # Named after a key that is trusted, made with another.
    signature = told(copy)
    hint = hashlib.sha256(keys["maker"].public.read_bytes()).hexdigest()
    sign(copy, keys["stranger"])
    told_again(copy, told(copy) | {"verificationMaterial": signature["verificationMaterial"]})
    assert told(copy)["verificationMaterial"]["publicKey"]["hint"] == hint
    refused(copy, Trust(keys["maker"].public, required=True), "was not made with the key that it names")


def test_an_own_certificate_around_a_signature_of_another_is_refused(
    copy: Path, keys: dict[str, Signer], trust: Trust
) -> None:
    sign(copy, keys["leaf"], keys["between"])
    good = told(copy)["verificationMaterial"]
    sign(copy, keys["stranger"])
    told_again(copy, told(copy) | {"verificationMaterial": good})
    refused(copy, trust, "was not made with the key of its certificate")


# Keys, settings and what is not there.


def test_what_holds_the_keys_is_checked(
    copy: Path, keys: dict[str, Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for name, content in {
        "nothing.pem": b"hello",
        "broken.pem": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "private.pem": keys["maker"].key.read_bytes(),
        "rsa.pem": rsa.generate_private_key(65537, 2048).public_key().public_bytes(
            signers._PEM, signers.serialization.PublicFormat.SubjectPublicKeyInfo),
        "large.pem": b"#" * (1 << 21),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    for name, word in {
        "none": "No such file",
        "empty": "holds no key",
        "nothing.pem": "neither a public key nor a certificate",
        "broken.pem": "broken.pem",
        "private.pem": "private key",
        "rsa.pem": "is not an elliptic key",
        "large.pem": "is larger than",
    }.items():
        with pytest.raises(SignatureError, match=word) as caught:
            read_bundle(copy, Trust(tmp_path / name))
        assert TRUSTED_KEYS in str(caught.value)
        assert "\n" not in str(caught.value)
    both = tmp_path / "both.pem"
    both.write_bytes(keys["stranger"].public.read_bytes() + b"\n# and\n" + keys["root"].certificate.read_bytes())
    sign(copy, keys["stranger"])
    for name, value in {TRUSTED_KEYS: str(both), REQUIRE_SIGNATURE: "true"}.items():
        monkeypatch.setenv(name, value)
    assert read_bundle(copy).signature is not None  # as the environment says
    monkeypatch.setenv(TRUSTED_KEYS, str(keys["maker"].public))
    with pytest.raises(SignatureError, match="does not hold"):
        read_bundle(copy)
    monkeypatch.setenv(REQUIRE_SIGNATURE, "maybe")
    with pytest.raises(SignatureError, match="neither true nor false"):
        read_bundle(copy)
    monkeypatch.setenv(REQUIRE_SIGNATURE, "1")
    monkeypatch.delenv(TRUSTED_KEYS)
    with pytest.raises(SignatureError, match=TRUSTED_KEYS):
        read_bundle(copy)


def test_without_the_extra_it_is_named(
    copy: Path, keys: dict[str, Signer], trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(copy, keys["maker"])
    monkeypatch.delitem(sys.modules, "latentserve.service.bundle.openssf", raising=False)
    monkeypatch.delattr("latentserve.service.bundle.openssf", raising=False)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(RuntimeMissingError, match=r"needs latentserve\[sign\]"):
        read_bundle(copy, trust)
    with pytest.raises(RuntimeMissingError, match=r"needs latentserve\[sign\]"):
        sign(copy, keys["maker"])
    found = read_bundle(copy, Trust()).signature  # nothing is to be verified
    assert found is not None
    assert found.by == "key"


def test_what_cannot_sign(copy: Path, keys: dict[str, Signer], tmp_path: Path) -> None:
    secret = make_key(tmp_path, "secret", password="geheim")  # noqa: S106
    other = make_key(tmp_path, "other", ec.SECP256K1())
    digests = read_bundle(copy, Trust()).digests
    for (key, password, certificate), word in {
        (tmp_path / "none", None, None): "cannot be read",
        (keys["maker"].public, None, None): "is no private key",
        (other.key, None, None): "is not an elliptic key",
        (secret.key, None, None): "is encrypted",
        (secret.key, "falsch", None): "of another password",
        (keys["maker"].key, "geheim", None): "is not encrypted",
        (keys["maker"].key, None, keys["leaf"].certificate): "is not of the key",
        (keys["expired"].key, None, keys["expired"].certificate): "is valid from",
        (keys["leaf"].key, None, keys["leaf"].key): "holds no certificate",
    }.items():
        with pytest.raises(SignatureError, match=word) as caught:
            sign_folder(copy, digests, key, password, certificate)
        assert "\n" not in str(caught.value)
    assert not (copy / SIGNATURE).exists()
    sign_folder(copy, digests, secret.key, "geheim")
    assert read_bundle(copy, Trust(secret.public, required=True)).signature is not None
    (copy / "notes.txt").write_text("")
    with pytest.raises(SignatureError, match=r"notes\.txt"):
        sign(copy, keys["maker"])


def test_a_bundle_is_read_while_it_is_signed(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    """The old signature is there, or the new one."""
    sign(copy, keys["maker"])
    digests = read_bundle(copy, Trust()).digests
    ended = threading.Event()

    def again() -> None:
        for _ in range(20):
            sign_folder(copy, digests, keys["maker"].key)
        ended.set()

    thread = threading.Thread(target=again)
    thread.start()
    while not ended.is_set():
        assert read_bundle(copy, trust).signature is not None
    thread.join()


def test_a_folder_whose_parent_is_read_only_can_be_signed(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    copy.parent.chmod(0o555)
    try:
        sign(copy, keys["maker"])
        assert read_bundle(copy, trust).signature is not None
    finally:
        copy.parent.chmod(0o755)


def test_what_is_put_in_the_place_of_a_served_bundle(
    copy: Path, keys: dict[str, Signer], trust: Trust, bundle: Path
) -> None:
    """A restart would refuse it, so it is told as a fault of the files."""
    sign(copy, keys["maker"])
    read = read_bundle(copy, trust)
    found: list[tuple[str | None, str | None]] = []
    files = FilesOnDisk(read, lambda *told: found.append(told), trust)
    files.look()
    assert found.pop() == (None, None)

    def look() -> tuple[str | None, str | None]:
        files.look()
        files.look()
        return found.pop()

    write_bundle(copy, read.manifest, {name: (copy / name).read_bytes() for name in read.manifest.sha256})
    fault, _ = look()
    assert fault is not None
    assert "is not signed" in fault
    sign(copy, keys["stranger"])
    fault, _ = look()
    assert fault is not None
    assert "does not hold" in fault
    sign(copy, keys["maker"])
    assert look() == (None, None)


def test_a_signature_is_of_the_files_that_are_held(copy: Path, keys: dict[str, Signer], trust: Trust) -> None:
    """The folder among them, however it is listed afterwards."""
    sign(copy, keys["maker"])
    held, more = hold(copy), copy.with_name("more")
    shutil.copytree(copy, more)
    (more / "other").touch()
    with pytest.raises(BundleError, match="'other' lies beside"):
        read_bundle(more, trust, hold(more))
    shutil.rmtree(copy)
    more.rename(copy)
    found = read_bundle(copy, trust, held).signature
    assert found is not None
    assert found.verified


@pytest.mark.parametrize("weights", ["within", "beside"])
def test_an_onnx_file_may_carry_a_manifest_of_c2pa(
    weights: str, copy: Path, keys: dict[str, Signer], trust: Trust, tmp_path: Path
) -> None:
    """In `metadata_props`, where C2PA has it: taken in as it is signed, under the same version."""
    if weights == "beside":
        put_weights_beside(copy)
    before = read_bundle(copy, Trust()).manifest
    model = onnx.load(copy / GENERATOR, load_external_data=False)
    onnx.helper.set_model_props(model, {"c2pa:manifest": base64.b64encode(b"a manifest store").decode()})
    annotated = tmp_path / "annotated.onnx"
    annotated.write_bytes(model.SerializeToString())
    done = CliRunner().invoke(cli, ["sign", str(copy), "--key", str(keys["maker"].key), "--generator", str(annotated)])
    assert done.exit_code == 0, done.output
    read = read_bundle(copy, trust)
    assert read.manifest.version == before.version
    assert read.generator == annotated.read_bytes()
    assert read.manifest.sha256 == before.sha256 | {GENERATOR: hashlib.sha256(read.generator).hexdigest()}
    assert not list(tmp_path.glob(".*"))
    # What computes another thing is not taken in, nor what is no ONNX; the bundle stays as it is.
    model.graph.node[-1].op_type = "Sigmoid"
    for content, word in {
        model.SerializeToString(): "computes another thing",
        b"hello": "not an ONNX file",
    }.items():
        annotated.write_bytes(content)
        with pytest.raises(BundleError, match=word) as caught:
            replace_generator(copy, annotated)
        assert str(annotated) in str(caught.value)
    with pytest.raises(BundleError, match="cannot be read"):
        replace_generator(copy, tmp_path / "none")
    assert read_bundle(copy, trust).signature is not None


def put_weights_beside(bundle: Path) -> None:
    """As weights lie that are too many for one file."""
    model = onnx.load(bundle / GENERATOR)
    onnx.save(model, bundle / GENERATOR, save_as_external_data=True, location=DATA, size_threshold=0)
    names = {GENERATOR: bundle / GENERATOR, DATA: bundle / DATA}
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in names.items()}
    edit(bundle, lambda manifest: manifest["sha256"].update(hashes))
