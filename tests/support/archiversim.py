"""Simulated archivers: what Deployment controller, kubelet and archiver do, with a server whose log grows with time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from databosun.api.archive import LogGap, PositionLine, Trouble
from databosun.api.backuptasks import ArchiveTask
from databosun.api.request import REQUEST_ANNOTATION, Request
from databosun.api.result import Finding
from databosun.domain.plan import TASK_ARCHIVE
from databosun.domain.wal import format_lsn
from databosun.kube.errors import AlreadyExists, Conflict, NamespaceTerminating, NotFound
from databosun.kube.port import KubePort
from databosun.kube.resources import PODS, Object
from databosun.runtime.clock import Clock
from support.chaoskube import Births

SYSTEM = "7300000000000000001"
SLOT = "databosun_0123456789abcdef0123"


@dataclass(slots=True)
class Source:
    """A server and the log that is stored of it."""

    system: str = SYSTEM
    slots: set[str] = field(default_factory=set)
    """Slots that stand, by host."""
    finding: Finding | None = None
    """What a look at the server finds in the way of archiving."""
    stored_until: datetime | None = None
    """Where the log in the store ends, while the archive stands still; None: it keeps up."""
    trouble: Trouble | None = None
    gaps: list[LogGap] = field(default_factory=list)
    diverged_bytes: int | None = None
    """What is stored of the timeline that a new primary left."""
    silent: bool = False
    """Whether the archiver's pod says nothing."""


def position_at(instant: datetime) -> int:
    """The log grows by a byte a second, with the clock alone, so that all lives of an operator see the same one."""
    return int(instant.timestamp())


class Archivers:
    """The archivers of one namespace; `step` lets each Deployment and pod move on by one step."""

    def __init__(
        self, kube: KubePort, namespace: str, clock: Clock, births: Births, logs: dict[tuple[str, str], bytes]
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._births = births
        self._logs = logs
        self.source = Source()
        self.started = 0
        """Pods that were started."""
        self.hold_pods = False
        """Whether no pod starts, as on a full cluster."""

    async def step(self, seen: Mapping[tuple[str, str, str], Object]) -> bool:
        """Deployments get pods, pods speak, pods of what is gone go. Says whether anything moved."""
        wanted = {uid: body for (kind, _, uid), body in seen.items() if kind == "Deployment" and _task(body)}
        pods = [body for (kind, _, _), body in seen.items() if kind == "Pod" and _task(body) == TASK_ARCHIVE]
        moved = False
        for pod in pods:
            owner = wanted.get(_owner(pod))
            if owner is None or _request_of(owner["spec"]["template"]) != _request_of(pod):
                moved = await self._delete(pod) or moved
            elif pod["status"].get("phase") == "Pending" and not self.hold_pods:
                moved = await self._start(pod) or moved
            else:
                self._say(pod)
        alive = {_owner(pod) for pod in pods}
        for uid, body in wanted.items():
            if uid not in alive and "deletionTimestamp" not in body["metadata"]:
                moved = await self._create(body) or moved
        return moved

    def lose(self, begin: datetime, end: datetime) -> None:
        """The server let go of the log between two instants before it was stored."""
        gap = LogGap(
            timeline=1,
            begin=format_lsn(position_at(begin)),
            begin_time=begin,
            end_timeline=1,
            end=format_lsn(position_at(end)),
            end_time=end,
            reason="SlotLost",
            message="the server let go of it",
        )
        self.source.gaps.append(gap)

    async def _create(self, deployment: Object) -> bool:
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        self.started += 1
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-{self.started}",
                "namespace": self._namespace,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
            },
            "spec": {**template["spec"], "schedulerName": "nobody"},
        }
        try:
            self._births.born(await self._kube.create(PODS, self._namespace, body))
        except (AlreadyExists, NamespaceTerminating):
            return False
        return True

    async def _start(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        container = pod["spec"]["containers"][0]
        state = {"running": {"startedAt": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")}}
        status: dict[str, Any] = {"name": container["name"], "image": container["image"], "imageID": ""}
        status |= {"ready": True, "restartCount": 0, "state": state}
        try:
            await self._kube.patch_status(
                PODS,
                self._namespace,
                metadata["name"],
                {"phase": "Running", "containerStatuses": [status]},
                metadata["resourceVersion"],
            )
        except (NotFound, Conflict):
            return False
        request = Request.model_validate_json(_request_of(pod))
        self.source.slots |= set(request.database.hosts if request.database else ())
        self._say(pod)
        return True

    async def _delete(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        try:
            await self._kube.delete(PODS, self._namespace, metadata["name"], uid=metadata["uid"])
        except (NotFound, Conflict):
            return False
        self._logs.pop((self._namespace, metadata["name"]), None)
        return True

    def _say(self, pod: Object) -> None:
        if self.source.silent or pod["status"].get("phase") != "Running":
            return
        task = Request.model_validate_json(_request_of(pod)).job
        assert isinstance(task, ArchiveTask)
        now = self._clock.now()
        until = self.source.stored_until or now
        line = PositionLine(
            database_uid=task.database_uid,
            system_identifier=self.source.system,
            host="db",
            timeline=1,
            lsn=format_lsn(position_at(until)),
            recoverable_at=until,
            server_now=now,
            server_lsn=format_lsn(position_at(now)),
            behind_bytes=position_at(now) - position_at(until),
            retained_bytes=0,
            slot=SLOT,
            diverged_bytes=self.source.diverged_bytes,
            gaps=len(self.source.gaps),
            newest_gaps=self.source.gaps[-5:],
            trouble=self.source.trouble,
        )
        record = {"ts": now.isoformat(), "level": "info", "event": "position", **line.dump()}
        self._logs[self._namespace, pod["metadata"]["name"]] = json.dumps(record).encode() + b"\n"


def _task(pod: Object) -> str:
    found: str = pod["metadata"].get("labels", {}).get("databosun.io/task", "")
    return found


def _owner(pod: Object) -> str:
    return next((owner["uid"] for owner in pod["metadata"].get("ownerReferences", ())), "")


def _request_of(template: Mapping[str, Any]) -> str:
    found: str = template["metadata"]["annotations"][REQUEST_ANNOTATION]
    return found
