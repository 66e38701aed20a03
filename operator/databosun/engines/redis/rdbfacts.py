"""What an RDB stream says of itself, and of the keys in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

_FULL = 1 << 64


@dataclass
class Keyspace:
    """One database. `names`: of the keys that never expire, summed whatever their order; None where not asked for."""

    keys: int = 0
    expires: int = 0
    names: int | None = 0

    def add(self, keys: int, expires: int, names: int) -> None:
        """Count what was read at once."""
        self.keys += keys
        self.expires += expires
        if self.names is not None:
            self.names = (self.names + names) % _FULL

    @property
    def fingerprint(self) -> str | None:
        """As it stands in a manifest."""
        return None if self.names is None else f"{self.names:016x}"


@dataclass
class RdbFacts:
    """What the stream said. `checksummed`: it carries its own checksum, which was right. `strays`: keys outside the
    slots that they should lie in, where any were named."""

    magic: str = ""
    version: int = 0
    aux: dict[str, str] = field(default_factory=dict)
    databases: dict[int, Keyspace] = field(default_factory=dict)
    functions: int = 0
    checksummed: bool = False
    strays: int = 0
    bytes: int = 0


def name_hash(name: bytes) -> int:
    """What one key adds to a fingerprint of names."""
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big")
