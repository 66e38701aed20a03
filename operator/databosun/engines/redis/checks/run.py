"""Which check is what, and what an error in one means: the check failed, in the server's own words."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from databosun.api.drill import Check, CheckResult, CheckType, Level
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.checking import failed, passed, skipped
from databosun.engines.redis.checks.keys import check_key_count, check_names
from databosun.engines.redis.checks.queries import check_canary, check_freshness, check_query
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.recovery.private import FILE
from databosun.engines.redis.recovery.programs import check_rdb
from databosun.engines.redis.resp import ReplyError

_NOT_OURS = frozenset({"Interrupted", "DeadlineExceeded"})
LONG = 86400.0


def builtin_checks(level: Level, scene: Scene) -> tuple[Check, ...]:
    """What a level stands for: counts are exact, since the backup counted its own stream; names are compared where
    nothing was replayed behind it."""
    if level is Level.ARTIFACT:
        return ()
    checks = [
        Check(name="server-ready", type=CheckType.SERVER_READY),
        Check(name="keys", type=CheckType.ROW_COUNT, timeout_seconds=LONG),
    ]
    if level is not Level.RESTORE:
        checks.append(Check(name="structure", type=CheckType.ENGINE_INTEGRITY, timeout_seconds=LONG))
        if scene.backup.names and not scene.server.replay:
            checks.append(Check(name="names", type=CheckType.ROW_HASH, timeout_seconds=LONG))
    return tuple(checks)


def run_check(scene: Scene, check: Check) -> CheckResult:
    """Run it; whatever the copy answers is a result. Stopped passes through."""
    try:
        return _CHECKS[check.type](scene, check)
    except ReplyError as error:
        return failed(check, CheckReason.QUERY_FAILED, f"the copy answers: {error}")
    except ValueError as error:
        return failed(check, CheckReason.QUERY_FAILED, str(error))
    except (UserFault, WorldFault) as error:
        if error.reason in _NOT_OURS:
            raise
        return failed(check, CheckReason.QUERY_FAILED, error.message)


def _check_ready(scene: Scene, check: Check) -> CheckResult:
    """Answers, took every command of the log, and takes a write; what is written is not kept, as nothing of it is."""
    name = f"databosun:{secrets.token_hex(16)}"
    with scene.connect() as wire:
        wire.call("SET", name, "1")
        found = wire.call("GET", name)
        wire.call("DEL", name)
    if found != b"1":
        return failed(check, CheckReason.QUERY_FAILED, "the copy answers, but takes no write", observed=str(found))
    if scene.refused:
        message = (
            f"the copy refused commands of the log, which the source had taken: {scene.refused}; so it holds other "
            "data: choose a point before, or follow RESTORE.md"
        )
        return failed(check, CheckReason.DATA_DAMAGED, message)
    databases = ", ".join(str(number) for number in sorted(scene.loaded)) or "none"
    return passed(check, observed=f"{scene.server.program.label}, databases with keys: {databases}")


def _check_integrity(scene: Scene, check: Check) -> CheckResult:
    """The server's own checker reads every object, and the checksum."""
    code, said = check_rdb(scene.server.program, scene.server.data / FILE, scene.server.folder, scene.pulse)
    words = " | ".join(line for line in said.splitlines()[-6:])
    if code:
        return failed(check, CheckReason.DATA_DAMAGED, f"{FILE} is damaged: {words}")
    return passed(check, observed=words[:500])


def _check_schema(scene: Scene, check: Check) -> CheckResult:
    return skipped(check, f"{scene.backup.product} has no definitions to compare")


def _check_collation(scene: Scene, check: Check) -> CheckResult:
    return skipped(check, f"{scene.backup.product} sorts by bytes, the same everywhere")


def _check_extensions(scene: Scene, check: Check) -> CheckResult:
    return skipped(check, "a backup with data of modules is refused when it is taken")


def _check_program(scene: Scene, check: Check) -> CheckResult:
    message = f"a check of type Job looks at copies of PostgreSQL alone; ask {scene.backup.product} with type Query"
    return failed(check, CheckReason.PROGRAM_FAILED, message)


_CHECKS: Mapping[CheckType, Callable[[Scene, Check], CheckResult]] = {
    CheckType.SERVER_READY: _check_ready,
    CheckType.SCHEMA_HASH: _check_schema,
    CheckType.ROW_COUNT: check_key_count,
    CheckType.ROW_HASH: check_names,
    CheckType.ENGINE_INTEGRITY: _check_integrity,
    CheckType.FRESHNESS: check_freshness,
    CheckType.CANARY: check_canary,
    CheckType.QUERY: check_query,
    CheckType.JOB: _check_program,
    CheckType.COLLATION: _check_collation,
    CheckType.EXTENSIONS: _check_extensions,
}
