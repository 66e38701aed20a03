"""What an archiver says, and how its pod fares: read from the pod's log and status, never over the pod's network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from databosun.api.archive import POSITION_EVENT, PositionLine
from databosun.api.request import REQUEST_ANNOTATION
from databosun.api.result import Summary
from databosun.controllers.context import Context
from databosun.controllers.jobs import agent_status
from databosun.domain.archiving import Hindrance
from databosun.domain.errors import WorldFault
from databosun.domain.plan import AGENT_CONTAINER, LABEL_ARCHIVER
from databosun.kube.errors import NotFound
from databosun.kube.resources import PODS
from databosun.runtime.queue import Key

# Between two position lines others may stand, such as of tries to reach the store; then a longer look finds one.
SHORT, LONG = 12, 300
LOG_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class ArchiverSeen:
    """The newest word of an archiver; None where it said none yet. `storage`: where its pod ships to."""

    line: PositionLine | None
    hindrance: Hindrance | None
    storage: str | None = None


async def look_at(context: Context, namespace: str, name: str) -> ArchiverSeen:
    """Read the newest position line of the archiver's pod. A node that does not answer is no fault, but a silence."""
    pods = [pod async for pod in context.kube.list(PODS, namespace, label_selector=f"{LABEL_ARCHIVER}={name}")]
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if not alive:
        return ArchiverSeen(None, _no_pod(context, namespace, name))
    pod = max(alive, key=lambda one: one["metadata"]["creationTimestamp"])
    hindrance = _hindrance(pod)
    try:
        line = await _newest_line(context, namespace, pod["metadata"]["name"])
    except (WorldFault, NotFound) as fault:
        silent = Hindrance("ArchiverNotRunning", f"the log of pod {pod['metadata']['name']} cannot be read: {fault}")
        return ArchiverSeen(None, hindrance or silent)
    if hindrance is None and line is not None and line.trouble is not None:
        trouble = line.trouble
        hindrance = Hindrance(trouble.reason, trouble.message, person=trouble.actor != "World")
    return ArchiverSeen(line, hindrance, _storage(pod))


def _storage(pod: Mapping[str, Any]) -> str | None:
    """From the request that the pod was started with."""
    request = json.loads(pod["metadata"].get("annotations", {}).get(REQUEST_ANNOTATION, "{}"))
    name: str | None = (request.get("storage") or {}).get("name")
    return name


async def _newest_line(context: Context, namespace: str, pod: str) -> PositionLine | None:
    """Pods of a Deployment never bear a name again, so that the name stands for the uid; and the line says whose log it
    is."""
    for lines in (SHORT, LONG):
        log = await context.kube.pod_log(
            namespace, pod, container=AGENT_CONTAINER, tail_lines=lines, limit_bytes=LOG_BYTES
        )
        read = log.splitlines()
        for text in reversed(read):
            line = _parse(text)
            if line is not None:
                return line
        if len(read) < lines:
            return None
    return None


def _parse(text: bytes) -> PositionLine | None:
    if POSITION_EVENT.encode() not in text:
        return None
    try:
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("event") != POSITION_EVENT:
            return None
        return PositionLine.model_validate(record)
    except (ValueError, ValidationError):
        return None


def _hindrance(pod: Mapping[str, Any]) -> Hindrance | None:
    """Why a pod does not run: what the agent said when it ended, or what keeps its container from starting."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    container = agent_status(status)
    state = container.get("state", {})
    if "running" in state:
        return None
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    said = _summary(ended.get("message"))
    if said is not None:
        return Hindrance(said.reason, said.message, person=not said.retryable)
    if ended:
        why = f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode')}"
        return Hindrance("ArchiverNotRunning", f"pod {name} ended without a word: {why}")
    waiting = state.get("waiting") or _unscheduled(status)
    said_of_it = ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
    return Hindrance("ArchiverNotRunning", f"pod {name} has not started yet{': ' + said_of_it if said_of_it else ''}")


def _no_pod(context: Context, namespace: str, name: str) -> Hindrance:
    body = context.cache.get(Key("Deployment", namespace, name)) or {}
    failures = [
        one.get("message", "")
        for one in body.get("status", {}).get("conditions", [])
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True"
    ]
    why = f": {failures[0]}" if failures else ""
    return Hindrance("ArchiverNotRunning", f"Deployment {name} has no pod{why}")


def _unscheduled(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(
        (one for one in status.get("conditions", []) if one["type"] == "PodScheduled" and one["status"] == "False"), {}
    )


def _summary(message: str | None) -> Summary | None:
    if not message:
        return None
    try:
        return Summary.model_validate_json(message)
    except ValidationError:
        return None
