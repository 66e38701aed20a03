"""A backup: a manual snapshot, a copy of it in another region where asked, and a note of both for the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from databosun.api.targets import RDSTarget
from databosun.api.v1alpha1.backup import HeldPart, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import SafetyStop
from databosun.engines.base import Captured, Plan, Sink
from databosun.engines.managed import Visit
from databosun.engines.rds import snapshots
from databosun.engines.rds.cloud import Cloud
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.server import AVAILABLE, Server
from databosun.engines.rds.snapshots import OF_CLUSTER, OF_INSTANCE, Kind
from databosun.engines.rds.waiting import Patience

NOTE = "snapshot.json"
_KEPT = (
    "AllocatedStorage", "DbClusterResourceId", "DbiResourceId", "Encrypted", "Engine", "EngineVersion", "KmsKeyId",
    "LicenseModel", "MasterUsername", "OptionGroupName", "Port", "SnapshotCreateTime", "SnapshotType", "Status",
    "StorageEncrypted", "StorageType", "VpcId",
)  # fmt: skip


def back_up(
    clouds: Callable[[str], Cloud],
    rds: RDSTarget,
    server: Server,
    visit: Visit,
    plan: Plan,
    sink: Sink,
    patience: Patience,
) -> Captured:
    """Take it. The snapshot counts once AWS calls it available; its description is read back, and stored."""
    kind = OF_CLUSTER if server.clustered else OF_INSTANCE
    home = clouds(rds.region)
    made = snapshots.make(home, server, visit, patience, sink.progress)
    parts = [_part(kind, made, home.region)]
    if rds.copy_to is not None:
        away = clouds(rds.copy_to.region)
        copied = snapshots.copy(
            away,
            made,
            kind,
            visit,
            home.region,
            rds.copy_to.kms_key_id,
            patience,
            lambda said: sink.progress(f"copy: {said}"),
        )
        parts.append(_part(kind, copied, away.region))
    size = _bytes(made, server)
    _store(sink, kind, made, parts, size)
    notes = () if plan.type is BackupType.FULL else (_FULL_NOTE,)
    return Captured(
        type=BackupType.FULL,
        method=Method.SNAPSHOT,
        engine_version=str(made.get("EngineVersion") or server.version),
        system_identifier=server.resource_id or None,
        position=Position(snapshot=parts[0].name),
        snapshot_time=_taken(made),
        parent=None,
        base=None,
        chain_length=0,
        environment={"rds": _environment(rds, server)},
        elsewhere=tuple(parts),
        notes=notes,
        logical_bytes=size,
    )


_FULL_NOTE = (
    f"{Reason.MANAGED_BY_CLOUD}: a full was taken; AWS stores each snapshot as the difference to the one before"
)


def _part(kind: Kind, said: Mapping[str, Any], region: str) -> HeldPart:
    if said.get("Status") != AVAILABLE:
        message = f"snapshot {kind.key(said)} is {said.get('Status')}, and {AVAILABLE} was expected"
        raise SafetyStop(Reason.SNAPSHOT_FAILED, message)
    return HeldPart(kind=kind.held, name=kind.arn(said), region=region)


def _bytes(made: Mapping[str, Any], server: Server) -> int:
    """Storage that the snapshot stands for. Clusters grow by themselves, and may say 0 or 1 GiB."""
    return max(int(made.get("AllocatedStorage") or 0) * 1024**3, server.bytes, 1)


def _taken(made: Mapping[str, Any]) -> datetime:
    at = made.get("SnapshotCreateTime")
    if not isinstance(at, datetime):
        message = "AWS does not say when the snapshot was taken, so nobody could tell what it holds"
        raise SafetyStop(Reason.SNAPSHOT_FAILED, message)
    return at


def _environment(rds: RDSTarget, server: Server) -> dict[str, Any]:
    """What a person needs who restores it without Databosun."""
    said = server.said
    group = said.get("DBClusterParameterGroup") or next(
        (one.get("DBParameterGroupName") for one in said.get("DBParameterGroups", ())), None
    )
    subnet = said.get("DBSubnetGroup")
    found = {
        "engine": server.engine,
        "instance": rds.instance,
        "cluster": rds.cluster,
        "region": rds.region,
        "endpoint": rds.endpoint,
        "class": server.instance_class,
        "parameterGroup": group,
        "subnetGroup": subnet.get("DBSubnetGroupName") if isinstance(subnet, Mapping) else subnet,
        "securityGroups": sorted(server.security_groups),
        "multiAZ": server.multi_az,
        "encrypted": server.encrypted,
    }
    return {name: value for name, value in found.items() if value is not None}


def _store(sink: Sink, kind: Kind, made: Mapping[str, Any], parts: list[HeldPart], size: int) -> None:
    note = {
        "schema": 1,
        "parts": [part.dump() for part in parts],
        "snapshot": {name: _plain(made[name]) for name in _KEPT if made.get(name) is not None},
        "kind": kind.held,
    }
    writer = sink.open(NOTE, compress=False)
    writer.write((json.dumps(note, indent=2, sort_keys=True) + "\n").encode())
    writer.finish(logical_bytes=size)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
