"""What to do after a restore into a running server."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from databosun.api.result import PlacedResult
from databosun.engines.base import Target
from databosun.engines.postgresql.bridge.names import LONGEST

_SHOWN = 20


def hand_over_steps(placed: Sequence[PlacedResult], target: Target) -> list[str]:
    """Sentences, in order."""
    tables = any(one.table for one in placed)
    return [*(_of_tables(placed) if tables else _of_databases(placed, target)), *_last(placed, tables=tables)]


def _of_databases(placed: Sequence[PlacedResult], target: Target) -> list[str]:
    names = ", ".join(one.at for one in placed[:_SHOWN])
    aside = [one for one in placed if one.before]
    steps = [f"Database {names} is in place at {target.database.name}, analysed; let the applications connect again."]
    if aside:
        was = ", ".join(f"{one.at} is now {one.before}" for one in aside[:_SHOWN])
        steps.append(f"Nothing was dropped: what was {was}. Sessions of it were ended.")
        drops = " ".join(_drop("DATABASE", one.before or "") for one in aside[:_SHOWN])
        steps.append(f"Once nobody needs it any more: {drops}")
        steps.append(
            "Replication slots and subscriptions of a database stay with the one that was put aside; make them anew in "
            "the restored one."
        )
    return steps


def _of_tables(placed: Sequence[PlacedResult]) -> list[str]:
    steps = []
    for one in placed[:_SHOWN]:
        if one.before:
            steps.append(f"{one.table} of {one.database} is restored; what was there is now {one.before}.")
        elif one.at == one.table:
            steps.append(f"{one.table} of {one.database} is back.")
        else:
            steps.append(
                f"{one.table} of {one.database} was left as it is; its restored form is {one.at}: copy from there what "
                "you miss."
            )
    if aside := [one for one in placed if one.before]:
        drops = " ".join(f"DROP TABLE {one.before};" for one in aside[:_SHOWN])
        steps.append(f"Foreign keys of the tables that were put aside still hold; once nobody needs these: {drops}")
    return steps


def _last(placed: Sequence[PlacedResult], *, tables: bool) -> list[str]:
    steps = [] if tables else ["Subscriptions were not restored; unlogged tables are empty."]
    if any(len(f"{one.before or ''}".encode()) == LONGEST for one in placed):
        steps.append("Names of what was put aside were cut to 63 bytes.")
    return [*steps, "Take a full backup once the applications are content."]


def _drop(kind: str, name: str) -> str:
    return sql.SQL("DROP {} {};").format(sql.SQL(kind), sql.Identifier(name)).as_string()
