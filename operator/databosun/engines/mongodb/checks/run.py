"""Which check is what, and what an error in one means: the check failed, in the server's own words."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from pymongo.errors import PyMongoError

from databosun.api.drill import Check, CheckResult, CheckType, Level
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.checking import failed, passed, skipped
from databosun.engines.mongodb.checks.integrity import check_integrity
from databosun.engines.mongodb.checks.queries import check_canary, check_freshness, check_query
from databosun.engines.mongodb.checks.rows import (
    check_row_count,
    check_row_hash,
    check_schema_hash,
    known_objects,
)
from databosun.engines.mongodb.checks.scene import Scene

_ALL_DAY = 86400.0
_NOT_OURS = frozenset({"Interrupted", "DeadlineExceeded"})


def builtin_checks(level: Level, scene: Scene) -> tuple[Check, ...]:
    """What a level stands for; a full is compared with what it counted itself."""
    if level is Level.ARTIFACT:
        return ()
    deep = level is not Level.RESTORE
    known = known_objects(scene)
    checks = [Check(name="server-ready", type=CheckType.SERVER_READY)]
    if deep and scene.backup.schema_hash is not None and len(scene.backups) == 1 and scene.whole:
        checks.append(Check(name="definitions", type=CheckType.SCHEMA_HASH))
    hashed = deep and any(fingerprint for _, fingerprint in known.values())
    kind = CheckType.ROW_HASH if hashed else CheckType.ROW_COUNT
    checks.append(Check(name="documents", type=kind, timeout_seconds=_ALL_DAY))
    if deep:
        checks.append(Check(name="structure", type=CheckType.ENGINE_INTEGRITY, timeout_seconds=_ALL_DAY))
    return tuple(checks)


def run_check(scene: Scene, check: Check) -> CheckResult:
    """Run it; whatever the copy answers is a result. Stopped passes through."""
    try:
        return _CHECKS.get(check.type, _check_nothing)(scene, check)
    except PyMongoError as error:
        said = " ".join(str(error).split())[:500]
        return failed(check, CheckReason.QUERY_FAILED, f"the copy answers: {said}")
    except ValueError as error:
        return failed(check, CheckReason.QUERY_FAILED, str(error))
    except (UserFault, WorldFault) as error:
        if error.reason in _NOT_OURS:
            raise
        return failed(check, CheckReason.QUERY_FAILED, error.message)


def _check_ready(scene: Scene, check: Check) -> CheckResult:
    """Answers, and takes a write, in a database of its own that goes again."""
    name = f"databosun_{secrets.token_hex(8)}"
    with scene.server.client() as client:
        try:
            client[name]["write"].insert_one({"_id": 1})
            written = client[name]["write"].find_one({"_id": 1})
        finally:
            client.drop_database(name)
        databases = ", ".join(scene.databases(client)) or "none"
    if written is None:
        return failed(check, CheckReason.QUERY_FAILED, "the copy answers, but what was written is not there")
    return passed(check, observed=f"{scene.server.program.product}, databases: {databases}")


def _check_nothing(_: Scene, check: Check) -> CheckResult:
    return skipped(check, f"this release has no check of type {check.type} for MongoDB")


_CHECKS: Mapping[CheckType, Callable[[Scene, Check], CheckResult]] = {
    CheckType.SERVER_READY: _check_ready,
    CheckType.SCHEMA_HASH: check_schema_hash,
    CheckType.ROW_COUNT: check_row_count,
    CheckType.ROW_HASH: check_row_hash,
    CheckType.ENGINE_INTEGRITY: check_integrity,
    CheckType.FRESHNESS: check_freshness,
    CheckType.CANARY: check_canary,
    CheckType.QUERY: check_query,
}
