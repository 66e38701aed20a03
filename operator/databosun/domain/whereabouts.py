"""Which server and which store a plan is for: whoever approved it approved it there.

The hosts are those that the Database names, so a failover among them changes nothing; another name asks for another
look, even of the same server, since nothing else tells a server from a copy of it. Where a server has an identity that
a failover does not change, that is part of it: a name that leads elsewhere by now is found out by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.lifecycle import LifecycleOrder, ServerOrder
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.domain.capabilities import CAPABILITIES

_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The Database, its server, and the store. `place`: None where the store is not known."""

    database_uid: str
    server: ServerOrder | None = None
    place: str | None = None


def whereabouts(
    database_uid: str, database: DatabaseSpec, system: str | None, storage: BackupStorageSpec | None
) -> Whereabouts:
    """As the two objects say it now. `system`: the identity of the server that was seen last."""
    known = CAPABILITIES.get(database.engine)
    return Whereabouts(
        database_uid,
        _server(database, known.port if known else 0, system if known and known.lasting_identity else None),
        place_of(storage) if storage is not None else None,
    )


def _server(database: DatabaseSpec, port: int, system: str | None) -> ServerOrder:
    connection, rds = database.connection, database.rds
    if connection is None:
        named = (rds.cluster or rds.instance) if rds is not None else None
        return ServerOrder(hosts=[named] if named else [], port=port, system=system)
    hosts = sorted({*(connection.hosts or ()), *([connection.host] if connection.host else ())})
    return ServerOrder(hosts=hosts, port=connection.port or port, database=connection.database, system=system)


def place_of(storage: BackupStorageSpec) -> str:
    """A store, for people; another bucket or folder is another place."""
    if storage.s3 is not None:
        where = storage.s3.endpoint or storage.s3.region
        return f"bucket {storage.s3.bucket} at {where}, folder /{(storage.s3.prefix or '').strip('/')}"
    assert storage.volume is not None  # noqa: S101 (one of the two, by the schema)
    return f"claim {storage.volume.claim_name}, folder {storage.volume.path}"


def server_words(server: ServerOrder | None) -> str | None:
    """A server, for people."""
    if server is None:
        return None
    known = f", system {server.system}" if server.system else ""
    inside = f", database {server.database}" if server.database else ""
    return f"{', '.join(server.hosts)} port {server.port}{inside}{known}"[:_LONGEST]


def moved(server: str | None, place: str | None, now: LifecycleOrder) -> str | None:
    """Why a plan that was shown for this server and this store is not one for those of now; None where it is."""
    if server is None or place is None:
        return "it does not say for which server and store it is, since an earlier release made it"
    found = server_words(now.server)
    if found is not None and found != server:
        return f"it is for server {server}, and the Database is {found} now"
    return f"it is for {place}, and the BackupStorage is {now.place} now" if now.place not in (None, place) else None
