"""Asks the members of a replica set, each by a session of its own that waits for nobody for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.failover import FailoverFault
from databosun.engines.mongodb.connect import Client, Endpoint, connected
from databosun.engines.mongodb.failover.words import (
    Config,
    Configured,
    Hello,
    Status,
    parse_config,
    parse_hello,
    parse_status,
)
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.server import FERRETDB, read_facts
from databosun.engines.reaching import combined, resolve

PATIENCE_SECONDS = 2.0
_SHARD = {"_id": "shardIdentity"}


@dataclass(frozen=True, slots=True)
class SetFacts:
    """The set by the word of one member: the primary where it answers."""

    config: Config
    status: Status
    sharded: bool | None


@dataclass(frozen=True, slots=True)
class Members:
    """With one login."""

    target: Target

    @property
    def user(self) -> str:
        """Who asks."""
        return self.target.credentials.username

    @contextmanager
    def open(self, place: tuple[str, int], doing: str, *, silent: float | None = None) -> Iterator[Client]:
        """A session at one member. UserFault, WorldFault."""
        client = self.connect(place, PATIENCE_SECONDS, silent=silent)
        try:
            with guarded(f"{doing} at {place[0]}:{place[1]}", self.user):
                yield client
        finally:
            client.close()

    def connect(self, place: tuple[str, int], seconds: float, *, silent: float | None = None) -> Client:
        """The same, the caller's to close."""
        host, port = place
        endpoint = Endpoint(host, port, resolve(host, port, seconds=seconds)[0])
        return connected(self.target, endpoint, patience=seconds, silent=silent or seconds)

    def hello(self, place: tuple[str, int]) -> Hello:
        """What one says of itself."""
        with self.open(place, "asking for its role") as client:
            return parse_hello(client.admin.command("hello"), f"{place[0]}:{place[1]}")

    def seeds(self) -> list[tuple[str, int]]:
        """Those that the Database lists."""
        database = self.target.database
        return [(host, database.port) for host in database.hosts]

    def facts(self) -> SetFacts:
        """By the word of the primary; of any other where that does not answer. UserFault where it is no set that could
        be failed over; WorldFault where nobody answers."""
        errors: list[DatabosunError] = []
        for seed in self.seeds():
            try:
                found, primary = self._set_of(seed)
            except DatabosunError as fault:
                errors.append(fault)
                continue
            lead = found.config.named(primary or "")
            if lead is None or lead.place == seed:
                return found
            try:
                return self._set_of(lead.place)[0]
            except WorldFault:  # it is still told of, and dies or is gone
                return found
        raise combined(errors)

    def look(self, one: Configured) -> Hello | str:
        """A member itself, or why it cannot be asked."""
        try:
            return self.hello(one.place)
        except WorldFault as fault:
            return fault.message

    def leader(self, members: list[Configured]) -> Hello | None:
        """The first that takes writes by its own word."""
        for one in members:
            said = self.look(one)
            if isinstance(said, Hello) and said.writable:
                return said
        return None

    def _set_of(self, place: tuple[str, int]) -> tuple[SetFacts, str | None]:
        with self.open(place, "asking for its replica set") as client:
            host, port = place
            facts = read_facts(client, Endpoint(host, port))
            where = f"{host}:{port}"
            if facts.router:
                _refuse(f"{where} is a router (mongos): name the members of one shard's replica set")
            if facts.set_name is None or facts.product == FERRETDB:
                _refuse(f"{where} is {facts.product} without a replica set; nothing could take over from it")
            config = parse_config(client.admin.command("replSetGetConfig"))
            status = parse_status(client.admin.command("replSetGetStatus"))
            return SetFacts(config, status, _sharded(client)), facts.hello.get("primary")


def _sharded(client: Client) -> bool | None:
    """Whether it is a shard; None: this login may not look."""
    try:
        return client.admin["system.version"].find_one(_SHARD) is not None
    except OperationFailure:
        return None


def _refuse(message: str) -> None:
    raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)


def privileges(client: Client) -> list[Mapping[str, Any]] | None:
    """What the login may do; None where nobody has to log in, or the server does not tell."""
    said = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    known = said.get("authenticatedUserPrivileges")
    return list(known) if said.get("authenticatedUsers") and known is not None else None


def wait(over: Callable[[], bool], seconds: float, pulse: Callable[[], None], pause: float = 0.1) -> bool:
    """Whether it came about in time."""
    until = time.monotonic() + seconds
    while not over():
        pulse()
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True
