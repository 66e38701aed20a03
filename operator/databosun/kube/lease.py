"""A `coordination.k8s.io` Lease as a `LeaseRecord`. Give it a client of its own: no other call may delay a renewal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from databosun.domain.lease import LeaseRecord
from databosun.kube.errors import AlreadyExists, Conflict, NotFound
from databosun.kube.port import KubePort
from databosun.kube.resources import LEASES, Object


class KubeLease:
    """Reads and writes one Lease object."""

    def __init__(self, kube: KubePort, namespace: str, name: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaseRecord | None:
        """The record as it is now; None where there is no Lease."""
        body = await self._kube.get(LEASES, self._namespace, self._name)
        return None if body is None else read_record(body)

    async def create(self, record: LeaseRecord) -> LeaseRecord | None:
        """Create the Lease; None where somebody was faster."""
        try:
            return read_record(await self._kube.create(LEASES, self._namespace, self._body(record)))
        except AlreadyExists:
            return None

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        """Replace the record of that version; None where it has changed or is gone."""
        try:
            return read_record(await self._kube.replace(LEASES, self._namespace, self._name, self._body(record)))
        except (Conflict, NotFound):
            return None

    def _body(self, record: LeaseRecord) -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration_seconds,
                "acquireTime": micro_time(record.acquired),
                "renewTime": micro_time(record.renewed),
                "leaseTransitions": record.transitions,
            },
        }


def read_record(body: Object) -> LeaseRecord:
    """The record in a Lease object; fields that a person cleared read as nothing."""
    spec: dict[str, Any] = body.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=spec.get("leaseDurationSeconds") or 0,
        acquired=_instant(spec.get("acquireTime")),
        renewed=_instant(spec.get("renewTime")),
        transitions=spec.get("leaseTransitions") or 0,
        version=body["metadata"]["resourceVersion"],
    )


def micro_time(instant: datetime | None) -> str | None:
    """A MicroTime as the API server wants it: always six digits, which `isoformat` leaves out where they are zero."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if instant is not None else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
