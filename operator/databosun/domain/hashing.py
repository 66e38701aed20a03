"""What a value becomes under a key: the same in every table and on every engine. Pure."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

HASH_CHARACTERS = 32


def masked(key: bytes, value: str | None, length: int, *, uuid: bool) -> str | None:
    """So many hexadecimal digits of a keyed hash, or a UUID that is made of it; NULL stays NULL."""
    if value is None:
        return None
    digest = hmac.digest(key, value.encode(), hashlib.sha256)
    return str(_uuid8(digest)) if uuid else digest.hex()[:length]


def _uuid8(digest: bytes) -> UUID:
    """Of version 8, the one for contents of one's own: RFC 9562, section 5.8."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
