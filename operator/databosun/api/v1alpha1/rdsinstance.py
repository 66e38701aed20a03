"""Where in a cloud a Database is, as far as RDS keeps it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Name
from databosun.api.v1alpha1.schema import UNIQUE, cel, matches, rules

_RDS_NAME = r"^[a-zA-Z][a-zA-Z0-9\-]*$"

RDSName = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=_RDS_NAME),
    matches(_RDS_NAME, "an RDS identifier (a letter, then letters, digits and -)"),
]

Region = Annotated[str, Field(min_length=1, max_length=32)]

AwsName = Annotated[str, Field(min_length=1, max_length=255)]

_URL = r"^https?://[^\s]+$"


class CloudKeysRef(Model):
    """A Secret with an access key of AWS."""

    name: Name = Field(description="Name of the Secret, with the keys accessKeyId and secretAccessKey.")


class RDSCopy(Model):
    """A second copy of each snapshot, in another region."""

    region: Region = Field(description="AWS region that takes the copies.")
    kms_key_id: AwsName | None = Field(
        default=None, description="KMS key of that region, which an encrypted snapshot needs there."
    )


class RDSDrillPlace(Model):
    """Where a drill makes its temporary instance. Nothing of it is taken over from production by itself: a restored
    copy has production's data and passwords."""

    parameter_group: AwsName = Field(
        description="DB parameter group of drills: as production's, but with nothing that acts by itself (no pg_cron,"
        " max_logical_replication_workers 0; MySQL, MariaDB: event_scheduler OFF)."
    )
    cluster_parameter_group: AwsName | None = Field(
        default=None, description="DB cluster parameter group, as parameterGroup. Required with cluster."
    )
    subnet_group: AwsName = Field(description="DB subnet group.")
    security_group_ids: Annotated[list[AwsName], Field(min_length=1, max_length=5), UNIQUE] = Field(
        description="VPC security groups that let the drill's pod in and nothing out. None of production's: one that"
        " the instance itself has is refused."
    )
    instance_class: AwsName | None = Field(default=None, description="Instance class. Absent: production's own.")


class RDSInstance(Model):
    """An Amazon RDS instance or Aurora cluster."""

    model_config = rules(
        cel("has(self.instance) != has(self.cluster)", "exactly one of instance and cluster is required")
    )
    instance: RDSName | None = Field(
        default=None, description="Identifier of the instance. Exactly one of instance and cluster."
    )
    cluster: RDSName | None = Field(default=None, description="Identifier of the Aurora or Multi-AZ cluster.")
    region: Region = Field(description="AWS region, such as eu-central-1.")
    engine: Literal["PostgreSQL", "MySQL", "MariaDB"] = Field(description="What RDS runs.")
    endpoint: (
        Annotated[str, Field(max_length=512, pattern=_URL), matches(_URL, "an URL with http:// or https://")] | None
    ) = Field(
        default=None, description="URL of the RDS API, such as a VPC endpoint's. Absent: AWS's own of the region."
    )
    credentials_secret_ref: CloudKeysRef | None = Field(
        default=None,
        description="Secret with an access key of AWS. Absent: workload identity, by serviceAccountName of the"
        " podTemplate.",
    )
    copy_to: RDSCopy | None = Field(default=None, description="Copy each snapshot to another region too.")
    drill: RDSDrillPlace | None = Field(
        default=None, description="Where a drill makes its temporary instance. Absent: drills are refused."
    )
