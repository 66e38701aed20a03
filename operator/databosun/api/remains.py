"""The words of a look through a store for copies from before an erasure: what the agent is told, what it found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.fields import Instant, Line, first

MOST_MARKS = 12_000
MOST_NAMED = 5
MOST_LOGS = 8


class RemainsTask(Model):
    """Look through a store for data of a database that were taken before an erasure; changes nothing."""

    task: Literal["remains"] = "remains"
    database: str = Field(description="Name of the Database.")
    database_uid: str | None = None
    engine: EngineName | None = Field(default=None, description="Its engine; absent: not known any more.")
    systems: list[str] = Field(default_factory=list, description="Servers that the Database or its backups name.")
    others: dict[str, str] = Field(
        default_factory=dict, description="Servers of the other Databases of the namespace, by their names."
    )
    until: Instant = Field(description="Data that somebody began to take later hold nobody.")
    marks: Annotated[list[str], Field(max_length=MOST_MARKS)] = Field(
        default_factory=list,
        description="What Backup objects stand for, and is not to be counted (`copy_mark` in domain/remains.py).",
    )


class RemainsResult(Model):
    """What lies in the store and no mark stands for."""

    looked_at: int = Field(default=0, description="Folders of backups that were looked at.")
    copies: int = Field(default=0, description="Backups.")
    leftovers: int = Field(default=0, description="Folders with data of a run that failed, or was deleted halfway.")
    named: Annotated[list[Line], first(MOST_NAMED)] = Field(default_factory=list, description="The first of both.")
    logs: Annotated[list[Line], first(MOST_LOGS)] = Field(
        default_factory=list, description="Logs of servers that reach back to before."
    )
