"""Keyed hashes of the keys of rows, worked out while the server is at work on the next ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from databosun.engines.lifecycle import Key, hash_keys

Naming = Future[list[str]]
"""One hash for each key, in their order; none at all without a key to hash with."""


class Names(ThreadPoolExecutor):
    """Of one run; what was begun is ended with it. `key`: to hash with."""

    def __init__(self, key: bytes | None) -> None:
        super().__init__(max_workers=1, thread_name_prefix="names")
        self._key = key

    def begin(self, keys: Sequence[Key]) -> Naming:
        """Hash them beside what the caller does next."""
        return self.submit(hash_keys, self._key or b"", keys if self._key is not None else ())


def gathered(namings: Iterable[Naming]) -> list[str]:
    """All hashes of several, one after the other."""
    return [name for naming in namings for name in naming.result()]


def chosen(naming: Naming, keys: Sequence[Key], of: Collection[Key]) -> list[str]:
    """The hashes of some of the keys that were hashed."""
    return [name for key, name in zip(keys, naming.result(), strict=False) if key in of]
