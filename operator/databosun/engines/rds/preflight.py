"""What a look at an instance or cluster finds in the way of backups by snapshots, and of drills."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from databosun.api.result import Finding, ManagedState, ProbeResult
from databosun.api.targets import RDSTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import DatabosunError
from databosun.engines.base import Target
from databosun.engines.rds.cloud import AnswerError, Cloud
from databosun.engines.rds.place import examine_place
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.server import AVAILABLE, Server
from databosun.engines.rds.snapshots import MANUAL, OF_CLUSTER, OF_INSTANCE

ALL = [str(method) for method in Method]
OURS = frozenset({Method.AUTO, Method.SNAPSHOT})
# A backup waits for what passes by itself; stopped and failed instances take none.
_NEVER = frozenset({"stopped", "stopping", "failed", "storage-full", "inaccessible-encryption-credentials", "deleting"})
DEFAULT_QUOTA, ALMOST = 100, 0.9


def examine(cloud: Cloud, target: Target, server: Server, rds: RDSTarget, methods: Iterable[Method]) -> list[Finding]:
    """Findings, what blocks first."""
    found = [*_methods(methods), *_state(server), *_quota(cloud, server), *_own_backups(server)]
    if rds.drill is not None:
        found += [Finding(reason=one.reason, message=one.message) for one in _drill(cloud, server, rds)]
    return sorted(found, key=lambda one: not one.blocks)


def _methods(methods: Iterable[Method]) -> Iterable[Finding]:
    for method in sorted(set(methods) - OURS):
        message = f"method is {method}; of RDS there are only snapshots: expected Auto or Snapshot"
        yield Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, blocks=[str(method)])


def _state(server: Server) -> Iterable[Finding]:
    if server.status in _NEVER:
        message = f"{server.name} is {server.status}; AWS takes snapshots of what is {AVAILABLE} alone"
        yield Finding(reason=Reason.INSTANCE_NOT_AVAILABLE, message=message, blocks=ALL)


def _own_backups(server: Server) -> Iterable[Finding]:
    if not server.retention_days:
        message = (
            f"AWS takes no backups of {server.name} by itself (backup retention period 0): nothing reaches between two "
            "snapshots of ours"
        )
        verb = "cluster" if server.clustered else "instance"
        fix = f"aws rds modify-db-{verb} --db-{verb}-identifier {server.name} --backup-retention-period 7"
        yield Finding(reason=Reason.BACKUP_RETENTION_OFF, message=message, fix=fix)
    if not server.encrypted:
        message = f"the storage of {server.name} is not encrypted, nor are its snapshots; restore a copy that is"
        yield Finding(reason=Reason.NOT_ENCRYPTED, message=message)


def _quota(cloud: Cloud, server: Server) -> Iterable[Finding]:
    """How many manual snapshots the account may still take, where it can be seen."""
    kind = OF_CLUSTER if server.clustered else OF_INSTANCE
    try:
        used = sum(1 for _ in cloud.pages(f"describe_{kind.noun}s", kind.listing, SnapshotType=MANUAL))
    except AnswerError as error:
        fault = cloud.fault(error, "counting snapshots")
        yield Finding(reason=fault.reason, message=fault.message, blocks=ALL)
        return
    limit = DEFAULT_QUOTA
    if used >= ALMOST * limit:
        message = (
            f"the account has {used} manual snapshots in {cloud.region}, and AWS allows {limit} where it was not asked "
            "for more; keep fewer, or have the quota raised"
        )
        yield Finding(reason=Reason.CLOUD_QUOTA, message=message)


def _drill(cloud: Cloud, server: Server, rds: RDSTarget) -> Iterable[DatabosunError]:
    try:
        examine_place(cloud, server, rds)
    except AnswerError as error:
        yield cloud.fault(error, "looking at the place of drills")
    except DatabosunError as fault:
        yield fault


def unfound(fault: DatabosunError) -> ProbeResult:
    """What is named is not there, or is not it: nothing can be backed up, and AWS's own backups promise nothing."""
    finding = Finding(reason=fault.reason, message=fault.message, blocks=ALL)
    return ProbeResult(reachable=False, findings=[finding], managed=ManagedState())


def managed_state(cloud: Cloud, server: Server) -> ManagedState:
    """What AWS says that it can restore by itself. An earliest instant that cannot be seen makes for no window."""
    return ManagedState(
        earliest=server.earliest or _earliest(cloud, server),
        latest=server.latest,
        retention_days=server.retention_days,
        multi_az=server.multi_az,
        encrypted=server.encrypted,
    )


def _earliest(cloud: Cloud, server: Server) -> datetime | None:
    """Where the window of an instance begins, from its automated backups."""
    if server.clustered or not server.retention_days:
        return None
    try:
        for one in cloud.pages(
            "describe_db_instance_automated_backups", "DBInstanceAutomatedBackups", DBInstanceIdentifier=server.name
        ):
            window = one.get("RestoreWindow") or {}
            if window.get("EarliestTime"):
                at: datetime = window["EarliestTime"]
                return at
    except AnswerError:
        return None  # without that right only `latest` is known, and nothing is claimed
    return None
