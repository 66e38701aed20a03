"""Every reason that a condition, a failure or an Event of Databosun carries, each with what a person does about it.

A reason is never renamed: people and their alerts search for it. The modules beside list them by what they are about;
the reference lists them all from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from databosun.api.v1alpha1.reasons.cluster import ClusterReasons
from databosun.api.v1alpha1.reasons.databases import DatabaseReasons
from databosun.api.v1alpha1.reasons.entry import Joined
from databosun.api.v1alpha1.reasons.failover import FailoverReasons
from databosun.api.v1alpha1.reasons.lifecycles import LifecycleReasons
from databosun.api.v1alpha1.reasons.postgresql import PostgreSQLReasons
from databosun.api.v1alpha1.reasons.proving import ProvingReasons
from databosun.api.v1alpha1.reasons.runs import RunReasons
from databosun.api.v1alpha1.reasons.storage import StorageReasons


class Reason(
    RunReasons,
    StorageReasons,
    DatabaseReasons,
    PostgreSQLReasons,
    ProvingReasons,
    FailoverReasons,
    LifecycleReasons,
    ClusterReasons,
    StrEnum,
    metaclass=Joined,
):
    """One CamelCase word for what happened; `what_to_do` says what it means for a person."""

    what_to_do: str

    def __new__(cls, value: str, what_to_do: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.what_to_do = what_to_do
        return member


WHAT_TO_DO: Mapping[Reason, str] = MappingProxyType({reason: reason.what_to_do for reason in Reason})
"""The table of the reference."""
