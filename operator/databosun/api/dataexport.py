"""The words of an export of one person's data: what is asked of an agent, and what it reports.

The subject's key stands in none of them: only its keyed hash does.
"""

from __future__ import annotations

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class ExportOrder(Model):
    """One table that the person stands in, by a column, or `keys`, by a pattern of their names. `along`: tables that
    refer to it, whose rows go with them."""

    name: str
    table: str = ""
    column: str = ""
    keys: str | None = None
    along: list[str] = Field(default_factory=list)
    max_rows: int


class ExportFile(Model):
    """The rows of one table in the store."""

    rule: str
    table: str
    rows: int
    name: str = Field(description="As it lies in the folder.")
    bytes: int
    sha256: str
    stored_bytes: int
    stored_sha256: str
    objects: list[str] = Field(description="Its parts, in order.")
    recipients: list[str] = Field(default_factory=list, description="Whom it is encrypted for.")


class ExportResult(Model):
    """What was exported, in one snapshot of the database."""

    id: str
    uid: str
    database: str
    dbname: str
    engine_version: str
    at: Instant = Field(description="When it was read.")
    subject: str = Field(description="Keyed hash of the subject's key.")
    rules: list[ExportOrder]
    folder: str
    files: list[ExportFile]
    notes: list[str] = Field(default_factory=list)
    completed_at: Instant
    expires_at: Instant
    receipt: str | None = Field(default=None, description="Where the receipt is.")
    receipt_sha256: str | None = None
