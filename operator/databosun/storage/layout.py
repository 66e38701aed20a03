"""Every name in the bucket but those of a log, built and parsed here and nowhere else (`docs/concepts/bucket.md`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from databosun.storage.names import NAME, artefact_name, whole
from databosun.storage.walnames import WalFolder

BackupId = NewType("BackupId", str)

LAYOUT_VERSION = 1
VOLUME_BYTES = 32 * 1024**3
MANIFEST = "manifest.json"
RESTORE_DOC = "RESTORE.md"
HOLD = "hold.json"
OWNER = "databosun.json"
EVIDENCE = "evidence.json"
RESULT = "result.json"
LEDGER = "ledger.jsonl.zst"
ENTRY, DONE = "entry.json", "done.json"

_ATTEMPT = re.compile(r"a([1-9][0-9]?)")
_VOLUME = re.compile(r"(.+)\.([0-9]{4,})")
_LOG_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Kind(StrEnum):
    """What an object of the bucket is."""

    OWNER = "Owner"
    CHECK = "Check"
    LOG = "Log"
    MANIFEST = "Manifest"
    RESTORE_DOC = "RestoreDoc"
    HOLD = "Hold"
    ARTEFACT = "Artefact"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Located:
    """A key, understood. `name` is the artefact's own, without its volume number."""

    kind: Kind
    database: str | None = None
    id: BackupId | None = None
    attempt: int | None = None
    name: str | None = None
    volume: int | None = None


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """The folder of one backup."""

    root: str

    @property
    def manifest(self) -> str:
        """The object whose presence makes this a backup."""
        return f"{self.root}/{MANIFEST}"

    @property
    def restore_doc(self) -> str:
        """How to restore this backup by hand."""
        return f"{self.root}/{RESTORE_DOC}"

    @property
    def hold(self) -> str:
        """Present while a legal hold lies on the backup."""
        return f"{self.root}/{HOLD}"

    def attempt(self, number: int) -> str:
        """The folder that one attempt has to itself."""
        return f"{self.root}/a{number}"

    def stored(self, attempt: int, name: str) -> str:
        """One stored object of an attempt, by its name there."""
        return f"{self.attempt(attempt)}/{artefact_name(name)}"


@dataclass(frozen=True, slots=True)
class LifecycleFolder:
    """The folder of one enforced run of a lifecycle."""

    root: str

    @property
    def result(self) -> str:
        """What the run did: written once, last."""
        return f"{self.root}/{RESULT}"

    @property
    def audit(self) -> str:
        """The folder of the audit's links."""
        return f"{self.root}/audit"

    def link(self, number: int) -> str:
        """One link of the audit: written once, never changed."""
        return f"{self.audit}/{number:06d}.json"

    def keys(self, number: int) -> str:
        """The keyed hashes of the rows that a link is about."""
        return f"{self.audit}/{number:06d}.keys.zst"

    def attempt(self, number: int) -> str:
        """The folder that one attempt has to itself."""
        return f"{self.root}/a{number}"

    def archive(self, attempt: int, rule: str) -> str:
        """Where an attempt archives the rows of a rule."""
        return f"{self.attempt(attempt)}/archive/{whole(NAME, rule, 'a rule')}"


