"""Keyed hashes of the keys of rows, worked out and written down while the server is at work on the next ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from databosun.engines.lifecycle import Key, hash_keys

Naming = Future[list[str]]
"""One hash for each key, in their order; none at all without a key to hash with."""


SWITCH_SECONDS = 0.0002
"""After that long Python gives way to a thread that waits. With the usual 5 ms each answer of the server, which ten of
are read for a step, would lie there for so long while names are worked out."""


class Names(ThreadPoolExecutor):
    """Of one run; what was begun is ended with it, in its order. `key`: to hash with."""

    def __init__(self, key: bytes | None) -> None:
        super().__init__(max_workers=1, thread_name_prefix="names")
        self._key = key
        self._writing: Future[None] | None = None
        self._usual = sys.getswitchinterval()

    def __enter__(self) -> Self:
        """Threads take turns sooner."""
        sys.setswitchinterval(SWITCH_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As it was."""
        super().__exit__(kind, error, trace)
        sys.setswitchinterval(self._usual)

    def begin(self, keys: Sequence[Key]) -> Naming:
        """Hash them beside what the caller does next."""
        return self.submit(hash_keys, self._key or b"", keys if self._key is not None else ())

    def write(self, what: Callable[[], None]) -> None:
        """Do it beside what the caller does next, once all that was begun is worked out."""
        self.written()
        self._writing = self.submit(what)

    def written(self) -> None:
        """Wait for it. Raises what it raised, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def gathered(namings: Iterable[Naming]) -> list[str]:
    """All hashes of several, one after the other."""
    return [name for naming in namings for name in naming.result()]


def chosen(naming: Naming, keys: Sequence[Key], of: Collection[Key]) -> list[str]:
    """The hashes of some of the keys that were hashed."""
    return [name for key, name in zip(keys, naming.result(), strict=False) if key in of]
