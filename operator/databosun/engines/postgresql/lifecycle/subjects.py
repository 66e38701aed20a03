"""The rows of one person. The key is told to the session once, bound to a statement that does not repeat it; all others
read it from there, so that it stands in no statement that the server shows, counts or logs."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress

from psycopg import sql

from databosun.api.lifecycle import TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.shapes import as_sql

_SETTING = "databosun.subject"
TOLD = sql.SQL("pg_catalog.current_setting('databosun.subject')")
_TEXT = re.compile(r"text|character varying(?:\(\d+\))?")
_BITS = {"smallint": 16, "integer": 32, "bigint": 64}


def tell_subject(connection: Connection, subject: str) -> None:
    """For all that this session does."""
    connection.execute("SELECT pg_catalog.set_config(%s, %s, false) IS NULL", (_SETTING, subject))


def is_subject(table: TableFact, column: str, subject: str) -> sql.Composed:
    """The condition that a column, as text, is the subject's key. Compared by the column's own type besides, where that
    is sure to work, so that an index serves; what cannot be of the type is said here, not by the server."""
    here = sql.Identifier(split(table.name)[1], column)
    kind = next(one.type for one in table.columns if one.name == column)
    # To the byte: a collation, or the type, may take other texts for equal, and their hashes differ.
    same = sql.SQL('({}::text COLLATE "C" = {})').format(here, TOLD)
    if _TEXT.fullmatch(kind):
        return sql.SQL("({} = {} AND {})").format(here, TOLD, same)
    if not _reads(kind, subject):
        message = (
            f"{table.name}.{column} is of type {kind}, and the subject's key in the Secret cannot be read as one; a key"
            " is written as the server writes it, a uuid in lower case"
        )
        raise UserFault(Reason.SUBJECT_DOES_NOT_FIT, message)
    if kind in _BITS or kind == "uuid":
        return sql.SQL("({} = {}::{} AND {})").format(here, TOLD, as_sql(kind), same)
    return same


def _reads(kind: str, subject: str) -> bool:
    """Whether a key can be the text of a value of a type; of others than these nobody can say."""
    if kind in _BITS:
        bound = 1 << (_BITS[kind] - 1)
        return re.fullmatch(r"0|-?[1-9]\d{0,18}", subject) is not None and -bound <= int(subject) < bound
    if kind == "uuid":
        with suppress(ValueError):
            return str(uuid.UUID(subject)) == subject
        return False
    return True
