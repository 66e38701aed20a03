"""A user's SQL before or after a backup."""

from __future__ import annotations

import pymysql

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backuppolicy import Hook
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Target
from databosun.engines.mysql.connect import Session, limit_statements, opened
from databosun.engines.mysql.faults import driver_fault, number_of
from databosun.engines.mysql.server import choose_primary

_TOO_LONG = frozenset({1317, 1969, 3024})
_LOST = 2013
_GONE = frozenset({0, 1053, 1927, 2003, 2006, 2013, 2055})


def run_sql_hook(target: Target, hook: Hook) -> None:
    """Run it on the primary, in the target's database where it names one, within the hook's timeout.

    UserFault(HookFailed | HookTimeout) where the statement is at fault, WorldFault where the server went away.
    """
    if hook.sql is None:
        raise UserFault(Reason.HOOK_FAILED, f"hook {hook.name} has no sql; expected one of sql and exec")
    session = Session(target, choose_primary(target))
    try:
        with opened(session, read_only=False) as connection:
            if target.database.database:
                connection.select_db(target.database.database)
            limit_statements(connection, session.dialect, parse_duration(hook.timeout).total_seconds())
            with connection.cursor() as cursor:
                cursor.execute(hook.sql)
    except pymysql.MySQLError as error:
        raise _fault(hook, error) from error


def _fault(hook: Hook, error: pymysql.MySQLError) -> DatabosunError:
    number = number_of(error)
    if number in _TOO_LONG or (number == _LOST and "timed out" in str(error)):
        message = f"hook {hook.name} took longer than its timeout of {hook.timeout}; raise it or make the SQL shorter"
        return UserFault(Reason.HOOK_TIMEOUT, message)
    if number in _GONE:
        return driver_fault(error, f"hook {hook.name}")
    said = " ".join(str(part) for part in error.args[1:])
    return UserFault(Reason.HOOK_FAILED, f"hook {hook.name}: {said} (error {number}); correct its sql")
