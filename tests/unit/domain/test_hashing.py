"""Keyed hashes are those of the standard library, whatever the key."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from databosun.domain.hashing import Keyed, masked


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_it_is_hmac(length: int) -> None:
    key = bytes(number % 251 for number in range(length))
    keyed = Keyed(key)
    for text in (b"", b"4711", "Žofie".encode(), b"x" * 200):
        assert keyed(text) == hmac.digest(key, text, hashlib.sha256)


def test_a_value_is_masked_as_it_always_was() -> None:
    """What was anonymised once must stay the same in the next run: kept tables are joined by it."""
    mail = "ada@example.org"
    assert masked(b"key", [mail, None, mail], 16, uuid=False) == ["e7e8f78d42b41603", None, "e7e8f78d42b41603"]
    assert masked(b"key", [mail], 32, uuid=True) == ["e7e8f78d-42b4-8603-a9dc-797e67eb0413"]
