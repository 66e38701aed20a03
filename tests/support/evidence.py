"""Records of drills as an agent writes them, chained, to read back and to spoil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.api.evidence import Evidence, JointEvidence
from databosun.api.failoverevidence import FailoverEvidence
from databosun.domain.records import Found
from databosun.domain.sealing import canonical, digest_of
from databosun.storage.manifest import seal

START = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


def check(name: str = "tables", outcome: str = "Passed", **more: Any) -> dict[str, Any]:
    """The result of a check."""
    return {
        "name": name,
        "type": "RowCount",
        "severity": "Critical",
        "outcome": outcome,
        "observed": "12 tables, 3400 rows",
        "seconds": 0.4,
        **more,
    }


def document(run: str, at: datetime, **more: Any) -> dict[str, Any]:
    """One record, not sealed."""
    verdict = more.get("verdict", "Passed")
    values: dict[str, Any] = {
        "run": run,
        "attempt": 1,
        "cluster": "c-1",
        "storage": "prod",
        "database": {
            "namespace": "shop",
            "name": "orders",
            "uid": "u-1",
            "engine": "PostgreSQL",
            "engine_version": "18.1",
            "system_identifier": "7412",
        },
        "backup": f"backup-of-{run}",
        "backup_manifest_sha256": "a" * 64,
        "verified": True,
        "started_at": at - timedelta(minutes=1),
        "completed_at": at,
        "verdict": verdict,
        "reason": verdict,
        "message": "6 checks passed",
        "level_asked": "Deep",
        "level_reached": "Deep" if verdict == "Passed" else None,
        "proven": verdict == "Passed",
        "checks": [check(), check("files")],
        "rto": {"seconds": 41.5, "objective": 900.0, "met": True, "fetch": 20.0, "restore": 10.5, "start": 11.0},
        "rpo": {
            "seconds": 12.0,
            "objective": 300.0,
            "met": True,
            "source": "Heartbeat",
            "newest": at - timedelta(minutes=1, seconds=12),
            "exact": True,
        },
        "until": {"kind": "Latest"},
        "measured_on": {"storage": "s3://backups", "cpus": 2, "arch": "x86_64", "path": "s3://backups to /scratch"},
        "databosun_version": "0.1.0",
        **more,
    }
    return Evidence.model_validate(values).dump()


@dataclass
class Chain:
    """Drills of one database, each naming the one before it."""

    key: Ed25519PrivateKey | None = None
    namespace: str = "shop"
    database: str = "orders"
    root: str = "s3://backups"
    found: list[Found] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)

    def drill(self, days: float | None = None, **more: Any) -> Found:
        """One more, a week after the last."""
        number = len(self.found) + 1
        at = START + timedelta(days=7 * (number - 1) if days is None else days)
        run = more.pop("run", f"{self.database}-{number:02}")
        about = {
            "namespace": self.namespace,
            "name": self.database,
            "uid": "u-1",
            "engine": "PostgreSQL",
            "engine_version": "18.1",
        }
        before = None
        if self.found:
            before = {"run": self.documents[-1]["run"], "sha256": digest_of(self.found[-1].data)}
        values = {"previous": before, "database": about, **more}
        made = document(run, at, **values)
        where = f"{self.root}/{self.namespace}/{self.database}/drills/{run}/evidence.json"
        self.found.append(Found(where, seal(made, self.key)))
        self.documents.append(made)
        return self.found[-1]


def chain_of(count: int, *, key: Ed25519PrivateKey | None = None) -> Chain:
    """A chain of passed drills, one a week."""
    made = Chain(key)
    for _ in range(count):
        made.drill()
    return made


def all_of(chains: Sequence[Chain]) -> list[Found]:
    """The records of several chains."""
    return [one for chain in chains for one in chain.found]


def joint(found: Sequence[Found], **more: Any) -> Found:
    """The record of a drill of many: of the database whose record is `found`, and of one whose drill said nothing."""
    members = [
        {"database": "orders", "group": 1, "run": "orders-01", "verdict": "Passed", "reason": "Passed",
         "evidenceSha256": digest_of(found[0].data), "readySeconds": 60.0, "objective": 900.0, "met": True},
        {"database": "gone", "group": 2, "run": "gone-01", "verdict": "Error", "reason": "NoResult"},
    ]  # fmt: skip
    values = {
        "run": "whole", "attempt": 1, "cluster": "c", "storage": "prod", "namespace": "shop", "startedAt": START,
        "completedAt": START, "verdict": "Failed", "reason": "MembersFailed", "message": "one is missing",
        "seconds": 61.0, "met": False, "groups": [], "members": members, "databosunVersion": "0.1.0", **more,
    }  # fmt: skip
    document = JointEvidence.model_validate(values).dump()
    return Found("s3://backups/shop/_drills/whole/evidence.json", canonical(document))


def failover(run: str = "orders-moved", *, database: str = "orders", **result: Any) -> Found:
    """The record of a failover test."""
    at = result.pop("at", START)
    measured = {"write_downtime_seconds": 2.6, "rejoin_seconds": 9.1, "acknowledged": 400, "lost": 0}
    values = {
        "id": run, "step": "Switch", "verdict": "Passed", "reason": "Passed", "message": "2 s without a write",
        "primary": "n1", "candidate": "n2", "measured": measured, **result,
    }  # fmt: skip
    names = {"provider": "Sentinel", "mode": "PlannedSwitchover", "primary": "n1", "candidate": "n2"}
    document = FailoverEvidence.model_validate({
        "run": run, "run_uid": "u", "attempt": 2, "cluster": "c", "storage": "prod",
        "database": {"namespace": "shop", "name": database, "uid": "u-1", "engine": "Redis"},
        "plan": {**names, "members": ["n1", "n2"], "hash": "h"},
        "asked": {
            "guards": {}, "probe": {}, "write_downtime_seconds": 10.0, "lost_writes": 0, "rejoin_seconds": 300.0,
            "abort_seconds": 180.0,
        },
        "result": values, "started_at": at, "completed_at": at,
        "measured_on": {"storage": "s3://backups", "cpus": 2, "arch": "x86_64", "path": "the pod"},
        "databosun_version": "0.1.0",
    })  # fmt: skip
    return Found(f"s3://backups/shop/{database}/failovers/{run}/evidence.json", canonical(document.dump()))
