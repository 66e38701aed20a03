"""What must be granted before a primary is moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from databosun.api.failover import GuardResult
from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.failover.nodes import Nodes, Place
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.faults import guarded

MOVER_GRANTS = (
    "REPLICATION SLAVE", "REPLICATION SLAVE ADMIN", "BINLOG MONITOR", "SLAVE MONITOR", "READ_ONLY ADMIN", "RELOAD",
)  # fmt: skip
LOOK_GRANTS = ("BINLOG MONITOR", "SLAVE MONITOR")
PROBE_GRANTS = ("SELECT", "INSERT", "CREATE", "DROP")
_ALL = "ALL PRIVILEGES"
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>\S+) TO ")


def mover_guard(nodes: Nodes, places: Iterable[Place], wanted: Sequence[str] = MOVER_GRANTS) -> GuardResult:
    """Whether the login may do what the move needs, on every server."""
    lacking: list[str] = []
    for place in places:
        granted = _granted(nodes, place, ("*.*",))
        lacking = [] if _ALL in granted else [one for one in wanted if one not in granted]
        if lacking:
            break
    fix = f"GRANT {', '.join(lacking)} ON *.* TO '{nodes.user}'@'%';"
    return _guard("grants", lacking, ", ".join(wanted), fix)


def probe_guard(probe: Nodes, primary: Place, tables: Tables) -> GuardResult:
    """Whether clients may have their tables."""
    places = ("*.*", f"`{tables.schema}`.*", f"`{tables.schema.replace('_', chr(92) + '_')}`.*")
    granted = _granted(probe, primary, places)
    lacking = [] if _ALL in granted else [one for one in PROBE_GRANTS if one not in granted]
    fix = f"GRANT {', '.join(PROBE_GRANTS)} ON `{tables.schema}`.* TO '{probe.user}'@'%';"
    return _guard("probeWritable", lacking, f"{', '.join(PROBE_GRANTS)} on {tables.schema}.*", fix)


def _granted(nodes: Nodes, place: Place, places: Iterable[str]) -> set[str]:
    with nodes.open(place) as connection, guarded(f"reading the grants of {nodes.user} on {place}"):
        said = [str(row[0]) for row in rows(connection, "SHOW GRANTS")]
    found = [match for line in said if (match := _GRANT.match(line)) and match["where"] in places]
    return {word.strip() for match in found for word in match["what"].split(",")}


def _guard(name: str, lacking: list[str], limit: str, fix: str) -> GuardResult:
    observed = f"lacks {', '.join(lacking)}" if lacking else "granted"
    return GuardResult(name=name, ok=not lacking, observed=observed, limit=limit, message=fix if lacking else None)
