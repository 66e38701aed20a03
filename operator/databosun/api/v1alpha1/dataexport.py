"""DataExport: all rows of one person, handed over as JSON in the store. Asked once, carried out once; it expires."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate, SecretKeyRef
from databosun.api.v1alpha1.fields import Identifier, Line, Message, PositiveDuration, ShortName, Time, first
from databosun.api.v1alpha1.lifecyclepolicy import Table
from databosun.api.v1alpha1.person import PERSON_RULES, PersonColumn, PersonPattern, PersonTable
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.run import Failure, RunStatus
from databosun.api.v1alpha1.schema import UNIQUE, WHOLE, cel, one_each, rules

MAX_FILES = 256


class ExportPhase(StrEnum):
    """Where an export stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


EXPORT_FINAL = frozenset(ExportPhase) - {ExportPhase.PENDING, ExportPhase.RUNNING}


class ExportRule(Model):
    """One table that the person stands in, or the keys of Redis in whose names they do."""

    model_config = rules(
        *PERSON_RULES,
        cel(
            "!has(self.keyPattern) || !has(self.along) || size(self.along) == 0",
            "nothing refers to keys: along is not for keyPattern",
        ),
    )
    name: ShortName = Field(description="Its name, unique in the export; stands in the receipt.")
    table: PersonTable | None = None
    column: PersonColumn | None = None
    key_pattern: PersonPattern | None = None
    along: Annotated[list[Table], Field(max_length=32), UNIQUE] = Field(
        default_factory=list,
        description="Tables whose rows are exported along: those that refer to the person's by a foreign key, in the"
        " end. Tables that refer and are not listed are named in status.notes.",
    )
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=10_000,
        description="More rows than these with one key are hardly one person's: then nothing is exported.",
    )


class DataExportSpec(Model):
    """Whose data are to be exported, and from where; immutable."""

    model_config = rules(
        cel("self == oldSelf", "a DataExport is carried out once: its spec cannot be changed; create another one")
    )
    database_ref: LocalRef = Field(description="The Database that the person stands in. It is only read.")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description="Database of the server that holds the tables. Absent: connection.database of the Database, or the"
        " only one that is no template.",
    )
    storage_ref: LocalRef = Field(
        description="The BackupStorage that takes the export, encrypted as it encrypts backups, and the receipt; it"
        " must name spec.erasure.keySecretRef, by which the receipt tells people apart."
    )
    subject_secret_ref: SecretKeyRef = Field(
        description="Secret key with the subject's key, as the columns hold it. It is read by the Job alone."
    )
    rules: Annotated[list[ExportRule], Field(min_length=1, max_length=32), one_each("name")] = Field(
        description="The tables."
    )
    expires_after: PositiveDuration = Field(
        default="30d",
        description="How long the export lies in the store, at most 1y; the receipt stays. It is removed by the storage"
        "'s daily sweep.",
    )
    not_after: Time = Field(
        description="The export does not start after this (at most a day ahead), so that one that is re-applied, or"
        " came back with a cluster's backup, exports nothing."
    )
    start_deadline: PositiveDuration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="2h", description="How long one attempt may take at most.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Job's pod.")


class ExportedFile(Model):
    """The rows of one table."""

    rule: ShortName = Field(description="The rule that it is of.")
    table: Line = Field(description="The table, with its schema.")
    rows: int = Field(description="How many rows are in it.")
    name: Line = Field(description="The file, as it lies in the export's folder, without the numbers of its parts.")
    bytes: int = Field(description="Of its lines, before they were compressed.")
    sha256: Identifier = Field(description="Of its lines, before they were compressed and encrypted.")


class DataExportStatus(RunStatus):
    """What was exported; written by the operator alone. Neither the subject's key nor a value of a row is in it."""

    phase: ExportPhase | None = Field(
        default=None,
        description="Where it stands. Succeeded: all rows were written and read back. Refused: a precondition is"
        " missing, and nothing was exported.",
    )
    subject: Identifier | None = Field(default=None, description="Keyed hash of the subject's key (HMAC-SHA-256).")
    rows: int | None = Field(default=None, description="Rows in all files.")
    folder: Line | None = Field(default=None, description="Where the files lie.")
    files: Annotated[list[ExportedFile], Field(max_length=MAX_FILES), WHOLE, first(MAX_FILES)] | None = Field(
        default=None, description="A file for each table of each rule."
    )
    completion_time: Time | None = Field(default=None, description="When it was done.")
    duration: Identifier | None = Field(default=None, description="From start to end, such as 4m12s.")
    expires_time: Time | None = Field(default=None, description="When the files may be removed.")
    receipt: StoredRecord | None = Field(
        default=None, description="The receipt in the store: tables, rows, digests and times, and no personal data."
    )
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What else is to be known, such as tables that were left out."
    )
    failure: Failure | None = Field(default=None, description="Why it did not succeed and what to do about it.")
