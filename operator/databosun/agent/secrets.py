"""The Secrets mounted into the pod. Every mount is optional, so that a missing one is named here, within seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from databosun.agent.reasons import AgentReason
from databosun.api.targets import ERASURE, SUBJECT, SecretUse
from databosun.domain.errors import UserFault

NOTIFY = "notify"
"""Nothing fails for want of it: that nobody can be told is only noted."""
PUBLIC_FILES = frozenset({"username", "ca.crt", "tls.crt", "replicationUsername", "sentinelUsername"})
FAILOVER = "failover"
_OPTIONAL = frozenset({FAILOVER, ERASURE, SUBJECT})
"""Those that may not be there; whoever needs one says what is missing."""


class Secrets:
    """Files `<root>/<use>/<file>`, as the request names them."""

    def __init__(self, root: Path, uses: Sequence[SecretUse], namespace: str, prefix: str = "") -> None:
        self._root = root
        self._uses = {use.use.removeprefix(prefix): use for use in uses if use.use.startswith(prefix)}
        self._namespace = namespace

    def under(self, prefix: str) -> Secrets:
        """Those whose uses begin with a prefix, known by the rest: what is mounted for a second storage."""
        return Secrets(self._root, list(self._uses.values()), self._namespace, prefix)

    def demand(self) -> None:
        """UserFault(SecretMissing) with the name of every Secret and key that is not there or empty."""
        missing = [
            f"Secret {self._namespace}/{use.secret} has no key {key}"
            if any((self._root / use.use / other).is_file() for other in use.keys)
            else f"Secret {self._namespace}/{use.secret} with key {key} is not there"
            for use in self._uses.values()
            if use.use not in (NOTIFY, FAILOVER, ERASURE)
            for file, key in sorted(use.keys.items())
            if not self._filled(self._root / use.use / file)
        ]
        if missing:
            message = f"{'; '.join(missing)}; create what is missing in that namespace"
            raise UserFault(AgentReason.SECRET_MISSING, message)

    def has(self, use: str) -> bool:
        """Whether the request mounts a Secret for this use."""
        return use in self._uses

    def name(self, use: str) -> str | None:
        """The Secret's name, for messages."""
        return self._uses[use].secret if use in self._uses else None

    def path(self, use: str, file: str) -> Path | None:
        """The file of a use; None where the request mounts none."""
        mount = self._uses.get(use)
        return self._root / mount.use / file if mount is not None and file in mount.keys else None

    def text(self, use: str, file: str) -> str | None:
        """The value, without the line end that `echo` and editors leave."""
        path = self.path(use, file)
        return path.read_text().rstrip("\r\n") if path and (use not in _OPTIONAL or self._filled(path)) else None

    def words(self) -> Iterator[str]:
        """The key of whoever is to be erased: as little to be seen, but often no more than a number."""
        text = self.text(SUBJECT, SUBJECT) if self.has(SUBJECT) else None
        if text:
            yield text

    def values(self) -> Iterator[str]:
        """Every other value that must never be seen; user names and certificates are no secrets."""
        for use in self._uses.values():
            for file in use.keys if use.use != SUBJECT else ():
                path = self._root / use.use / file
                if file not in PUBLIC_FILES and path.is_file():
                    yield path.read_text(errors="replace").rstrip("\r\n")

    @staticmethod
    def _filled(path: Path) -> bool:
        return path.is_file() and path.stat().st_size > 0
