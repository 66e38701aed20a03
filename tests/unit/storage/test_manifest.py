"""manifest.json: canonical, signed, and no other taken for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.sealing import canonical, digest_of, is_signed
from databosun.storage.manifest import (
    demand_digest,
    demand_signature,
    load_private_key,
    load_public_key,
    read_manifest,
    seal,
)
from support.pemkeys import pem_of

DOCUMENT = {"id": "orders", "note": 'Zürich "quoted" \\ /', "b": 1, "a": [1, {"z": None, "y": True}]}


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def test_the_canonical_form_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": "ü"}) == canonical({"a": "ü", "b": 1}) == '{"a":"ü","b":1}'.encode()


def test_a_signature_holds_for_the_document_it_was_made_for(key: Ed25519PrivateKey) -> None:
    data = seal(DOCUMENT, key)
    assert is_signed(data, key.public_key())
    demand_signature(data, key.public_key(), "manifest")


def test_a_changed_document_breaks_the_signature(key: Ed25519PrivateKey) -> None:
    forged = json.loads(seal(DOCUMENT, key))
    forged["id"] = "other"
    assert not is_signed(canonical(forged), key.public_key())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"signature": 1}', b'{"signature": {"value": "%%"}}', b"\xff"])
def test_what_is_no_signed_document_is_not_signed(key: Ed25519PrivateKey, data: bytes) -> None:
    assert not is_signed(data, key.public_key())
    with pytest.raises(SafetyStop, match="SignatureInvalid"):
        demand_signature(data, key.public_key(), "manifest")


def test_another_key_does_not_vouch(key: Ed25519PrivateKey) -> None:
    assert not is_signed(seal(DOCUMENT, key), Ed25519PrivateKey.generate().public_key())


def test_the_signature_is_checked_with_standard_tools(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "OpenSSL is on every machine that runs these tests"
    (tmp_path / "manifest.json").write_bytes(seal(DOCUMENT, key))
    (tmp_path / "public.pem").write_text(pem_of(key)[1])
    sealed = json.loads((tmp_path / "manifest.json").read_bytes())
    value = sealed.pop("signature")["value"]
    (tmp_path / "payload.json").write_bytes(canonical(sealed))
    decode = subprocess.run(["base64", "-d"], input=value.encode(), capture_output=True, check=True)
    (tmp_path / "payload.sig").write_bytes(decode.stdout)
    argv = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin", "-in", "payload.json"]
    done = subprocess.run([*argv, "-sigfile", "payload.sig"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout + done.stderr


def test_a_digest_is_demanded_of_the_very_bytes() -> None:
    demand_digest(b"x", digest_of(b"x").upper(), "manifest")
    with pytest.raises(SafetyStop, match="ManifestForged"):
        demand_digest(b"x ", digest_of(b"x"), "manifest")


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"schema": 2}', b"\x00"])
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(SafetyStop, match=r"ManifestInvalid: the file is no manifest of schema 1"):
        read_manifest(data, "the file")


def test_keys_are_read_from_pem(key: Ed25519PrivateKey) -> None:
    private, public = pem_of(key)
    assert load_private_key(private, "Secret k").public_key() == load_public_key(public, "spec")


@pytest.mark.parametrize("pem", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_by_name(pem: bytes) -> None:
    with pytest.raises(UserFault, match=r"SigningKeyInvalid: Secret k holds no unencrypted Ed25519 private key"):
        load_private_key(pem, "Secret k")


def test_a_key_of_another_kind_is_refused() -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UserFault, match="SigningKeyInvalid"):
        load_private_key(pem, "Secret k")
