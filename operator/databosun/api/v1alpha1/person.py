"""Where a person stands: a column of a table, or the names of keys; alike for those who erase and those who export."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.lifecyclekeys import KeyPattern
from databosun.api.v1alpha1.lifecyclepolicy import Column, Table
from databosun.api.v1alpha1.schema import cel

PersonTable = Annotated[
    Table,
    Field(
        description="The table, such as public.customers; of a partitioned one all its partitions; of MongoDB the"
        " collection. With column."
    ),
]
PersonColumn = Annotated[
    Column,
    Field(
        description="Column that holds the subject's key: rows are taken where it is, as text and to the letter, what"
        " the Secret says. Of MongoDB a field, dotted where it lies within another."
    ),
]
PersonPattern = Annotated[
    KeyPattern,
    Field(
        description="Of Redis, in place of table and column: a pattern of the names of keys with $(subject) where the"
        " subject's key stands, such as user:$(subject):*. It stands there once, no * before it, and beside it"
        " plain characters: the key ends at the first such character."
    ),
]
PERSON_RULES = (
    cel("has(self.table) != has(self.keyPattern)", "exactly one of table and keyPattern is required"),
    cel("has(self.table) == has(self.column)", "column goes with table, and is required there"),
    cel(
        "!has(self.keyPattern) || self.keyPattern.contains('$(subject)')",
        "keyPattern needs $(subject) where the subject's key stands",
    ),
)
