"""Which check is what, and what an error in one means: the check failed, in the server's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg

from databosun.api.drill import Check, CheckResult, CheckType, Level, Severity
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.drill import CheckReason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.checking import failed, passed
from databosun.engines.postgresql.checks.environment import check_collation, check_extensions
from databosun.engines.postgresql.checks.integrity import check_integrity
from databosun.engines.postgresql.checks.program import check_program
from databosun.engines.postgresql.checks.queries import check_canary, check_freshness, check_query
from databosun.engines.postgresql.checks.rows import check_row_count, check_row_hash, check_schema_hash
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.recovery.facts import Backup


def builtin_checks(level: Level, backup: Backup) -> tuple[Check, ...]:
    """What a level stands for; a dump is compared with what its own snapshot held."""
    if level is Level.ARTIFACT:
        return ()
    dumped = backup.method is Method.LOGICAL
    deep = level is not Level.RESTORE
    checks = [
        Check(name="server-ready", type=CheckType.SERVER_READY),
        Check(name="extensions", type=CheckType.EXTENSIONS, severity=Severity.WARNING),
        Check(name="collations", type=CheckType.COLLATION, severity=Severity.WARNING),
    ]
    if dumped and deep:
        checks.append(Check(name="schema", type=CheckType.SCHEMA_HASH))
        checks.append(Check(name="rows", type=CheckType.ROW_HASH, timeout_seconds=86400))
    else:
        checks.append(Check(name="rows", type=CheckType.ROW_COUNT, timeout_seconds=86400))
    if deep:
        checks.append(Check(name="structure", type=CheckType.ENGINE_INTEGRITY, timeout_seconds=86400))
    return tuple(checks)


def run_check(scene: Scene, check: Check) -> CheckResult:
    """Run it; whatever the copy answers is a result. Stopped passes through."""
    try:
        return _CHECKS[check.type](scene, check)
    except psycopg.Error as error:
        said = " ".join(str(error.diag.message_primary or error).split())
        code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        return failed(check, _meaning(error), f"the copy answers: {said}{code}")
    except ValueError as error:
        return failed(check, CheckReason.QUERY_FAILED, str(error))
    except (UserFault, WorldFault) as error:
        if isinstance(error, DatabosunError) and error.reason in _NOT_OURS:
            raise
        return failed(check, CheckReason.QUERY_FAILED, error.message)


_NOT_OURS = frozenset({"Interrupted", "DeadlineExceeded"})


def _meaning(error: psycopg.Error) -> CheckReason:
    """Class XX is what the server says of data that is not as it wrote it."""
    return CheckReason.DATA_DAMAGED if (error.sqlstate or "").startswith("XX") else CheckReason.QUERY_FAILED


def _check_ready(scene: Scene, check: Check) -> CheckResult:
    """Answers, takes a write, and has its databases."""
    databases = scene.databases()
    with scene.connect("template1", read_only=False) as connection:
        connection.execute("CREATE TEMPORARY TABLE databosun_write AS SELECT 1 AS one")
        row = connection.execute(
            "SELECT count(*), pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version') "
            "FROM databosun_write"
        ).fetchone()
    if row is None or row[0] != 1 or row[1]:
        return failed(check, CheckReason.QUERY_FAILED, "the copy answers, but takes no write", observed=str(row))
    missing = _missing(scene)
    names = sorted(missing)
    if missing and not scene.replayed_log:
        message = f"databases of the original are not in the copy: {', '.join(names)}"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=", ".join(databases))
    if lost := [name for name in names if _has_files(scene, missing[name])]:
        message = f"the copy lists no database {', '.join(lost)}, though its files are there: it was never dropped"
        return failed(check, CheckReason.SCHEMA_DIFFERS, message, observed=", ".join(databases))
    since = f"; dropped since the backup: {', '.join(names)}" if missing else ""
    return passed(check, observed=f"PostgreSQL {row[2]}, databases {', '.join(databases)}{since}")


def _missing(scene: Scene) -> Mapping[str, int | None]:
    """Name and oid of databases that were there when a physical backup began and when it ended (`kept`; older backups
    do not say), and are not in the copy. Told by the oid, where the backup knows it: a name may change meanwhile."""
    if scene.backup.method is not Method.PHYSICAL:
        return {}
    found = scene.backup.databases
    wanted = [one for one in found if one.get("connectable") and not one.get("template") and one.get("kept", True)]
    there = scene.all_databases()
    oids = {str(one["name"]): int(one["oid"]) if "oid" in one else None for one in wanted}
    return {name: oid for name, oid in oids.items()
            if (name not in there.values() if oid is None else there.get(oid) is None)}  # fmt: skip


def _has_files(scene: Scene, oid: int | None) -> bool:
    """Whether a database's folder is still there, in the default tablespace or another: to drop it removes that."""
    data = scene.server.data
    return oid is not None and any(any(data.glob(pattern)) for pattern in (f"base/{oid}", f"pg_tblspc/*/*/{oid}"))


_CHECKS: Mapping[CheckType, Callable[[Scene, Check], CheckResult]] = {
    CheckType.SERVER_READY: _check_ready,
    CheckType.SCHEMA_HASH: check_schema_hash,
    CheckType.ROW_COUNT: check_row_count,
    CheckType.ROW_HASH: check_row_hash,
    CheckType.ENGINE_INTEGRITY: check_integrity,
    CheckType.FRESHNESS: check_freshness,
    CheckType.CANARY: check_canary,
    CheckType.QUERY: check_query,
    CheckType.JOB: check_program,
    CheckType.COLLATION: check_collation,
    CheckType.EXTENSIONS: check_extensions,
}
