"""Observe agents' Jobs and pods: turn what the API server says into facts about a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from databosun.api.result import MAX_RESULT_BYTES, Result, Summary
from databosun.api.v1alpha1.run import Progress
from databosun.domain.attempt import DEADLINE_MARGIN, JobSeen, PodSeen
from databosun.domain.errors import WorldFault
from databosun.domain.plan import (
    AGENT_CONTAINER,
    ANNOTATION_DEADLINE,
    FINALIZER_RESULT,
    LABEL_ATTEMPT,
    LABEL_RUN_UID,
    LABEL_TASK,
    ReleasePod,
)
from databosun.kube.errors import BadRequest, NotFound
from databosun.kube.port import KubePort
from databosun.kube.resources import EVENTS, JOBS, PODS

# Log lines carry the result in chunks, so allow for their frame.
RESULT_LOG_BYTES = 2 * MAX_RESULT_BYTES
# Events that no time will mend: the API server refuses the pod's shape, not the moment.
DEFINITE_REFUSALS = (
    "violates PodSecurity",
    "admission webhook",
    "is forbidden: unable to validate",
    "denied the request",
    "serviceaccount",
)

_CREATE_FAILED = "FailedCreate"


class Bench:
    """All Jobs and pods of one run, read live."""

    __slots__ = ("jobs", "pods")

    def __init__(self, jobs: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
        self.jobs = jobs
        self.pods = pods

    @classmethod
    async def read(cls, kube: KubePort, namespace: str, run_uid: str) -> Bench:
        """List what carries the run's label."""
        selector = f"{LABEL_RUN_UID}={run_uid}"
        jobs = [job async for job in kube.list(JOBS, namespace, label_selector=selector)]
        pods = [pod async for pod in kube.list(PODS, namespace, label_selector=selector)]
        return cls(jobs, pods)

    def releases(self) -> tuple[ReleasePod, ...]:
        """The finalizer of every pod that still carries it."""
        return tuple(release_of(pod) for pod in self.pods if FINALIZER_RESULT in pod["metadata"].get("finalizers", []))

    def pod_of(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """The newest pod that the Job owns; also one whose Job is gone but whose labels name its attempt."""
        uid = job["metadata"]["uid"]
        owned = [
            pod for pod in self.pods if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))
        ]
        return max(owned, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)

    def of_task(self, task: str) -> list[dict[str, Any]]:
        """The Jobs of one kind of work, by attempt."""
        jobs = [job for job in self.jobs if job["metadata"]["labels"].get(LABEL_TASK) == task]
        return sorted(jobs, key=lambda job: int(job["metadata"]["labels"][LABEL_ATTEMPT]))

    def orphans(self, task: str) -> list[dict[str, Any]]:
        """Pods of that work whose Job is gone: their word still counts."""
        uids = {job["metadata"]["uid"] for job in self.jobs}
        pods = [pod for pod in self.pods if pod["metadata"]["labels"].get(LABEL_TASK) == task]
        return [
            pod for pod in pods if not any(owner["uid"] in uids for owner in pod["metadata"].get("ownerReferences", []))
        ]


def release_of(pod: Mapping[str, Any]) -> ReleasePod:
    """Letting go of a pod that carries our finalizer."""
    metadata = pod["metadata"]
    return ReleasePod(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
        tuple(metadata["finalizers"]),
    )


async def observe(kube: KubePort, bench: Bench, task: str, *, logs: bool = True) -> tuple[JobSeen, ...]:
    """The Jobs of one kind of work with what their agents said; orphaned pods stand for the Jobs that they had."""
    seen = [await _observe_job(kube, job, bench.pod_of(job), logs=logs) for job in bench.of_task(task)]
    known = {job.attempt for job in seen}
    for pod in bench.orphans(task):
        attempt = int(pod["metadata"]["labels"][LABEL_ATTEMPT])
        if attempt not in known:
            seen.append(await _observe_orphan(kube, pod, attempt, logs=logs))
    return tuple(sorted(seen, key=lambda job: job.attempt))


async def _observe_job(kube: KubePort, job: Mapping[str, Any], pod: Mapping[str, Any] | None, *, logs: bool) -> JobSeen:
    metadata, status = job["metadata"], job.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", []) if item.get("status") == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    counts = sum(int(status.get(field, 0)) for field in ("active", "failed", "succeeded", "terminating"))
    warning = await _warning(kube, metadata) if pod is None and not counts else None
    return JobSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        attempt=int(metadata["labels"][LABEL_ATTEMPT]),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deadline=_deadline(metadata),
        pod=await _observe_pod(kube, pod, logs=logs) if pod is not None else None,
        failed=f"{failed.get('reason')}: {failed.get('message', '')}" if failed else None,
        pod_was_seen=counts > 0,
        warning=warning,
        refused=warning is not None and any(words in warning for words in DEFINITE_REFUSALS),
    )


async def _observe_orphan(kube: KubePort, pod: Mapping[str, Any], attempt: int, *, logs: bool) -> JobSeen:
    metadata = pod["metadata"]
    owners = metadata.get("ownerReferences", [])
    return JobSeen(
        name=owners[0]["name"] if owners else metadata["name"],
        uid=owners[0]["uid"] if owners else "",
        attempt=attempt,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deadline=_deadline(metadata),
        pod=await _observe_pod(kube, pod, logs=logs),
        pod_was_seen=True,
    )


