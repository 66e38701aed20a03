"""What a server says about itself, and which member of a replica set to read from. Read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import OperationFailure

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.mongodb.connect import Client, Endpoint, endpoints_of, opened
from databosun.engines.mongodb.faults import guarded
from databosun.engines.reaching import combined

FIRST = (5, 0)
MONGODB, FERRETDB = "MongoDB", "FerretDB"
OPLOG_DATABASE, OPLOG_COLLECTION = "local", "oplog.rs"
# A member further behind than this is no better than none.
MAX_LAG = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server as one login saw it at `now` (the server's clock). `hello`: what it answered to that.

    `identity`: of the replica set, None where it has none or hides it. `shard`: a part of a sharded cluster.
    `election`: seconds after which a primary that no majority answers takes no writes any more, at the latest.
    """

    endpoint: Endpoint
    product: str
    version: str
    hello: Mapping[str, Any]
    now: datetime
    identity: str | None = None
    shard: bool = False
    oplog: bool = False
    election: float = 10.0

    @property
    def series(self) -> tuple[int, int]:
        """Such as (7, 0)."""
        return series_of(self.version)

    @property
    def router(self) -> bool:
        """A mongos, which stands before shards."""
        return self.hello.get("msg") == "isdbgrid"

    @property
    def set_name(self) -> str | None:
        """Of its replica set."""
        return self.hello.get("setName")

    @property
    def primary(self) -> bool:
        """Takes writes."""
        return bool(self.hello.get("isWritablePrimary"))

    @property
    def usable_secondary(self) -> bool:
        """Follows, and holds data."""
        return bool(self.hello.get("secondary")) and not self.hello.get("arbiterOnly")

    @property
    def written(self) -> datetime | None:
        """When the newest write that it has was made."""
        found = (self.hello.get("lastWrite") or {}).get("lastWriteDate")
        return found if isinstance(found, datetime) else None


def series_of(version: str) -> tuple[int, int]:
    """The release series of a version; (0, 0) where it is none."""
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def read_facts(client: Client, endpoint: Endpoint) -> ServerFacts:
    """Ask. UserFault(UnsupportedVersion) for what this release was not made for."""
    hello = client.admin.command("hello")
    build = client.admin.command("buildInfo")
    now = hello.get("localTime")
    facts = ServerFacts(
        endpoint=endpoint,
        product=FERRETDB if "ferretdbVersion" in build else MONGODB,
        version=str(build["version"]),
        hello=hello,
        now=now if isinstance(now, datetime) else datetime.now(UTC),
    )
    if facts.series < FIRST:
        message = f"{endpoint} runs {facts.product} {facts.version}; expected 5.0 or later"
        raise UserFault(Reason.UNSUPPORTED_VERSION, message)
    return facts


def read_more(client: Client, facts: ServerFacts) -> ServerFacts:
    """What a backup has to know besides; a member's role was enough to choose it."""
    local = client[OPLOG_DATABASE]
    oplog = OPLOG_COLLECTION in local.list_collection_names(filter={"name": OPLOG_COLLECTION})
    shard = _allowed(lambda: client.admin["system.version"].find_one({"_id": "shardIdentity"}))
    found = _allowed(lambda: local["system.replset"].find_one({}))
    settings = (found or {}).get("settings") or {}
    identity = settings.get("replicaSetId")
    return ServerFacts(
        endpoint=facts.endpoint,
        product=facts.product,
        version=facts.version,
        hello=facts.hello,
        now=facts.now,
        identity=f"mongodb-{identity}" if identity else None,
        shard=shard is not None,
        oplog=oplog,
        election=float(settings.get("electionTimeoutMillis") or 10_000) / 1000,
    )


def choose_source(target: Target) -> ServerFacts:
    """The member to read from: the secondary that follows best, else the primary, else a server that stands alone.

    Members that a listed one names are looked at, too. Raises the hosts' errors where none answers.
    """
    seen, errors = _look_around(target)
    if not seen:
        raise combined(errors)
    sets = sorted({facts.set_name for facts in seen if facts.set_name})
    if len(sets) > 1:
        message = f"hosts of spec.connection are of several replica sets: {', '.join(sets)}; list those of one"
        raise UserFault(Reason.SEVERAL_MASTERS, message)
    newest = max((facts.written for facts in seen if facts.written), default=None)
    fit = [facts for facts in seen if facts.usable_secondary and _follows(facts, newest)]
    if fit:
        return max(fit, key=lambda facts: facts.written or facts.now)
    usable = [facts for facts in seen if facts.primary or facts.router or not facts.set_name]
    if usable:
        return usable[0]
    names = ", ".join(str(facts.endpoint) for facts in seen)
    raise WorldFault(Reason.REPLICA_UNFIT, f"no primary answers, and no member that follows one: {names}")


def choose_primary(target: Target) -> Endpoint:
    """The member that takes writes. WorldFault(NoPrimary) where none answers."""
    seen, errors = _look_around(target)
    found = [facts for facts in seen if facts.primary]
    if found:
        return found[0].endpoint
    if seen:
        names = ", ".join(str(facts.endpoint) for facts in seen)
        raise WorldFault(Reason.NO_PRIMARY, f"{names} take no writes, and no other host answers")
    raise combined(errors)


def _look_around(target: Target) -> tuple[list[ServerFacts], list[DatabosunError]]:
    seen: dict[str, ServerFacts] = {}
    errors: list[DatabosunError] = []
    listed = [(host, target.database.port) for host in target.database.hosts]
    for host, port in listed:
        _ask(target, host, port, seen, errors)
    # A member that is only named by another may well be out of reach: that is no error.
    for name in sorted({str(name) for facts in list(seen.values()) for name in facts.hello.get("hosts") or ()}):
        host, _, number = name.rpartition(":")
        if name not in seen and number.isdigit():
            _ask(target, host, int(number), seen, [])
    return list(seen.values()), errors


def _ask(target: Target, host: str, port: int, seen: dict[str, ServerFacts], errors: list[DatabosunError]) -> None:
    """Put its facts into `seen`, by the name that it has in its set; or what was wrong into `errors`."""
    try:
        for endpoint in endpoints_of(host, port):
            with opened(target, endpoint) as client, guarded(f"asking {endpoint} for its role"):
                facts = read_facts(client, endpoint)
            seen.setdefault(str(facts.hello.get("me") or endpoint), facts)
    except DatabosunError as fault:
        errors.append(fault)


def _follows(facts: ServerFacts, newest: datetime | None) -> bool:
    return newest is None or facts.written is None or newest - facts.written <= MAX_LAG


def _allowed(ask: Any) -> Any:
    """What an account may see where it may; None where it may not."""
    try:
        return ask()
    except OperationFailure:
        return None