@dataclass(frozen=True, slots=True)
class ErasureFolder:
    """What the ledger of a namespace keeps of one erasure: each of them written once, never changed."""

    root: str

    @property
    def entry(self) -> str:
        """Whom it is about, by a keyed hash, and what is done: written before anything is."""
        return f"{self.root}/{ENTRY}"

    @property
    def done(self) -> str:
        """Present once no row with the subject was left."""
        return f"{self.root}/{DONE}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of one namespace's part of a bucket or volume."""

    prefix: str
    namespace: str

    def __post_init__(self) -> None:
        whole(NAME, self.namespace, "a namespace")
        if any(part in {"", ".", ".."} for part in self.prefix.strip("/").split("/")) and self.prefix.strip("/"):
            msg = f"prefix {self.prefix!r} has an empty or relative part; expected plain folder names"
            raise ValueError(msg)

    @property
    def root(self) -> str:
        """The folder of this namespace, without a slash at either end."""
        return f"{self.prefix.strip('/')}/{self.namespace}".lstrip("/")

    @property
    def owner(self) -> str:
        """The marker that says which cluster owns this folder."""
        return f"{self.root}/{OWNER}"

    def check(self, name: str) -> str:
        """An object of a storage validation."""
        return f"{self.root}/_check/{whole(_LOG_PART, name, 'a name')}"

    def log(self, engine: str, system_id: str) -> str:
        """The folder of one server's log (WAL, binlog, oplog, replication stream)."""
        of = whole(_LOG_PART, engine.lower(), "an engine")
        return f"{self.root}/_log/{of}/{whole(_LOG_PART, system_id, 'a system id')}"

    def wal(self, system_id: str, engine: str = "PostgreSQL") -> WalFolder:
        """The log of one server."""
        return WalFolder(self.log(engine, system_id))

    def backups(self, database: str) -> str:
        """The folder of all backups of one database."""
        return f"{self.root}/{whole(NAME, database, 'a database')}/backups"

    def backup(self, database: str, backup_id: str) -> BackupFolder:
        """The folder of one backup."""
        return BackupFolder(f"{self.backups(database)}/{whole(NAME, backup_id, 'a backup id')}")

    def drills(self, database: str) -> str:
        """The folder of all drills of one database."""
        return f"{self.root}/{whole(NAME, database, 'a database')}/drills"

    def drill(self, database: str, run: str) -> str:
        """The evidence of one drill: written once, never changed."""
        return f"{self.drills(database)}/{whole(NAME, run, 'a drill')}/{EVIDENCE}"

    def failover(self, database: str, run: str) -> str:
        """The evidence of one failover test: written once, never changed."""
        return f"{self._failover(database, run)}/{EVIDENCE}"

    def ledger(self, database: str, run: str) -> str:
        """Every write of one failover test, and what was read back: written once, never changed."""
        return f"{self._failover(database, run)}/{LEDGER}"

    def _failover(self, database: str, run: str) -> str:
        of = whole(NAME, database, "a database")
        return f"{self.root}/{of}/failovers/{whole(NAME, run, 'a failover test')}"

    def joint(self, run: str) -> str:
        """The evidence of one drill of many databases: written once, never changed."""
        return f"{self.root}/_drills/{whole(NAME, run, 'a drill')}/{EVIDENCE}"

    def lifecycle(self, database: str, run: str) -> LifecycleFolder:
        """What a run of a lifecycle archived, and its audit."""
        of = whole(NAME, database, "a database")
        return LifecycleFolder(f"{self.root}/{of}/lifecycle/{whole(NAME, run, 'a run')}")

    @property
    def erasures(self) -> str:
        """The ledger of all erasures of this namespace: backups of one server may lie in several folders."""
        return f"{self.root}/_erasures"

    def erased(self, run: str) -> ErasureFolder:
        """What the ledger keeps of one erasure."""
        return ErasureFolder(f"{self.erasures}/{whole(NAME, run, 'an erasure')}")

    def erasure(self, database: str, run: str) -> LifecycleFolder:
        """The audit and the receipt of one erasure."""
        of = whole(NAME, database, "a database")
        return LifecycleFolder(f"{self.root}/{of}/erasures/{whole(NAME, run, 'an erasure')}")

    def exports(self, database: str) -> str:
        """Where exports of people's data lie."""
        return f"{self.root}/{whole(NAME, database, 'a database')}/exports"

    def export(self, database: str, run: str) -> LifecycleFolder:
        """The files and the receipt of one export."""
        return LifecycleFolder(f"{self.exports(database)}/{whole(NAME, run, 'an export')}")

    def restore(self, database: str, run: str) -> str:
        """The record of one restore: written once, never changed."""
        of = whole(NAME, database, "a database")
        return f"{self.root}/{of}/restores/{whole(NAME, run, 'a restore')}/{RESULT}"

    def parse(self, key: str) -> Located:
        """Understand a key. ValueError where it lies outside this namespace's folder."""
        if not key.startswith(f"{self.root}/"):
            msg = f"{key!r} does not lie below {self.root}/"
            raise ValueError(msg)
        parts = key[len(self.root) + 1 :].split("/")
        match parts:
            case ["databosun.json"]:
                return Located(Kind.OWNER)
            case ["_check", *_]:
                return Located(Kind.CHECK)
            case ["_log", *_]:
                return Located(Kind.LOG)
            case [database, "backups", backup_id, *rest] if (
                rest and NAME.fullmatch(database) and NAME.fullmatch(backup_id)
            ):
                return _parse_backup(database, BackupId(backup_id), rest)
            case _:
                return Located(Kind.OTHER)


def _parse_backup(database: str, backup_id: BackupId, rest: list[str]) -> Located:
    plain = {MANIFEST: Kind.MANIFEST, RESTORE_DOC: Kind.RESTORE_DOC, HOLD: Kind.HOLD}
    if len(rest) == 1:
        return Located(plain.get(rest[0], Kind.OTHER), database, backup_id)
    attempt = _ATTEMPT.fullmatch(rest[0])
    if not attempt:
        return Located(Kind.OTHER, database, backup_id)
    name = "/".join(rest[1:])
    volume = _VOLUME.fullmatch(name)
    return Located(
        Kind.ARTEFACT,
        database,
        backup_id,
        int(attempt[1]),
        volume[1].removesuffix(".age") if volume else name,
        int(volume[2]) if volume else None,
    )
