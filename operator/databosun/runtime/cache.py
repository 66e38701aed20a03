"""What the watches told: one small record an object, and the metadata of finished runs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.domain.plan import (
    ANNOTATION_FINDINGS,
    ANNOTATION_RUNBOOKS,
    LABEL_CONTROL,
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_HOLD,
    LABEL_MODE,
    LABEL_POLICY_UID,
    LABEL_PROVEN,
    LABEL_RTO,
    LABEL_RTO_MET,
    LABEL_SCHEDULE,
)
from databosun.runtime.queue import Key

_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "finalizers",
)
_OUR_PREFIX = "databosun.io/"
_GOOD = frozenset({"Succeeded", "Passed"})


@dataclass(frozen=True, slots=True)
class Record:
    """One object: enough to know whether it changed, the rest packed."""

    uid: str
    version: int
    indexed: tuple[str, ...]
    packed: bytes

    def unpack(self) -> dict[str, Any]:
        """The object with the metadata that matters, spec and status."""
        body: dict[str, Any] = json.loads(self.packed)
        return body


def trim(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what no decision reads (managedFields, foreign annotations)."""
    metadata = body["metadata"]
    kept = {key: metadata[key] for key in _KEPT_METADATA if key in metadata}
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key.startswith(_OUR_PREFIX)}
    if annotations:
        kept["annotations"] = annotations
    return {"metadata": kept, "spec": body.get("spec", {}), "status": body.get("status", {})}


Indexer = Callable[[Mapping[str, Any]], Iterable[str]]


