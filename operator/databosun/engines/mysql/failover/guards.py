"""What must be granted before a primary is moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from databosun.api.failover import GuardResult
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.dialect import dialect_of
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import Grants, read_grants

PROBE_GRANTS = ("SELECT", "INSERT", "CREATE", "DROP")


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
