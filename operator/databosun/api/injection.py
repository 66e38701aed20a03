"""What a failover test may do to the pod of a primary, as a FailoverTest asks for it and as its plan has it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Name, PositiveDuration
from databosun.api.v1alpha1.schema import cel, rules


class FaultKind(StrEnum):
    """What is done to the pod of the primary."""

    POD_DELETE = "PodDelete"
    CONTAINER_KILL = "ContainerKill"
    NETWORK_PARTITION = "NetworkPartition"


class InjectedFault(Model):
    """What is done to the pod of the primary; then it is looked who takes writes."""

    model_config = rules(
        cel(
            "(self.kind == 'NetworkPartition') == has(self.duration)",
            "duration is required by kind NetworkPartition, and for that kind only",
        ),
        cel("self.kind == 'ContainerKill' || !has(self.container)", "container is for kind ContainerKill only"),
    )
    kind: FaultKind = Field(
        description="PodDelete: the pod is deleted, with a grace of one second. ContainerKill: its container is killed,"
        " by Chaos Mesh. NetworkPartition: it reaches nobody, and nobody reaches it, by Chaos Mesh."
    )
    container: Name | None = Field(
        default=None, description="ContainerKill: which container of the pod. Absent: the only one."
    )
    duration: PositiveDuration | None = Field(
        default=None, description="NetworkPartition: how long, such as 30s; at most 1h. It ends by itself."
    )
