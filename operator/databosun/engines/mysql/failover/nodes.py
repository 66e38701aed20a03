"""Sessions to members, with one login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mysql.connect import CONNECT_SECONDS, Endpoint, Session, open_sql
from databosun.engines.mysql.failover.facts import NodeFacts, Place
from databosun.engines.mysql.failover.words import Words, words_of
from databosun.engines.mysql.faults import guarded
from databosun.engines.reaching import resolve


@dataclass(frozen=True, slots=True)
class Nodes:
    """Opens sessions to members with one login."""

    target: Target

    @contextmanager
    def open(self, place: Place, seconds: float = CONNECT_SECONDS) -> Iterator[Connection[Any]]:
        """A session that may write. UserFault, WorldFault."""
        connection = self.connect(place, seconds)
        try:
            yield connection
        finally:
            connection.close()

    def connect(self, place: Place, seconds: float = CONNECT_SECONDS) -> Connection[Any]:
        """The same, the caller's to close."""
        endpoint = Endpoint(place.host, place.port, resolve(place.host, place.port)[0])
        return open_sql(Session(self.target, endpoint), read_only=False, seconds=seconds)

    def ask(self, place: Place, seconds: float = CONNECT_SECONDS) -> NodeFacts:
        """Look once; `seconds`: how long it is waited to be let in."""
        with self.open(place, seconds) as connection, guarded(f"asking {place} for its place in the replication"):
            return self.words.ask(connection)

    def with_login(self, credentials: Credentials) -> Nodes:
        """The same members, as somebody else."""
        return Nodes(replace(self.target, credentials=credentials))

    @property
    def words(self) -> Words:
        """How they are spoken to."""
        return words_of(self.target.database.engine)

    @property
    def user(self) -> str:
        """Who asks."""
        return self.target.credentials.username


def members_of(target: Target, provider: str) -> list[Place]:
    """Every host of the Database. UserFault where that is one name for all of them."""
    found = []
    for host in target.database.hosts:
        name, colon, port = host.rpartition(":")
        found.append(Place(name, int(port)) if colon and port.isdigit() else Place(host, target.database.port))
    if len(found) < 2:
        message = (
            f"spec.connection.hosts names {', '.join(map(str, found)) or 'nobody'}; provider {provider} needs the "
            "primary and every replica there, each by a name of its own"
        )
        raise UserFault(Reason.NO_PRIMARY, message)
    return found
