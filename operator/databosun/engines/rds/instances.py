"""Temporary instances of drills: made with tags from the first moment, and deleted whatever happens.

An agent that ends by itself deletes what it made. One that is killed leaves it, with our prefix, our tags, and the
instant that it may live to; the next Job of the same Database finds it by these and deletes it. Nothing else is ever
deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.targets import DrillPlace
from databosun.api.v1alpha1.backup import HeldPart
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.managed import Visit
from databosun.engines.rds.cloud import AnswerError, Cloud
from databosun.engines.rds.marks import BEGAN, DRILL, EXPIRES, RUN, Owner, instant_of, tags_of
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.server import AVAILABLE, Server
from databosun.engines.rds.snapshots import name_of
from databosun.engines.rds.waiting import Patience

DELETING = "deleting"
# Clocks of operator and agents may differ; what is left a little longer goes at the next look.
SKEW = timedelta(minutes=5)
_UNRESTORABLE = frozenset({"failed", "incompatible-restore"})
_UNFIT = frozenset(
    {
        "incompatible-parameters",
        "incompatible-network",
        "incompatible-option-group",
        "storage-full",
        "insufficient-capacity",
    }
)
_STATUS = {"DBInstances": "DBInstanceStatus", "DBClusters": "Status"}
_NAME = {"DBInstances": "DBInstanceIdentifier", "DBClusters": "DBClusterIdentifier"}
_CREATED = {"DBInstances": "InstanceCreateTime", "DBClusters": "ClusterCreateTime"}
_DESCRIBE = {"DBInstances": "describe_db_instances", "DBClusters": "describe_db_clusters"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a temporary instance is made of, and where."""

    server: Server
    part: HeldPart
    until: RecoveryPoint
    place: DrillPlace


@dataclass(frozen=True, slots=True)
class Instance:
    """A temporary instance that is available."""

    name: str
    host: str
    port: int
    version: str


@contextmanager
def temporary(
    cloud: Cloud, wanted: Wanted, visit: Visit, patience: Patience, warn: Callable[[str], None]
) -> Iterator[Instance]:
    """The instance, available; deleted when the block ends, whatever ended it, also where it never became available.

    What cannot be deleted is told to `warn`, and removed by the next Job.
    """
    began = patience.now()
    remove(cloud, [one for one in left(cloud, Owner.of(visit)) if one.run == visit.run])
    name = Owner.of(visit).instance(visit.run, visit.attempt)
    try:
        tags = Owner.of(visit).tags(visit, began=began, expires=visit.until)
        try:
            _make(cloud, wanted, name, tags, patience)
            said = patience.wait(f"instance {name} to become available", lambda: _available(cloud, name))
        except AnswerError as error:
            raise cloud.fault(error, f"restoring into instance {name}") from error
        endpoint = said["Endpoint"]
        yield Instance(name, str(endpoint["Address"]), int(endpoint["Port"]), str(said.get("EngineVersion", "")))
    finally:
        _end(cloud, visit, name, warn)


def _end(cloud: Cloud, visit: Visit, name: str, warn: Callable[[str], None]) -> None:
    """Ask for the deletion of what was made. AWS carries a deletion out by itself once it was asked for."""
    try:
        remove(cloud, [one for one in left(cloud, Owner.of(visit)) if one.run == visit.run])
    except (WorldFault, UserFault) as fault:
        left_there = f"{Reason.INSTANCE_LEFT}: instance {name} is left in {cloud.region}; the next Job removes it"
        warn(f"{left_there}: {fault.message}")


def _make(cloud: Cloud, wanted: Wanted, name: str, tags: list[dict[str, str]], patience: Patience) -> None:
    place, server = wanted.place, wanted.server
    where = {"DBSubnetGroupName": place.subnet_group, "VpcSecurityGroupIds": place.security_group_ids}
    class_ = place.instance_class or server.instance_class
    alone = {
        "PubliclyAccessible": False,
        "AutoMinorVersionUpgrade": False,
        "DBParameterGroupName": place.parameter_group,
    }
    if not server.clustered:
        given = {
            **where,
            **alone,
            "DBInstanceClass": class_,
            "MultiAZ": False,
            "DeletionProtection": False,
            "Tags": tags,
        }
        if wanted.until.kind in (PointKind.NONE, PointKind.IMMEDIATE):
            source = {"DBInstanceIdentifier": name, "DBSnapshotIdentifier": wanted.part.name}
            cloud.ask("restore_db_instance_from_db_snapshot", **source, **given)
            return
        source = {"SourceDBInstanceIdentifier": server.name, "TargetDBInstanceIdentifier": name}
        cloud.ask("restore_db_instance_to_point_in_time", **source, **_point(wanted.until), **given)
        return
    given = {
        **where,
        "DBClusterParameterGroupName": place.cluster_parameter_group,
        "DeletionProtection": False,
        "Tags": tags,
    }
    if wanted.until.kind in (PointKind.NONE, PointKind.IMMEDIATE):
        source = {"DBClusterIdentifier": name, "SnapshotIdentifier": name_of(wanted.part.name), "Engine": server.engine}
        cloud.ask("restore_db_cluster_from_snapshot", **source, **given)
    else:
        source = {"DBClusterIdentifier": name, "SourceDBClusterIdentifier": server.name}
        cloud.ask("restore_db_cluster_to_point_in_time", **source, **_point(wanted.until, cluster=True), **given)
    patience.wait(f"cluster {name} to become available", lambda: _available(cloud, name, "DBClusters"))
    member = {
        "DBInstanceIdentifier": name,
        "DBClusterIdentifier": name,
        "Engine": server.engine,
        "DBInstanceClass": class_,
    }
    cloud.ask("create_db_instance", **member, **alone, Tags=tags)


