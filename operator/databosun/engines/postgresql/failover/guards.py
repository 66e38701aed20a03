"""What must hold before a primary is moved: access, a cluster that nobody works at, and a table that harms nobody."""

from __future__ import annotations

from collections.abc import Iterable

from databosun.api.failover import GuardResult, Member
from databosun.domain.errors import WorldFault
from databosun.engines.failover import ProbeError
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.failover.probe import Clients
from databosun.engines.postgresql.failover.rest import Rest
from databosun.engines.postgresql.failover.words import Cluster, NodeFacts

WATCH_SECONDS = 2.0
_NAMES_NO_LEADER = 400
_MAY_CREATE = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"
_ALL_TABLES = "SELECT pubname FROM pg_catalog.pg_publication WHERE puballtables ORDER BY 1"


def cluster_guards(cluster: Cluster, leader: NodeFacts | None) -> list[GuardResult]:
    """Nobody else is at work, and the store that decides over the lease answers."""
    away = leader is None or leader.failsafe or leader.unlocked
    return [
        _guard(
            "notPaused", not cluster.paused, "paused" if cluster.paused else "not paused", "not paused",
            "somebody works at the cluster, and nothing fails over by itself: wait, or run `patronictl resume`",
        ),
        _guard(
            "noScheduledSwitchover", cluster.scheduled is None, cluster.scheduled or "none", "none",
            "wait for it, or cancel it: `patronictl flush CLUSTER switchover`",
        ),
        _guard(
            "leaseKept", not away,
            "nobody holds it" if leader is None or leader.unlocked else
            "failsafe mode: Patroni's store (etcd, Kubernetes) does not answer" if leader.failsafe else "kept",
            "the primary renews its lease", "mend what Patroni keeps its lease in first",
        ),
    ]  # fmt: skip


def order_guard(rest: Rest) -> GuardResult:
    """Whether every endpoint that answers would take the order."""
    refused, answered = [], 0
    for endpoint in rest.endpoints:
        try:
            answer = rest.may_switch(endpoint)
        except WorldFault:
            continue
        answered += 1
        if answer.status != _NAMES_NO_LEADER:
            refused.append(f"{answer.endpoint} answered {answer.status}: {answer.text}")
    observed = " | ".join(refused) or (f"granted by {answered}" if answered else "no endpoint answers")
    return _guard(
        "grants", not refused and answered > 0, observed[:1000], "POST /switchover is granted",
        "put restapi.authentication into the Secret of spec.credentialsSecretRef, and let the Job's network into "
        "restapi.allowlist",
    )  # fmt: skip


def reach_guard(clients: Clients, members: Iterable[Member]) -> GuardResult:
    """Whether each member that runs can be asked past every Service: who is not asked could take writes unseen."""
    told = []
    for one in members:
        if not one.healthy:
            continue
        try:
            watcher = clients.watch(one.name, one.host, one.port, WATCH_SECONDS)
        except ProbeError as error:
            told.append(f"{one.name}: {error}")
        else:
            watcher.close()
    return _guard(
        "membersReachable", not told, " | ".join(told)[:1000] or "each lets the writers in", "every member that runs",
        "let the writers log in to every member at its postgresql.connect_address, also by TLS where that is asked for",
    )  # fmt: skip


def table_guards(connection: Connection, dbname: str, user: str) -> list[GuardResult]:
    """Whether the writers may have their table, and whether nobody would be sent it."""
    row = connection.execute(_MAY_CREATE).fetchone()
    may = bool(row and row[0])
    published = [str(one[0]) for one in connection.execute(_ALL_TABLES)]
    return [
        _guard(
            "probeWritable", may, "granted" if may else "lacks CREATE", f"CREATE on database {dbname}",
            f'run `GRANT CREATE ON DATABASE "{dbname}" TO "{user}";`',
        ),
        _guard(
            "probeUnpublished", not published, ", ".join(published)[:1000] or "none",
            f"no publication FOR ALL TABLES in database {dbname}",
            "its subscribers would be sent the probe's table, which they do not have, and stop: name another database "
            "in spec.connection.database",
        ),
    ]  # fmt: skip


def _guard(name: str, ok: bool, observed: str, limit: str, todo: str) -> GuardResult:
    return GuardResult(name=name, ok=ok, observed=observed, limit=limit, message=None if ok else todo)
