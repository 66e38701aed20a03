"""Simulated agents: what Job controller, kubelet and agent do to a Job, and the bucket that they write to.

The only fake beside the real API server. A Job gets its pod, the pod runs and ends with a termination message, its log
is kept for `ChaosKube.pod_log`. What an agent answers is the bucket's state, or what the test scripts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from databosun.api.backuptasks import (
    BackupTask,
)
from databosun.api.lifecycletasks import EraseTask, ExportTask, LifecycleTask
from databosun.api.recordtasks import JointTask
from databosun.api.request import REQUEST_ANNOTATION, Request
from databosun.api.restoretasks import DrillTask, RestoreTask
from databosun.api.result import (
    Outcome,
    Result,
    Summary,
)
from databosun.domain.plan import TASK_ARCHIVE
from databosun.kube.errors import AlreadyExists, Conflict, NamespaceTerminating, NotFound
from databosun.kube.port import KubePort
from databosun.kube.resources import JOBS, PODS, Object
from databosun.runtime.clock import Clock
from support.agentwork import AgentWork
from support.archiversim import Archivers
from support.chaoskube import Births

Script = Callable[[Request], Result | str | None]
"""What an agent says instead of doing its work: a Result, `hang` or `crash`; None: it does its work."""


def no_script(_request: Request) -> None:
    """All agents work."""


class Agents(AgentWork):
    """The agents of one namespace; `step` lets each Job move on by one step."""

    def __init__(self, kube: KubePort, namespace: str, clock: Clock, births: Births) -> None:
        self.logs: dict[tuple[str, str], bytes] = {}
        super().__init__(clock, Archivers(kube, namespace, clock, births, self.logs))
        self._kube = kube
        self._namespace = namespace
        self._births = births
        self.script: Script = no_script
        self.one_pod_a_job = False
        """Whether a Job whose pod was deleted by force stays without one."""

    async def step(self, seen: Mapping[tuple[str, str, str], Object]) -> bool:
        """Jobs get pods, pods start, started pods end. Says whether anything moved."""
        jobs = {uid: body for (kind, _, uid), body in seen.items() if kind == "Job"}
        pods = [body for (kind, _, _), body in seen.items() if kind == "Pod" and _of_job(body)]
        with_pod = {owner["uid"] for pod in pods for owner in pod["metadata"].get("ownerReferences", ())}
        moved = await self.archivers.step(seen)
        for uid, job in jobs.items():
            had_one = self.one_pod_a_job and job.get("status", {}).get("active", 0) > 0
            if uid not in with_pod and not had_one and "deletionTimestamp" not in job["metadata"]:
                moved = await self._create_pod(job) or moved
        for pod in pods:
            moved = await self._move(pod) or moved
        return moved

    async def _create_pod(self, job: Object) -> bool:
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-pod",
                "namespace": self._namespace,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "finalizers": template["metadata"]["finalizers"],
                "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
            },
            # Nobody schedules it, so no kubelet has a word in its status.
            "spec": {**template["spec"], "schedulerName": "nobody"},
        }
        try:
            self._births.born(await self._kube.create(PODS, self._namespace, body))
            version = metadata["resourceVersion"]
            await self._kube.patch_status(JOBS, self._namespace, metadata["name"], {"active": 1}, version)
        except (AlreadyExists, NotFound, Conflict, NamespaceTerminating):
            return False
        return True

    async def _move(self, pod: Object) -> bool:
        phase = pod["status"].get("phase")
        if phase in ("Succeeded", "Failed"):
            return False
        if phase == "Pending":
            if "deletionTimestamp" in pod["metadata"]:
                return False
            return await self._start(pod)
        request = _request(pod)
        if "deletionTimestamp" in pod["metadata"]:
            return await self._end(pod, Result(outcome=Outcome.FAILED, reason="Interrupted", retryable=True))
        said = self.script(request)
        if said == "hang":
            return False
        if said == "crash":
            return await self.patch(pod, "Failed", {"terminated": {"exitCode": 139, "finishedAt": self._at()}})
        result = said if isinstance(said, Result) else self.work(request)
        return await self._end(pod, result)

    async def _start(self, pod: Object) -> bool:
        request = _request(pod)
        named = isinstance(
            request.job, (BackupTask, DrillTask, JointTask, RestoreTask, LifecycleTask, EraseTask, ExportTask)
        )
        subject = request.job.id if named else request.run
        self.bucket.agents[request.job.task, subject, request.attempt] += 1
        return await self.patch(pod, "Running", {"running": {"startedAt": self._at()}})

    async def _end(self, pod: Object, result: Result) -> bool:
        text = json.dumps(result.dump())
        line = {"event": "result", "n": 1, "of": 1, "data": text}
        self.logs[self._namespace, pod["metadata"]["name"]] = json.dumps(line).encode()
        summary = Summary(
            outcome=result.outcome,
            reason=result.reason,
            message=result.message,
            retryable=result.retryable,
            attempt=result.attempt,
            result_sha256=hashlib.sha256(text.encode()).hexdigest(),
            result_lines=1,
            result_bytes=len(text),
        )
        good = result.outcome is Outcome.SUCCEEDED
        message = json.dumps(summary.dump())
        state = {"exitCode": 0 if good else 1, "finishedAt": self._at(), "message": message}
        return await self.patch(pod, "Succeeded" if good else "Failed", {"terminated": state})

    async def patch(self, pod: Object, phase: str, state: dict[str, Any]) -> bool:
        """Write a pod's status as a kubelet does."""
        container = pod["spec"]["containers"][0]
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        metadata = pod["metadata"]
        try:
            await self._kube.patch_status(
                PODS,
                self._namespace,
                metadata["name"],
                {"phase": phase, "containerStatuses": [status]},
                metadata["resourceVersion"],
            )
        except (NotFound, Conflict):
            return False
        return True

    def _at(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_job(pod: Object) -> bool:
    return pod["metadata"].get("labels", {}).get("databosun.io/task") not in (None, TASK_ARCHIVE)


def _request(pod: Object) -> Request:
    return Request.model_validate_json(pod["metadata"]["annotations"][REQUEST_ANNOTATION])
