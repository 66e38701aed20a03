"""What differs between a database and a copy of it from the past."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Identifier, Line, Message, Time, first
from databosun.api.v1alpha1.schema import WHOLE

MAX_TABLES = 500


class TableState(StrEnum):
    """What became of a table since."""

    LOST = "Lost"
    NEW = "New"
    DIFFERS = "Differs"
    SAME = "Same"
    NOT_COMPARED = "NotCompared"


class TableDifference(Model):
    """One table. Counts of rows alone: no value of a row leaves the database."""

    table: Line = Field(description="Its name, as database.schema.table.")
    state: TableState = Field(
        description="Lost: in the copy only. New: in the database only. Differs, Same: by its rows. NotCompared: see"
        " message."
    )
    copy_rows: int | None = Field(default=None, description="Rows in the copy.")
    live_rows: int | None = Field(default=None, description="Rows in the database.")
    lost: int | None = Field(default=None, description="Rows of the copy that the database has not, by primary key.")
    added: int | None = Field(default=None, description="Rows of the database that the copy has not.")
    changed: int | None = Field(default=None, description="Rows that both have under one key, with other contents.")
    message: Line | None = Field(default=None, description="What else is to be known.")


class Comparison(Model):
    """What was compared, and what differs: the tables that differ first."""

    backup: Identifier = Field(description="The Backup that the copy was made from.")
    copy_at: Time | None = Field(default=None, description="The instant that the copy shows, as far as it is known.")
    live_at: Time = Field(description="When the database was looked at.")
    host: Line = Field(description="The server that was looked at.")
    reached: Position | None = Field(default=None, description="The position that the copy was recovered to.")
    counts: Annotated[dict[str, int], Field(max_length=8)] = Field(
        default_factory=dict, description="Tables by state; of all tables, also of those not listed."
    )
    tables: Annotated[list[TableDifference], Field(max_length=MAX_TABLES), WHOLE, first(MAX_TABLES)] = Field(
        default_factory=list, description="The first 500."
    )
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What is otherwise than in the original, and what was left out."
    )
