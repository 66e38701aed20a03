"""manifest.json: the record that makes a folder of objects a backup (`docs/concepts/bucket.md`).

The bytes as stored are what counts: digests are taken over them, and a manifest that was read is never written again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from databosun.api.v1alpha1.backup import HeldPart, ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.sealing import SIGNATURE, canonical, digest_of, is_signed, public_key_of
from databosun.storage.reasons import StorageReason

SCHEMA = 1
MAX_MANIFEST_BYTES = 64 * 1024 * 1024


class StoredFile(Model):
    """One object, relative to the attempt's folder (parts) or the backup's (files)."""

    name: str
    bytes: int
    sha256: str


class Encryption(Model):
    """How an artefact is encrypted: the public keys that it was encrypted to."""

    recipients: list[str]


class Artefact(Model):
    """One stream of the engine, in volumes. `bytes`: of the data; `stored_bytes` and `sha256`: of what is stored."""

    name: str
    role: Literal["Data", "EngineManifest"] = "Data"
    bytes: int
    stored_bytes: int
    sha256: str
    parts: list[StoredFile]
    compression: str | None = None
    encryption: Encryption | None = None


class ManifestDatabase(Model):
    """The database that was backed up, as it was then."""

    namespace: str
    name: str
    uid: str
    engine: str
    engine_version: str
    system_identifier: str | None = None


class Signature(Model):
    """Ed25519 over the canonical form of the manifest without this field."""

    algorithm: Literal["Ed25519"] = "Ed25519"
    value: str = Field(description="Base64.")


class Manifest(Model):
    """One backup. Times are UTC; sizes are bytes."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str
    attempt: int
    cluster: str
    storage: str
    database: ManifestDatabase
    environment: dict[str, Any] = Field(default_factory=dict)
    type: BackupType
    method: Method
    parent: str | None = None
    parent_manifest_sha256: str | None = None
    base: str | None = None
    chain_length: int = 0
    started_at: Instant
    snapshot_time: Instant | None = None
    completed_at: Instant
    scheduled_for: Instant | None = None
    position: Position
    logical_bytes: int
    stored_bytes: int
    artefacts: list[Artefact]
    files: list[StoredFile] = Field(default_factory=list)
    objects: list[ObjectCount] = Field(default_factory=list)
    elsewhere: list[HeldPart] = Field(
        default_factory=list, description="What lies outside of the store, and is released with the backup."
    )
    schema_hash: str | None = None
    client_versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    size_suspicious: str | None = None
    image: str | None = None
    policy: str | None = None
    policy_uid: str | None = None
    databosun_version: str
    signature: Signature | None = None

    @property
    def shows(self) -> datetime | None:
        """The instant that the backup shows, as far as it can be believed: nothing that came after it was complete."""
        return min(self.snapshot_time, self.completed_at) if self.snapshot_time is not None else None


def seal(document: Mapping[str, Any], key: Ed25519PrivateKey | None) -> bytes:
    """The bytes to store: canonical, and signed where there is a key."""
    unsigned = {name: value for name, value in document.items() if name != SIGNATURE}
    if key is None:
        return canonical(unsigned)
    value = base64.b64encode(key.sign(canonical(unsigned))).decode()
    return canonical({**unsigned, SIGNATURE: Signature(value=value).dump()})


def read_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in these bytes. SafetyStop(ManifestInvalid) where it is none that this release understands."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        message = (
            f"{where} is no manifest of schema {SCHEMA}: {field}: {first['msg']}; a newer release may have written it"
        )
        raise SafetyStop(StorageReason.MANIFEST_INVALID, message) from error


def demand_digest(data: bytes, expected: str, where: str) -> None:
    """SafetyStop(ManifestForged) unless these are the bytes whose SHA-256 was recorded."""
    found = digest_of(data)
    if found != expected.lower():
        message = (
            f"{where} has SHA-256 {found}, but {expected} was recorded when the backup was taken: "
            "it was changed or replaced since, and nothing may be built on it; find out who writes to the storage"
        )
        raise SafetyStop(StorageReason.MANIFEST_FORGED, message)


def demand_signature(data: bytes, public_key: Ed25519PublicKey, where: str) -> None:
    """SafetyStop(SignatureInvalid) unless the manifest carries a signature by this key."""
    if not is_signed(data, public_key):
        message = (
            f"{where} carries no valid signature by spec.signing.publicKey; it was not written by this installation"
        )
        raise SafetyStop(StorageReason.SIGNATURE_INVALID, message)


def load_private_key(pem: bytes, where: str) -> Ed25519PrivateKey:
    """The signing key. UserFault(SigningKeyInvalid)."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _not_a_key(where, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(where, "private")
    return key


def load_public_key(pem: str, where: str) -> Ed25519PublicKey:
    """The key that signatures are checked with. UserFault(SigningKeyInvalid)."""
    try:
        return public_key_of(pem)
    except ValueError as error:
        raise _not_a_key(where, "public") from error


def _not_a_key(where: str, kind: str) -> UserFault:
    message = (
        f"{where} holds no unencrypted Ed25519 {kind} key in PEM; make one with `openssl genpkey -algorithm ed25519`"
    )
    return UserFault(StorageReason.SIGNING_KEY_INVALID, message)
