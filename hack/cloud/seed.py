"""What an account has before Databosun comes: an encrypted instance with backups of its own, and a place for drills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

FAMILY = {"postgres": "postgres{}", "mariadb": "mariadb10.11", "mysql": "mysql8.0"}
# What keeps a copy from acting by itself.
_SILENT = {
    "postgres": ("max_logical_replication_workers", "0"),
    "mariadb": ("event_scheduler", "OFF"),
    "mysql": ("event_scheduler", "OFF"),
}


@dataclass(frozen=True, slots=True)
class Production:
    """An instance, and the names of what stands around it. moto takes any security group for one that exists."""

    name: str = "payments"
    engine: str = "postgres"
    version: str = "18.1"
    group: str = "databosun-drills"
    subnets: str = "private"
    security_group: str = "sg-0fedcba9876543210"


def seed(rds: Any, ec2: Any, wanted: Production) -> None:
    """Make what is not there yet; `rds` and `ec2` are clients of boto3."""
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    _have(
        rds.create_db_subnet_group,
        DBSubnetGroupName=wanted.subnets, DBSubnetGroupDescription="for all", SubnetIds=subnets,
    )  # fmt: skip
    family = FAMILY[wanted.engine].format(wanted.version.partition(".")[0])
    _have(
        rds.create_db_parameter_group,
        DBParameterGroupName=wanted.group, DBParameterGroupFamily=family, Description="of drills: nothing acts",
    )  # fmt: skip
    set_parameter(rds, wanted.group, *_SILENT[wanted.engine])
    _have(
        rds.create_db_instance,
        DBInstanceIdentifier=wanted.name, DBInstanceClass="db.t4g.medium", Engine=wanted.engine,
        EngineVersion=wanted.version, AllocatedStorage=20, MasterUsername="master", MasterUserPassword="never-used-1",
        DBSubnetGroupName=wanted.subnets, VpcSecurityGroupIds=[wanted.security_group], BackupRetentionPeriod=7,
        StorageEncrypted=True, MultiAZ=True,
    )  # fmt: skip


def set_parameter(rds: Any, group: str, name: str, value: str) -> None:
    """In a parameter group."""
    one = {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
    rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[one])


def _have(make: Callable[..., Any], **given: Any) -> None:
    try:
        make(**given)
    except ClientError as error:
        if not error.response["Error"]["Code"].endswith(("AlreadyExists", "AlreadyExistsFault")):
            raise
