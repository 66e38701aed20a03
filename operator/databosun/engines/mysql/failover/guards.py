"""What must be granted before a primary is moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from databosun.api.failover import GuardResult
from databosun.domain.errors import UserFault
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.dialect import dialect_of
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import Grants, read_grants

PROBE_GRANTS = ("SELECT", "INSERT", "CREATE", "DROP")
REPLICATION_GRANT = "REPLICATION SLAVE"


def mover_guard(nodes: Nodes, places: Iterable[Place], wanted: Sequence[str]) -> GuardResult:
    """Whether the login may do what the move needs, on every server."""
    lacking: list[str] = []
    for place in places:
        held = _held(nodes, place)
        lacking = [one for one in wanted if not held.has(one)]
        if lacking:
            break
    fix = f"GRANT {', '.join(lacking)} ON *.* TO '{nodes.user}'@'%';"
    return _guard("grants", lacking, ", ".join(wanted), fix)


def replication_guard(nodes: Nodes, places: Iterable[Place]) -> GuardResult:
    """Whether a server can follow another one with that login: the old primary after the move, and the candidate where
    it is undone. Else it would show only once the primary was moved."""
    longest = nodes.words.longest
    keys = "replicationUsername and replicationPassword (else username and password) of spec.credentialsSecretRef"
    observed = advice = None
    if len(nodes.target.credentials.password.encode()) > longest:
        observed = f"the password of {nodes.user} is longer"
        advice = f"no replica may be told it: take a shorter one, or another login, in {keys}"
    for place in places if observed is None else ():
        try:
            held = _held(nodes, place)
        except UserFault as fault:
            observed = fault.message.partition("; ")[0]  # what follows advises on the database's own login
            advice = f"put a login into {keys} that {place} lets in from the Jobs as from the other servers"
            break
        if not held.has(REPLICATION_GRANT):
            observed = f"{place}: lacks {REPLICATION_GRANT}"
            advice = f"GRANT {REPLICATION_GRANT} ON *.* TO '{nodes.user}'@'%';"
            break
    return GuardResult(
        name="replicationLogin",
        ok=observed is None,
        observed=observed or "lets in",
        limit=f"{REPLICATION_GRANT}, and a password of at most {longest} bytes",
        message=advice,
    )


def probe_guard(probe: Nodes, primary: Place, tables: Tables) -> GuardResult:
    """Whether clients may have their tables."""
    held = _held(probe, primary)
    lacking = [one for one in PROBE_GRANTS if not held.has(one, tables.schema)]
    fix = f"GRANT {', '.join(PROBE_GRANTS)} ON {quote(tables.schema)}.* TO '{probe.user}'@'%';"
    return _guard("probeWritable", lacking, f"{', '.join(PROBE_GRANTS)} on {tables.schema}.*", fix)


def _held(nodes: Nodes, place: Place) -> Grants:
    dialect = dialect_of(nodes.target.database.engine)
    with nodes.open(place) as connection, guarded(f"reading the grants of {nodes.user} on {place}"):
        return read_grants(connection, dialect)


def _guard(name: str, lacking: list[str], limit: str, fix: str) -> GuardResult:
    observed = f"lacks {', '.join(lacking)}" if lacking else "granted"
    return GuardResult(name=name, ok=not lacking, observed=observed, limit=limit, message=fix if lacking else None)
