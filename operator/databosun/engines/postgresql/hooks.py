"""A user's SQL before or after a backup."""

from __future__ import annotations

import psycopg

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backuppolicy import Hook
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.postgresql.connect import Session, abandon, choose_endpoint, connect, open_sql
from databosun.engines.postgresql.faults import psycopg_fault
from databosun.engines.postgresql.reasons import Reason

_CANCELED = "57014"


def run_sql_hook(target: Target, hook: Hook) -> None:
    """Run it on the primary in the target's database (or the maintenance one), within the hook's timeout.

    UserFault(HookFailed | HookTimeout) where the statement is at fault, WorldFault where the server went away.
    """
    if hook.sql is None:
        raise UserFault(Reason.HOOK_FAILED, f"hook {hook.name} has no sql; expected one of sql and exec")
    session = Session(target, choose_endpoint(target, prefer_standby=False))
    with open_sql(session) as found:
        dbname = found.info.dbname
    milliseconds = int(parse_duration(hook.timeout).total_seconds() * 1000)
    connection = connect(target, session.endpoint, dbname)
    try:
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(milliseconds),))
        connection.execute(hook.sql.encode())
    except psycopg.Error as error:
        raise _fault(hook, error) from error
    finally:
        abandon(connection)


def _fault(hook: Hook, error: psycopg.Error) -> Exception:
    if error.sqlstate == _CANCELED:
        return UserFault(
            Reason.HOOK_TIMEOUT,
            f"hook {hook.name} took longer than its timeout of {hook.timeout}; raise it or make the SQL shorter",
        )
    if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        return psycopg_fault(error, f"hook {hook.name}")
    return UserFault(
        Reason.HOOK_FAILED,
        f"hook {hook.name}: {' '.join(str(error).split())} (SQLSTATE {error.sqlstate}); correct its sql",
    )
