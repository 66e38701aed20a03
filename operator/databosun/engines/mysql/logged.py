"""Which transactions a log holds up to a place: MariaDB's newest of each domain, or MySQL's set of them.

Both say, at the beginning of each file, what lies before it: so a log that was begun anew is told from the one that was
archived.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.gtidset import GtidSet, parse_gtid_set
from databosun.engines.mysql.binlogevents import HEADER, Event, Kind
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.mysqlevents import read_previous

_LIST_FLAGS_SHIFT = 28


class Logged(Protocol):
    """As text it is what `logged_of` reads."""

    @property
    def known(self) -> bool:
        """Whether anything is."""
        ...

    def take(self, event: Event) -> None:
        """Follow one event."""
        ...

    def follows(self, event: Event) -> bool:
        """Whether the list at a file's beginning goes on from here."""
        ...

    def same(self, text: str) -> bool:
        """Whether a backup that has said this text ends here."""
        ...

    def reached(self, name: str) -> bool:
        """Whether what a Restore names by its GTID is all there, with the transaction that was taken last."""
        ...


def logged_of(dialect: Dialect, text: str | None = None) -> Logged:
    """What was written; None: nothing is known yet."""
    if dialect.engine is EngineName.MYSQL:
        return MySQLLogged() if text is None else parse_mysql(text)
    return Gtids() if text is None else parse_gtids(text)


@dataclass(slots=True)
class Gtids:
    """The newest transaction of each domain, as MariaDB's GTID positions say it. None: not known yet."""

    newest: dict[int, tuple[int, int]] | None = None
    _last: str | None = None

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self.newest is not None

    def take(self, event: Event) -> None:
        """Follow one event."""
        if event.kind == Kind.GTID:
            domain, server, sequence = _transaction(event)
            self.newest = {**(self.newest or {}), domain: (server, sequence)}
            self._last = f"{domain}-{server}-{sequence}"
        elif event.kind == Kind.GTID_LIST and self.newest is None:
            self.newest = list_of(event)

    def follows(self, event: Event) -> bool:
        """Whether the list at a file's beginning goes on from here."""
        return self.newest is None or self.newest == list_of(event)

    def same(self, text: str) -> bool:
        """Whether a position in words is this one, whatever the order of its domains."""
        return set(str(self).split(",")) == set(text.split(","))

    def reached(self, name: str) -> bool:
        """Whether that transaction is the one that was taken last."""
        return self._last == name

    def __str__(self) -> str:
        found = sorted((self.newest or {}).items())
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in found)


def _transaction(event: Event) -> tuple[int, int, int]:
    sequence, domain = struct.unpack_from("<QI", event.data, HEADER.size)
    return domain, event.server, sequence


def parse_gtids(text: str) -> Gtids:
    """`0-1-12,3-1-4`; nothing: no transaction yet."""
    found: dict[int, tuple[int, int]] = {}
    for one in filter(None, text.split(",")):
        domain, server, sequence = (int(part) for part in one.split("-"))
        found[domain] = (server, sequence)
    return Gtids(found)


def list_of(event: Event) -> dict[int, tuple[int, int]]:
    """What the list at the beginning of a file says: of each domain the last one that it names is the newest."""
    (count,) = struct.unpack_from("<I", event.data, HEADER.size)
    found: dict[int, tuple[int, int]] = {}
    for number in range(count & ((1 << _LIST_FLAGS_SHIFT) - 1)):
        domain, server, sequence = struct.unpack_from("<IIQ", event.data, HEADER.size + 4 + 16 * number)
        found.pop(domain, None)
        found[domain] = (server, sequence)
    return found


@dataclass(slots=True)
class MySQLLogged:
    """`held`: None where it is not known yet. `began`: when the file was begun, by the server's clock, to the second:
    that tells files of one name apart where transactions have no GTIDs, or the same ones."""

    held: GtidSet | None = None
    began: int | None = None

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self.held is not None

    def take(self, event: Event) -> None:
        """Follow one event."""
        if event.kind == Kind.FORMAT_DESCRIPTION:
            self.began = event.when
        elif event.kind == Kind.PREVIOUS_GTIDS and self.held is None:
            self.held = read_previous(event.body)
        elif (said := event.beginning) is not None:
            self.held = self.held if self.held is not None else GtidSet()
            if said.number:
                self.held.add(said.server, said.tag, said.number)

    def follows(self, event: Event) -> bool:
        """Whether the list at a file's beginning goes on from here."""
        return self.held is None or self.held == read_previous(event.body)

    def same(self, text: str) -> bool:
        """Whether it is the same file, and the backup has what the log has. It may have more, which came by other ways
        than a log (gtid_purged); it has none where GTIDs were off."""
        other = parse_mysql(text)
        held = self.held if self.held is not None else GtidSet()
        return other.began == self.began and (not other.held or held <= other.held)

    def reached(self, name: str) -> bool:
        """Whether all of a set is there."""
        return self.held is not None and parse_gtid_set(name) <= self.held

    def __str__(self) -> str:
        return f"{self.held or ''}" + ("" if self.began is None else f"@{self.began}")


def parse_mysql(text: str) -> MySQLLogged:
    """`3e11fa47-…:1-5@1796007030`."""
    held, _, began = text.partition("@")
    return MySQLLogged(parse_gtid_set(held), int(began) if began else None)
