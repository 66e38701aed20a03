"""What a value becomes under a key: the same in every table and on every engine. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from uuid import UUID

HASH_CHARACTERS = 32
_BLOCK = 64  # bytes, of SHA-256


class Keyed:
    """HMAC-SHA-256 (RFC 2104) of many short texts under one key. The library begins each with the key anew, which takes
    it twice as long as the text itself."""

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(one ^ 0x36 for one in block))
        self._outer = hashlib.sha256(bytes(one ^ 0x5C for one in block))

    def __call__(self, text: bytes) -> bytes:
        """32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()

    def digits(self, texts: Iterable[bytes]) -> list[str]:
        """The same of many, 64 hexadecimal digits each. To call for each anew takes half as long again."""
        begin, end = self._inner.copy, self._outer.copy
        found = []
        for text in texts:
            inner, outer = begin(), end()
            inner.update(text)
            outer.update(inner.digest())
            found.append(outer.hexdigest())
        return found


def masked(key: bytes, values: Sequence[str | None], length: int, *, uuid: bool) -> list[str | None]:
    """Of each so many hexadecimal digits of a keyed hash, or a UUID that is made of it; NULL stays NULL. A value that
    comes again is hashed once."""
    keyed = Keyed(key)
    made: dict[str | None, str | None] = {None: None}
    for value in values:
        if value not in made:
            digest = keyed(str(value).encode())
            made[value] = str(_uuid8(digest)) if uuid else digest.hex()[:length]
    return [made[value] for value in values]


def _uuid8(digest: bytes) -> UUID:
    """Of version 8, the one for contents of one's own: RFC 9562, section 5.8."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
