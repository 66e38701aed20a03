"""What is seen of agents' pods."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.agent.report import report
from databosun.api.result import Outcome, Result
from databosun.controllers.jobs import Bench, observe, read_progress
from databosun.domain.plan import ANNOTATION_DEADLINE, LABEL_ATTEMPT, LABEL_RUN_UID, LABEL_TASK
from databosun.kube.resources import JOBS, PODS, Object
from support.fakekube import FakeKube

LABELS = {LABEL_RUN_UID: "r-1", LABEL_TASK: "backup", LABEL_ATTEMPT: "1"}
MESH = {"name": "a-proxy", "state": {"running": {"startedAt": "2026-03-01T00:00:00Z"}}}
RUNNING = {"running": {"startedAt": "2026-03-01T00:00:00Z"}}


def meshed(kube: FakeKube, state: dict[str, Any]) -> Object:
    """A Job with its pod, beside whose agent a mesh put its proxy, whose name comes first."""
    meta = {"labels": LABELS, "annotations": {ANNOTATION_DEADLINE: "2026-03-01T01:00:00Z"}}
    job = kube.put(JOBS, {"metadata": {"name": "orders-1", **meta}})
    owner = {"kind": "Job", "name": "orders-1", "uid": job["metadata"]["uid"], "controller": True}
    statuses = [MESH, {"name": "agent", "state": state}]
    status = {"phase": "Running", "containerStatuses": statuses}
    return kube.put(PODS, {"metadata": {"name": "orders-1-x", **meta, "ownerReferences": [owner]}, "status": status})


async def test_the_word_of_an_agent_beside_a_sidecar_is_heard(tmp_path: Path) -> None:
    kube, out, said = FakeKube(), io.StringIO(), tmp_path / "termination"
    result = Result(outcome=Outcome.FAILED, reason="WrongPassword", message="no " * 2000)
    report(result, Log(out, Redactor()), said)
    pod = meshed(kube, {"terminated": {"exitCode": 1, "reason": "Error", "message": said.read_text()}})
    kube.logs[("shop", pod["metadata"]["name"])] = out.getvalue().encode()
    (job,) = await observe(kube, await Bench.read(kube, "shop", "r-1"), "backup")
    assert job.pod is not None
    assert (job.pod.terminated, job.pod.reason, job.pod.exit_code) == (True, "WrongPassword", 1)
    assert job.pod.result == result


async def test_the_progress_of_an_agent_beside_a_sidecar_is_read() -> None:
    kube = FakeKube()
    pod = meshed(kube, RUNNING)
    kube.logs[("shop", pod["metadata"]["name"])] = b'{"event": "progress", "stage": "Dumping", "bytes": 5, "total": 10}'
    (job,) = await observe(kube, await Bench.read(kube, "shop", "r-1"), "backup")
    progress = await read_progress(kube, job, "shop")
    assert progress is not None
    assert (progress.stage, progress.percent) == ("Dumping", 50)
