"""The instance or cluster that is backed up, as the API describes it: one shape for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.targets import RDSTarget
from databosun.domain.errors import UserFault
from databosun.engines.rds.cloud import AnswerError, Cloud
from databosun.engines.rds.reasons import Reason

AVAILABLE, GONE = "available", "gone"
_ENGINES = {
    "PostgreSQL": ("postgres", "aurora-postgresql"),
    "MySQL": ("mysql", "aurora-mysql"),
    "MariaDB": ("mariadb",),
}


@dataclass(frozen=True, slots=True)
class Server:
    """`said`: all that the API says. `members`: descriptions of a cluster's instances, the writer first."""

    clustered: bool
    name: str
    arn: str
    resource_id: str
    engine: str
    version: str
    status: str
    said: Mapping[str, Any]
    members: tuple[Mapping[str, Any], ...] = ()

    @property
    def retention_days(self) -> int:
        """How long AWS keeps its own backups; 0: it takes none."""
        return int(self.said.get("BackupRetentionPeriod") or 0)

    @property
    def encrypted(self) -> bool:
        """Whether the storage is."""
        return bool(self.said.get("StorageEncrypted"))

    @property
    def multi_az(self) -> bool:
        """Whether a standby stands in another zone."""
        zones = {one.get("AvailabilityZone") for one in self.members}
        return bool(self.said.get("MultiAZ")) or len(zones) > 1

    @property
    def latest(self) -> datetime | None:
        """The newest instant that AWS can restore."""
        return self.said.get("LatestRestorableTime") if self.retention_days else None

    @property
    def earliest(self) -> datetime | None:
        """The oldest one, where the description says it (clusters)."""
        return self.said.get("EarliestRestorableTime") if self.retention_days else None

    @property
    def bytes(self) -> int:
        """Allocated storage."""
        return int(self.said.get("AllocatedStorage") or 0) * 1024**3

    @property
    def security_groups(self) -> frozenset[str]:
        """Those that production itself stands in."""
        found = [
            *self.said.get("VpcSecurityGroups", ()),
            *(g for m in self.members for g in m.get("VpcSecurityGroups", ())),
        ]
        return frozenset(str(one["VpcSecurityGroupId"]) for one in found if one.get("VpcSecurityGroupId"))

    @property
    def instance_class(self) -> str:
        """Of the instance, or of the cluster's writer."""
        return str((self.members[0] if self.clustered and self.members else self.said).get("DBInstanceClass") or "")


def describe(cloud: Cloud, rds: RDSTarget) -> Server:
    """What is backed up. UserFault(InstanceMissing, EngineDiffers), or what the API refuses."""
    try:
        found = _cluster(cloud, rds.cluster) if rds.cluster else _instance(cloud, str(rds.instance))
    except AnswerError as error:
        if error.missing:
            what = f"cluster {rds.cluster}" if rds.cluster else f"instance {rds.instance}"
            message = f"there is no {what} in {rds.region} that {cloud.who} may see; correct spec.rds of the Database"
            raise UserFault(Reason.INSTANCE_MISSING, message) from error
        raise cloud.fault(error, "describing the database") from error
    return _demand_engine(found, rds)


def recall(manifest: Mapping[str, Any], rds: RDSTarget) -> Server:
    """What was backed up, as its backup knows it: enough for a copy of a snapshot whose original is gone.

    UserFault(EngineDiffers).
    """
    known = manifest["environment"]["rds"]
    groups = [{"VpcSecurityGroupId": one} for one in known["securityGroups"]]
    found = Server(
        clustered=bool(known.get("cluster")),
        name=str(known.get("cluster") or known.get("instance")),
        arn="",
        resource_id="",
        engine=str(known["engine"]),
        version=str(manifest["database"]["engineVersion"]),
        status=GONE,
        said={"DBInstanceClass": known.get("class"), "VpcSecurityGroups": groups},
    )
    return _demand_engine(found, rds)


def _demand_engine(found: Server, rds: RDSTarget) -> Server:
    expected = _ENGINES[rds.engine]
    if found.engine not in expected:
        message = f"{found.name} runs {found.engine}; spec.rds.engine {rds.engine} expects {' or '.join(expected)}"
        raise UserFault(Reason.ENGINE_DIFFERS, message)
    return found


def _instance(cloud: Cloud, name: str) -> Server:
    said = cloud.ask("describe_db_instances", DBInstanceIdentifier=name)["DBInstances"][0]
    if said.get("DBClusterIdentifier"):
        message = (
            f"instance {name} is a member of cluster {said['DBClusterIdentifier']}, whose snapshots are the cluster's; "
            "set spec.rds.cluster instead of spec.rds.instance"
        )
        raise UserFault(Reason.ENGINE_DIFFERS, message)
    return Server(
        clustered=False,
        name=name,
        arn=str(said.get("DBInstanceArn", "")),
        resource_id=str(said.get("DbiResourceId", "")),
        engine=str(said.get("Engine", "")),
        version=str(said.get("EngineVersion", "")),
        status=str(said.get("DBInstanceStatus", "")),
        said=said,
    )


def _cluster(cloud: Cloud, name: str) -> Server:
    said = cloud.ask("describe_db_clusters", DBClusterIdentifier=name)["DBClusters"][0]
    names = sorted(said.get("DBClusterMembers", ()), key=lambda one: not one.get("IsClusterWriter"))
    members = [
        cloud.ask("describe_db_instances", DBInstanceIdentifier=one["DBInstanceIdentifier"])["DBInstances"][0]
        for one in names
    ]
    return Server(
        clustered=True,
        name=name,
        arn=str(said.get("DBClusterArn", "")),
        resource_id=str(said.get("DbClusterResourceId", "")),
        engine=str(said.get("Engine", "")),
        version=str(said.get("EngineVersion", "")),
        status=str(said.get("Status", "")),
        said=said,
        members=tuple(members),
    )
