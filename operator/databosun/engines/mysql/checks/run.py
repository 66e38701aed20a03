"""Which check is what, and what an error in one means: the check failed, in the server's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pymysql

from databosun.api.drill import Check, CheckResult, CheckType, Level
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.checking import failed, passed, skipped
from databosun.engines.mysql.checks.integrity import check_integrity
from databosun.engines.mysql.checks.queries import check_canary, check_freshness, check_query
from databosun.engines.mysql.checks.rows import check_row_count, check_row_hash, check_schema_hash
from databosun.engines.mysql.checks.scene import Scene
from databosun.engines.mysql.connect import one
from databosun.engines.mysql.faults import number_of

_ALL_DAY = 86400.0
# Index or table corrupt, table crashed, incorrect key file: what the server says of data that is not as it wrote it.
_DAMAGE = frozenset({126, 127, 1034, 1035, 1194, 1195, 1712, 1877, 1932})
_NOT_OURS = frozenset({"Interrupted", "DeadlineExceeded"})


def builtin_checks(level: Level, scene: Scene) -> tuple[Check, ...]:
    """What a level stands for; a full is compared with what its own snapshot held."""
    if level is Level.ARTIFACT:
        return ()
    deep = level is not Level.RESTORE
    checks = [Check(name="server-ready", type=CheckType.SERVER_READY)]
    if deep and scene.backup.schema_hash is not None:
        checks.append(Check(name="schema", type=CheckType.SCHEMA_HASH))
    hashed = deep and any(fingerprint for _, fingerprint in scene.backup.objects.values())
    kind = CheckType.ROW_HASH if hashed else CheckType.ROW_COUNT
    checks.append(Check(name="rows", type=kind, timeout_seconds=_ALL_DAY))
    if deep:
        checks.append(Check(name="structure", type=CheckType.ENGINE_INTEGRITY, timeout_seconds=_ALL_DAY))
    return tuple(checks)


def run_check(scene: Scene, check: Check) -> CheckResult:
    """Run it; whatever the copy answers is a result. Stopped passes through."""
    try:
        return _CHECKS.get(check.type, _check_nothing)(scene, check)
    except pymysql.MySQLError as error:
        number = number_of(error)
        said = " ".join(" ".join(str(part) for part in error.args).split())
        reason = CheckReason.DATA_DAMAGED if number in _DAMAGE else CheckReason.QUERY_FAILED
        return failed(check, reason, f"the copy answers: {said}")
    except ValueError as error:
        return failed(check, CheckReason.QUERY_FAILED, str(error))
    except (UserFault, WorldFault) as error:
        if error.reason in _NOT_OURS:
            raise
        return failed(check, CheckReason.QUERY_FAILED, error.message)


def _check_ready(scene: Scene, check: Check) -> CheckResult:
    """Answers, takes a write, and has its schemas."""
    connection = scene.server.connect(read_only=False)
    try:
        schemas = scene.schemas(connection)
        if schemas:
            connection.select_db(schemas[0])
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMPORARY TABLE databosun_write AS SELECT 1 AS one")
                cursor.execute("DROP TEMPORARY TABLE databosun_write")
        (version,) = one(connection, "SELECT VERSION()")
    finally:
        connection.close()
    missing = sorted(set(scene.backup.schemas) - set(schemas)) if scene.all_of_it else []
    if missing:
        message = f"databases of the backup are not in the copy: {', '.join(missing)}"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=", ".join(schemas))
    return passed(check, observed=f"{scene.server.dialect.name} {version}, databases {', '.join(schemas) or 'none'}")


def _check_nothing(scene: Scene, check: Check) -> CheckResult:
    return skipped(check, f"this release has no check of type {check.type} for {scene.server.dialect.name}")


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