def over_by(metadata: Mapping[str, Any]) -> datetime:
    """When the agent of a Job or pod is at work no more, even if nobody hears of it."""
    return _deadline(metadata) + DEADLINE_MARGIN


def _deadline(metadata: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(metadata["annotations"][ANNOTATION_DEADLINE])


async def _warning(kube: KubePort, metadata: Mapping[str, Any]) -> str | None:
    """The newest Warning event of a Job that has no pod: quota, admission, a missing service account."""
    selector = f"involvedObject.kind=Job,involvedObject.uid={metadata['uid']},type=Warning"
    events = [event async for event in kube.list(EVENTS, metadata["namespace"], field_selector=selector)]
    newest = max(
        events, key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"], default=None
    )
    return f"{newest['reason']}: {newest['message']}" if newest else None


async def _observe_pod(kube: KubePort, pod: Mapping[str, Any], *, logs: bool) -> PodSeen:
    metadata, status = pod["metadata"], pod.get("status", {})
    container = agent_status(status)
    state = container.get("state", {})
    ended = state.get("terminated") or (
        container.get("lastState", {}).get("terminated") if status.get("phase") == "Failed" else None
    )
    # Where a node was lost others write the phase, and the container may go on all the same.
    terminated = ended is not None or (status.get("phase") in ("Failed", "Succeeded") and "running" not in state)
    disruption = _true_condition(status, "DisruptionTarget")
    summary = _summary((ended or {}).get("message"))
    waiting = state.get("waiting") or _unscheduled(status)
    result, away = None, False
    if summary is not None and summary.result_lines and logs:
        try:
            result = await _result(kube, metadata, summary)
        except WorldFault:
            away = True
    return PodSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        started="running" in state or terminated,
        terminated=terminated,
        deleting="deletionTimestamp" in metadata,
        disrupted=disruption is not None
        or status.get("reason") in ("Evicted", "Preempting", "Shutdown", "NodeShutdown"),
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message"),
        exit_reason=(ended or {}).get("reason") or status.get("reason"),
        exit_code=(ended or {}).get("exitCode"),
        outcome=summary.outcome if summary else None,
        reason=summary.reason if summary else None,
        message=summary.message if summary else str((disruption or {}).get("message") or status.get("message") or ""),
        retryable=summary.retryable if summary else False,
        result=result,
        result_expected=summary is not None and summary.result_lines > 0,
        log_away=away,
        ended=datetime.fromisoformat(ended["finishedAt"]) if ended and ended.get("finishedAt") else None,
    )


def agent_status(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a pod's status says of the agent's container, whatever others put beside it; empty before it says so."""
    return next((one for one in status.get("containerStatuses", []) if one["name"] == AGENT_CONTAINER), {})


def _true_condition(status: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    return next(
        (item for item in status.get("conditions", []) if item["type"] == kind and item["status"] == "True"), None
    )


def _unscheduled(status: Mapping[str, Any]) -> dict[str, Any]:
    unscheduled: dict[str, Any] = next(
        (item for item in status.get("conditions", []) if item["type"] == "PodScheduled" and item["status"] == "False"),
        {},
    )
    return {"reason": unscheduled.get("reason"), "message": unscheduled.get("message")}


def _summary(message: str | None) -> Summary | None:
    """The agent's termination message; None where it said nothing that can be read."""
    if not message:
        return None
    try:
        return Summary.model_validate_json(message)
    except ValidationError:
        return None


async def _result(kube: KubePort, metadata: Mapping[str, Any], summary: Summary) -> Result | None:
    """The full result from the end of the pod's log, its digest checked; None where it cannot be had."""
    try:
        log = await kube.pod_log(
            metadata["namespace"],
            metadata["name"],
            container=AGENT_CONTAINER,
            tail_lines=summary.result_lines + 5,
            limit_bytes=RESULT_LOG_BYTES,
        )
    except (NotFound, BadRequest):  # neither gets better by waiting
        return None
    document = b"".join(_chunks(log.splitlines(), summary.result_lines))
    if hashlib.sha256(document).hexdigest() != summary.result_sha256:
        return None
    try:
        return Result.model_validate_json(document)
    except ValidationError:
        return None


def _chunks(lines: Iterable[bytes], count: int) -> list[bytes]:
    found: dict[int, bytes] = {}
    for line in lines:
        record = _json(line)
        if record.get("event") == "result" and record.get("of") == count:
            found[record["n"]] = record["data"].encode()
    return [found[n] for n in sorted(found)]


def _json(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


async def read_progress(kube: KubePort, job: JobSeen, namespace: str) -> Progress | None:
    """The newest progress line of a running agent; None where it has said none yet, or its node does not answer: a
    verdict never waits for it."""
    record = await newest_line(kube, job, namespace, "progress")
    if record is None:
        return None
    done, total = int(record.get("bytes", 0)), record.get("total")
    percent = min(100, done * 100 // total) if total else None
    return Progress(stage=record.get("stage"), bytes=done, total_bytes=total, percent=percent)


async def newest_line(kube: KubePort, job: JobSeen, namespace: str, event: str) -> dict[str, Any] | None:
    """The newest line of one event, of the last few that a running agent has said."""
    if job.pod is None or not job.pod.started or job.pod.terminated:
        return None
    try:
        log = await kube.pod_log(
            namespace, job.pod.name, container=AGENT_CONTAINER, tail_lines=20, limit_bytes=64 * 1024
        )
    except (WorldFault, BadRequest):
        return None
    found = (record for line in reversed(log.splitlines()) if (record := _json(line)).get("event") == event)
    return next(found, None)