class Cache:
    """Objects of our kinds by key, with an index per kind from a name that they refer to, to who refers to it."""

    def __init__(self, indexers: Mapping[str, Indexer]) -> None:
        self._indexers = indexers
        self._records: dict[Key, Record] = {}
        self._index: dict[tuple[str, str, str], set[Key]] = defaultdict(set)
        self._by_kind: dict[str, dict[str, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._by_uid: dict[str, Key] = {}

    def put(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Take in an object as seen; says whether it was news. What is older than what is known is ignored, also of an
        object that bore the name before."""
        metadata = body["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        version = int(metadata["resourceVersion"])
        known = self._records.get(key)
        if known is not None and version <= known.version:
            return False
        if known is not None:
            self._unlink(key, known)
        indexed = tuple(self._indexers[kind](body)) if kind in self._indexers else ()
        packed = json.dumps(trim(body), separators=(",", ":")).encode()
        self._records[key] = Record(metadata["uid"], version, indexed, packed)
        self._by_kind[kind][key.namespace].add(key)
        self._by_uid[metadata["uid"]] = key
        for name in indexed:
            self._index[(kind, key.namespace, name)].add(key)
        return True

    def drop(self, key: Key) -> bool:
        """Forget an object; says whether it was known."""
        known = self._records.pop(key, None)
        if known is not None:
            self._unlink(key, known)
        return known is not None

    def get(self, key: Key) -> dict[str, Any] | None:
        """The object as last seen."""
        record = self._records.get(key)
        return record.unpack() if record is not None else None

    def version(self, key: Key) -> tuple[str, int] | None:
        """uid and version of the object as last seen."""
        record = self._records.get(key)
        return (record.uid, record.version) if record is not None else None

    def referring(self, kind: str, namespace: str, name: str) -> tuple[Key, ...]:
        """Keys of the objects of `kind` whose indexer yielded `name`."""
        return tuple(sorted(self._index.get((kind, namespace, name), ())))

    def keys(self, kind: str, namespace: str | None = None) -> list[Key]:
        """All keys of a kind, in one namespace or in all."""
        by_namespace = self._by_kind[kind]
        if namespace is not None:
            return list(by_namespace.get(namespace, ()))
        return [key for keys in by_namespace.values() for key in keys]

    def key_of(self, uid: str) -> Key | None:
        """The key of the object with that uid."""
        return self._by_uid.get(uid)

    def __len__(self) -> int:
        return len(self._records)

    def _unlink(self, key: Key, record: Record) -> None:
        namespaces = self._by_kind[key.kind]
        namespaces[key.namespace].discard(key)
        if not namespaces[key.namespace]:
            del namespaces[key.namespace]
        if self._by_uid.get(record.uid) == key:
            del self._by_uid[record.uid]
        for name in record.indexed:
            entry = (key.kind, key.namespace, name)
            self._index[entry].discard(key)
            if not self._index[entry]:
                del self._index[entry]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished run, from its metadata alone. `outcome`: its verdict; `proven`: a drill that proved its backup, or a
    backup that one proved; `noted`: people wrote down what they learnt from it. `rto_seconds`, `rto_met`: as a drill
    measured; `control`: what its negative control came to. `mode`: of a lifecycle run, whether it was dry."""

    namespace: str
    name: str
    uid: str
    version: int
    database_uid: str
    policy_uid: str
    schedule: str
    succeeded: bool
    created: datetime
    held: bool
    deleting: bool
    outcome: str = ""
    proven: bool = False
    noted: bool = False
    rto_seconds: int | None = None
    rto_met: bool | None = None
    control: str = ""
    mode: str = ""


def finished_run(metadata: Mapping[str, Any]) -> FinishedRun | None:
    """Read a finished run's metadata; None where it is not finished."""
    labels = metadata.get("labels", {})
    if LABEL_FINISHED not in labels:
        return None
    return FinishedRun(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        database_uid=labels.get(LABEL_DATABASE_UID, ""),
        policy_uid=labels.get(LABEL_POLICY_UID, ""),
        schedule=labels.get(LABEL_SCHEDULE, ""),
        succeeded=labels[LABEL_FINISHED] in _GOOD,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        held=labels.get(LABEL_HOLD) == "true",
        deleting="deletionTimestamp" in metadata,
        outcome=labels[LABEL_FINISHED],
        proven=labels.get(LABEL_PROVEN) == "true",
        noted=not {ANNOTATION_FINDINGS, ANNOTATION_RUNBOOKS}.isdisjoint(metadata.get("annotations", {})),
        rto_seconds=int(labels[LABEL_RTO]) if labels.get(LABEL_RTO, "").isdigit() else None,
        rto_met={"true": True, "false": False}.get(labels.get(LABEL_RTO_MET, "")),
        control=labels.get(LABEL_CONTROL, ""),
        mode=labels.get(LABEL_MODE, ""),
    )


class FinishedIndex:
    """Finished runs by database and by policy; refreshed from paged metadata lists, never from whole objects."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], FinishedRun] = {}
        self._by_database: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._by_policy: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.newest = 0
        """The newest version of a run that was taken in."""

    def put(self, run: FinishedRun) -> bool:
        """Take in a finished run; says whether it was news."""
        at = (run.namespace, run.name)
        known = self._runs.get(at)
        if known is not None and known.version >= run.version:
            return False
        self.drop(*at)
        self._runs[at] = run
        self.newest = max(self.newest, run.version)
        self._by_database[run.database_uid].add(at)
        self._by_policy[run.policy_uid].add(at)
        return True

    def drop(self, namespace: str, name: str) -> FinishedRun | None:
        """Forget a run that is gone; returns what was known of it."""
        run = self._runs.pop((namespace, name), None)
        if run is not None:
            _unlist(self._by_database, run.database_uid, (namespace, name))
            _unlist(self._by_policy, run.policy_uid, (namespace, name))
        return run

    def get(self, namespace: str, name: str) -> FinishedRun | None:
        """One run, if known."""
        return self._runs.get((namespace, name))

    def of_database(self, uid: str) -> list[FinishedRun]:
        """The runs of a database, oldest first."""
        return sorted(
            (self._runs[at] for at in self._by_database.get(uid, ())), key=lambda run: (run.created, run.name)
        )

    def of_policy(self, uid: str) -> list[FinishedRun]:
        """The runs of a policy, oldest first."""
        return sorted((self._runs[at] for at in self._by_policy.get(uid, ())), key=lambda run: (run.created, run.name))

    def all(self) -> list[FinishedRun]:
        """Every run known."""
        return list(self._runs.values())


def _unlist(index: dict[str, set[tuple[str, str]]], uid: str, at: tuple[str, str]) -> None:
    index[uid].discard(at)
    if not index[uid]:
        del index[uid]
