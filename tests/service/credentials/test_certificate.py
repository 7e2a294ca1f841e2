"""What is no certificate to sign by, or no key of it, is told in one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from latentserve.service.credentials.package import CredentialsError
from tests.certificates import Chain, signing_chain

pytest.importorskip("c2pa", reason="needs latentserve[c2pa]")
from latentserve.service.credentials.signer import read_signer


def with_password(chain: Chain, folder: Path) -> Chain:
    key = load_pem_private_key(chain.key.read_bytes(), None)
    path = folder / "locked.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    return chain._replace(key=path)


def with_rights(chain: Chain, folder: Path) -> Chain:
    path = folder / "open.pem"
    path.write_bytes(chain.key.read_bytes())
    path.chmod(0o644)
    return chain._replace(key=path)


def empty(folder: Path) -> Path:
    path = folder / "empty.pem"
    path.touch(0o600)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda chain, folder: chain._replace(certificate=folder / "none.pem"), r"none.pem: cannot be read \(No such"),
        (lambda chain, folder: chain._replace(key=folder / "none.pem"), r"none.pem: cannot be read \(No such"),
        (lambda chain, folder: chain._replace(certificate=folder), r"cannot be read \(Is a directory\)"),
        (lambda chain, folder: chain._replace(certificate=empty(folder)), "holds no certificate in PEM"),
        (lambda chain, folder: chain._replace(key=empty(folder)), "holds no private key in PEM"),
        (with_password, "locked.pem: the key in it has a password"),
        (with_rights, r"open.pem: others have rights to the key in it \(mode 0644\): chmod 600"),
        (lambda chain, folder: chain._replace(key=signing_chain(folder, "Other").key), "Other.key.pem: is not the key"),
        (lambda chain, folder: chain._replace(certificate=chain.authority), 'is not the key of "Gallery\'s authority"'),
        (lambda chain, folder: signing_chain(folder, "Old", days=(-9, -1)), "Old.chain.pem: 'Old' has expired on 20"),
        (lambda chain, folder: signing_chain(folder, "New", days=(1, 9)), "New.chain.pem: 'New' is valid from 20"),
        (lambda chain, folder: signing_chain(folder, "Web", usage=False), "Web.chain.pem: C2PA does not"),
    ],
)
def test_what_cannot_sign(make: Callable[[Chain, Path], Chain], said: str, chain: Chain, tmp_path: Path):
    made = make(chain, tmp_path)
    with pytest.raises(CredentialsError, match=said) as refused:
        read_signer(made.certificate, made.key)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("curve", [True, False])
def test_who_can(curve: bool, tmp_path: Path):
    """By files of their own, or one for both."""
    made = signing_chain(tmp_path, curve=curve)
    assert read_signer(made.certificate, made.key).size > 1 << 14
    made.key.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    read_signer(made.key, None)