def _point(until: RecoveryPoint, *, cluster: bool = False) -> dict[str, Any]:
    if until.kind is PointKind.LATEST:
        return {"UseLatestRestorableTime": True}
    if until.kind is PointKind.TIME and until.time is not None:
        return {"RestoreToTime" if cluster else "RestoreTime": until.time}
    message = f"RDS restores to an instant or to the latest one, not to {until.kind} {until.lsn or until.name or ''}"
    raise UserFault(Reason.POINT_NOT_COVERED, message.rstrip())


def _available(cloud: Cloud, name: str, listing: str = "DBInstances") -> Mapping[str, Any] | None:
    said = cloud.ask(_DESCRIBE[listing], **{_NAME[listing]: name})[listing][0]
    status = str(said.get(_STATUS[listing]))
    if status in _UNRESTORABLE:
        message = f"AWS says that {name}, made of the backup, is {status}: the backup does not restore"
        raise SafetyStop(Reason.INSTANCE_FAILED, message)
    if status in _UNFIT:
        message = f"AWS says that {name} is {status}; correct the groups or the class in spec.rds.drill of the Database"
        raise UserFault(Reason.INSTANCE_FAILED, message)
    endpoint = listing == "DBClusters" or bool((said.get("Endpoint") or {}).get("Address"))
    return said if status == AVAILABLE and endpoint else None


@dataclass(frozen=True, slots=True)
class Left:
    """Something of a drill that is there: ours by prefix, tags and time."""

    listing: str
    name: str
    run: str
    expires: datetime | None
    began: datetime | None = None


def left(cloud: Cloud, owner: Owner) -> list[Left]:
    """All that drills of one Database have made and that is not on its way out; instances before their clusters."""
    try:
        return [one for listing in _DESCRIBE for one in _left(cloud, owner, listing)]
    except AnswerError as error:
        raise cloud.fault(error, "looking for what drills have left") from error


def _left(cloud: Cloud, owner: Owner, listing: str) -> Iterator[Left]:
    for said in cloud.pages(_DESCRIBE[listing], listing):
        name, created, began = str(said[_NAME[listing]]), said.get(_CREATED[listing]), instant_of(said, BEGAN)
        ours = name.startswith(DRILL) and owner.owns(said) and began is not None
        # What is older than the drill that it names was never made by it.
        older = created is not None and began is not None and created < began.replace(microsecond=0)
        if ours and not older and said.get(_STATUS[listing]) != DELETING:
            yield Left(listing, name, tags_of(said).get(RUN, ""), instant_of(said, EXPIRES), began)


def forsaken(
    found: Collection[Left], active: Collection[str], now: datetime, known_at: datetime | None = None
) -> list[Left]:
    """Those whose drill is over, or whose time is. A drill that began since `active` was known is not over."""
    return [one for one in found if one.expires is None or one.expires < now or _over(one, active, known_at)]


def _over(one: Left, active: Collection[str], known_at: datetime | None) -> bool:
    fresh = known_at is not None and one.began is not None and one.began > known_at - SKEW
    return one.run not in active and not fresh


def remove(cloud: Cloud, found: Collection[Left]) -> None:
    """Ask for their deletion, with all of AWS's own backups of them, and without a last snapshot."""
    for one in found:
        try:
            if one.listing == "DBInstances":
                cloud.ask(
                    "delete_db_instance", **{_NAME[one.listing]: one.name}, SkipFinalSnapshot=True, **_alone(found, one)
                )
            else:
                cloud.ask("delete_db_cluster", **{_NAME[one.listing]: one.name}, SkipFinalSnapshot=True)
        except AnswerError as error:
            if error.missing or _goes(cloud, one):
                continue
            raise cloud.fault(error, f"deleting {one.name}") from error


def _alone(found: Collection[Left], one: Left) -> dict[str, bool]:
    member = any(other.name == one.name and other.listing == "DBClusters" for other in found)
    return {} if member else {"DeleteAutomatedBackups": True}


def _goes(cloud: Cloud, one: Left) -> bool:
    """Whether it is on its way out already, though the deletion was refused."""
    try:
        said = cloud.ask(_DESCRIBE[one.listing], **{_NAME[one.listing]: one.name})[one.listing]
    except AnswerError as error:
        return error.missing
    return not said or said[0].get(_STATUS[one.listing]) == DELETING
