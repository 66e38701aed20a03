"""Restores of a yard's backups into running servers."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from databosun.api.restoretasks import BridgeTask, SelectionOrder
from databosun.api.result import RestoreResult
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from support.agentrun import NAMESPACE, Ran
from support.pgsample import content
from support.pgserver import PASSWORD, Server
from support.recoverypod import RecoveryPod
from support.recoveryyard import Yard

RESTORER = "restorer"
UID = "5b7b2a0e-6c52-4a43-8c54-9d0a4b7d7c11"
ID = hashlib.sha256(UID.encode()).hexdigest()[:8]


@dataclass
class Far:
    """The server at the far end of a bridge."""

    yard: Yard
    server: Server
    name: str = "orders-new"

    def __post_init__(self) -> None:
        quoted = PASSWORD.replace("'", "''")
        with suppress(psycopg.errors.DuplicateObject):
            self.server.sql(f"CREATE ROLE {RESTORER} SUPERUSER LOGIN PASSWORD '{quoted}'")

    def task(self, *ids: str, databases: tuple[str, ...] = (), tables: tuple[str, ...] = (), **more: Any) -> BridgeTask:
        """An order."""
        database = DatabaseTarget(
            namespace=NAMESPACE, name=self.name, uid="far", engine=EngineName.POSTGRESQL, hosts=["127.0.0.1"],
            port=self.server.port, tls=TLSMode.DISABLE,
        )  # fmt: skip
        selection = SelectionOrder(databases=list(databases), tables=list(tables))
        values = {"id": "restore-1", "uid": UID, "candidates": [self.yard.refs[one] for one in ids]}
        return BridgeTask(**{**values, "target": database, "selection": selection, **more})

    def pod(self, user: str = RESTORER) -> RecoveryPod:
        """A pod that may log in there."""
        pod = self.yard.pod()
        pod.secrets["database"] = {"username": user, "password": PASSWORD}
        return pod

    def run(self, *ids: str, pod: RecoveryPod | None = None, **more: Any) -> Ran:
        """Restore."""
        return (pod or self.pod()).run(self.task(*ids, **more))

    def names(self) -> set[str]:
        """The databases that are there."""
        rows = self.server.sql("SELECT datname FROM pg_database WHERE NOT datistemplate")
        return {str(row[0]) for row in rows}

    def content(self, dbname: str) -> dict[str, tuple[int, str]]:
        """What one of them holds."""
        with self.server.connect(dbname) as connection:
            return content(connection)

    def state(self) -> dict[str, Any]:
        """Everything that a restore could change: databases, owners, comments, schemas, content, roles."""
        databases = self.server.sql(
            "SELECT datname, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datallowconn, datacl::text"
            " FROM pg_database ORDER BY 1"
        )
        roles = self.server.sql("SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles ORDER BY 1")
        schemas = {
            name: self.server.sql("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_t' ORDER BY 1", name)
            for name in sorted(self.names())
        }
        return {
            "databases": databases,
            "roles": roles,
            "schemas": schemas,
            "content": {name: self.content(name) for name in sorted(self.names())},
        }


def bridged(ran: Ran) -> RestoreResult:
    """What was restored."""
    assert ran.result.restore is not None, ran.output[-6000:]
    return ran.result.restore
