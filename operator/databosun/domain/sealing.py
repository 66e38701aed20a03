"""The form in which records are stored, their digests and signatures: what it takes to know one for what was written.

The bytes as stored are what counts: a record that was read is never written again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "signature"


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, no spaces and plain UTF-8: what `jq -cjS .` prints."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def is_canonical(data: bytes) -> bool:
    """Whether these bytes are as a record is written. False also where they are no JSON object."""
    try:
        document = json.loads(data)
        return isinstance(document, dict) and canonical(document) == data
    except ValueError:
        return False


def digest_of(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def is_signed(data: bytes, public_key: Ed25519PublicKey) -> bool:
    """Whether the record carries a signature by this key."""
    try:
        document = json.loads(data)
        value = base64.b64decode(document[SIGNATURE]["value"], validate=True)
        unsigned = {name: item for name, item in document.items() if name != SIGNATURE}
        public_key.verify(value, canonical(unsigned))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, InvalidSignature):
        return False
    return True


def public_key_of(pem: str) -> Ed25519PublicKey:
    """The key in a PEM. ValueError where it is no Ed25519 public key."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, Ed25519PublicKey):
        msg = "it is no Ed25519 key"
        raise ValueError(msg)
    return key
