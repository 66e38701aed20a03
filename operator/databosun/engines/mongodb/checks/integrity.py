"""The structure of every collection and index, by the server's own `validate`: what is damaged is named."""

from __future__ import annotations

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import failed, passed
from databosun.engines.mongodb.checks.scene import Scene

_NAMED = 5


def check_integrity(scene: Scene, check: Check) -> CheckResult:
    """Every document and every key of every index."""
    wrong: list[str] = []
    count = indexes = 0
    with scene.server.client() as client:
        for one in scene.collections(client):
            if not one.has_data:
                continue
            scene.pulse()
            found = client[one.database].command({"validate": one.data_name, "full": True})
            count, indexes = count + 1, indexes + int(found.get("nIndexes") or 0)
            if not found.get("valid"):
                said = "; ".join(str(word) for word in found.get("errors") or ["it is not valid"])
                wrong.append(f"{one.full_name}: {said}")
    if wrong:
        message = f"validate finds {len(wrong)} damaged collections: {'; '.join(wrong[:_NAMED])}"
        return failed(check, CheckReason.DATA_DAMAGED, message, observed=f"{len(wrong)} damaged collections")
    return passed(check, observed=f"{count} collections, {indexes} indexes")
