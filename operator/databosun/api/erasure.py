"""The words of an erasure: what an agent reports of one, and what the ledger of a store keeps of it.

The subject's key stands in none of them: only its keyed hash does.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.lifecycle import LifecycleOrder
from databosun.api.lifecycleresult import LifecycleResult
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class ErasureEntry(Model):
    """What the ledger says of one erasure, written before a row is touched: every restore finds the subject by it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["Erasure"] = "Erasure"
    id: str = Field(description="Name of the ErasureRequest.")
    uid: str
    database: str = Field(description="Name of the Database.")
    database_uid: str
    system: str | None = Field(default=None, description="The server's own identity.")
    dbname: str = Field(description="Database of the server that holds the tables.")
    subject: str = Field(description="Keyed hash of the subject's key.")
    key_check: str = Field(description="Keyed hash of a known text: tells whether a key is the right one.")
    at: Instant
    approved: str = Field(description="Hash of the plan.")
    order: LifecycleOrder


class ErasureDone(Model):
    """Says that no row with the subject was left: what is restored to a later instant holds none of that time."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["ErasureDone"] = "ErasureDone"
    id: str
    uid: str
    entry_sha256: str
    verified_at: Instant


class ErasureResult(LifecycleResult):
    """A look has facts and no outcomes. An erasure has both, and `verified_at` once no row with the subject is left.
    `plan_hash` covers the subject and the request besides the plan itself."""

    uid: str
    subject: str = Field(description="Keyed hash of the subject's key.")
    verified_at: Instant | None = None
    entry: str | None = Field(default=None, description="Where the ledger's entry is.")
    receipt: str | None = Field(default=None, description="Where the receipt is.")
    receipt_sha256: str | None = None
