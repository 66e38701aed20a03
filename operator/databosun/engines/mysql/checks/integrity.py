"""The structure of every table and index, by the server's own CHECK TABLE: what is damaged is named."""

from __future__ import annotations

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import failed, passed
from databosun.engines.mysql.checks.scene import Scene
from databosun.engines.mysql.connect import quote, rows
from databosun.engines.mysql.fingerprint import list_tables

_NAMED = 5
_TOLD = frozenset({"note", "info"})


def check_integrity(scene: Scene, check: Check) -> CheckResult:
    """Every row of every index of every table."""
    connection = scene.server.connect()
    found: list[str] = []
    try:
        tables = list_tables(connection, scene.schemas(connection))
        for table in tables:
            scene.pulse()
            said = rows(connection, f"CHECK TABLE {quote(table.schema)}.{quote(table.name)} EXTENDED")
            found += [f"{name}: {text}" for name, _, kind, text in said if not _well(str(kind).lower(), str(text))]
    finally:
        connection.close()
    if found:
        message = f"CHECK TABLE finds {len(found)} faults: {'; '.join(found[:_NAMED])}"
        return failed(check, CheckReason.DATA_DAMAGED, message, observed=f"{len(found)} faults")
    return passed(check, observed=f"{len(tables)} tables with their indexes")


def _well(kind: str, text: str) -> bool:
    return text == "OK" if kind == "status" else kind in _TOLD
