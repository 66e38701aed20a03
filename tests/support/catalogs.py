"""Backups as a store holds them, told in one line each, and Jobs that read them as the agent would."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.agent.report import report
from databosun.api.request import REQUEST_ANNOTATION
from databosun.api.result import CatalogEntry, CatalogPage, Outcome, Result
from databosun.kube.resources import JOBS, PODS, Object
from support.fakekube import FakeKube

SYSTEM = "7301234567890123456"


def stored(
    id: str, /, *, database: str = "orders", verified: bool = True, hold: str | None = None, **manifest: Any
) -> CatalogEntry:
    """One full physical backup; `manifest` overrides any of its fields."""
    taken = datetime(2026, 2, 1, 2, tzinfo=UTC)
    document = {
        "schema": 1,
        "id": id,
        "attempt": 2,
        "cluster": "old",
        "storage": "prod",
        "database": {
            "namespace": "shop",
            "name": database,
            "uid": "uid-of-old",
            "engine": "PostgreSQL",
            "engineVersion": "15.4",
            "systemIdentifier": SYSTEM,
        },
        "type": "Full",
        "method": "Physical",
        "base": id,
        "startedAt": f"{taken:%Y-%m-%dT%H:%M:%S.250000Z}",
        "snapshotTime": f"{taken + timedelta(seconds=9):%Y-%m-%dT%H:%M:%SZ}",
        "completedAt": f"{taken + timedelta(seconds=10):%Y-%m-%dT%H:%M:%S.750000Z}",
        "scheduledFor": f"{taken:%Y-%m-%dT%H:%M:%SZ}",
        "position": {"lsn": "0/5000028", "timeline": 1},
        "logicalBytes": 4096,
        "storedBytes": 1024,
        "objects": [{"name": "public.orders", "rows": 7}],
        "objectCount": 1,
        "clientVersions": {"databosun": "0.1.0"},
        "policy": "daily",
        "policyUid": "uid-of-old-policy",
        "databosunVersion": "0.1.0",
        "location": f"s3://backups/prod/shop/{database}/backups/{id}/",
    }
    return CatalogEntry(
        database=database,
        id=id,
        manifest_sha256="ab" * 32,
        manifest={**document, **manifest},
        verified=verified,
        hold=hold,
    )


class Store:
    """What a store holds, read page by page. `outcomes` are those of the next Jobs, in turn; then all succeed."""

    def __init__(self, entries: Sequence[CatalogEntry], *, limit: int = 200, outcomes: Sequence[Result] = ()) -> None:
        self.entries = sorted(entries, key=lambda one: (one.database, one.id))
        self.limit = limit
        self.outcomes = list(outcomes)
        self.asked: list[str | None] = []

    def run_jobs(self, kube: FakeKube) -> bool:
        """Give every Job that has no pod one that has done its work; says whether there was any."""
        jobs = [job for job in kube.all(JOBS) if ("pods", "shop", f"{job['metadata']['name']}-x") not in kube.objects]
        for job in jobs:
            self._run(kube, job)
        return bool(jobs)

    def _run(self, kube: FakeKube, job: Object) -> None:
        template = job["spec"]["template"]["metadata"]
        task = json.loads(template["annotations"][REQUEST_ANNOTATION])["job"]
        assert task["task"] == "catalog"
        self.asked.append(task.get("after"))
        result = self.outcomes.pop(0) if self.outcomes else self._page(task.get("after"))
        name, out = f"{job['metadata']['name']}-x", io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            termination = Path(folder) / "termination"
            report(result, Log(out, Redactor()), termination)
            message = termination.read_text()
        owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}
        status = {"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": state}]}
        kube.put(PODS, {"metadata": {**template, "name": name, "ownerReferences": [owner]}, "status": status})
        kube.logs[("shop", name)] = out.getvalue().encode()

    def _page(self, after: str | None) -> Result:
        behind = [one for one in self.entries if after is None or (one.database, one.id) > tuple(after.split("/"))]
        page = behind[: self.limit]
        following = f"{page[-1].database}/{page[-1].id}" if len(behind) > self.limit else None
        return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", catalog=CatalogPage(entries=page, next=following))
