"""The policies that cover one database, with what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from databosun.api.targets import DatabaseTarget, SecretUse
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import PodTemplate
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.matching import policy_keys_of, selects
from databosun.controllers.seen import SeenDatabase, SeenPolicy
from databosun.domain.capabilities import CAPABILITIES, is_managed
from databosun.domain.errors import UserFault
from databosun.domain.presets import EffectivePolicy, effective
from databosun.domain.requests import database_target
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True)
class Covering:
    """A policy that covers the database, with what it comes to."""

    seen: SeenPolicy
    effective: EffectivePolicy


@dataclass(frozen=True, slots=True)
class Covered:
    """All policies of one database. `unusable`: uids of those that cannot be carried out; `broken` says why. `unread`:
    there are others that may cover it, and that cannot even be read."""

    usable: tuple[Covering, ...]
    unusable: frozenset[str] = frozenset()
    broken: str | None = None
    unread: bool = False

    @property
    def understood(self) -> bool:
        """Whether it is known what all of them ask for."""
        return not self.unusable and not self.unread

    @property
    def all(self) -> int:
        """How many cover it, those that cannot be carried out included as one."""
        return len(self.usable) + (1 if self.broken else 0)


def covered(context: Context, seen: SeenDatabase) -> Covered:
    """The policies of a database as the cache has them."""
    usable, unusable, broken = [], set(), None
    policies, unread = _policies(context, seen)
    for policy in policies:
        try:
            usable.append(Covering(policy, effective(policy.spec, seen.spec.engine)))
        except UserFault as fault:
            broken = f"BackupPolicy {policy.meta.name} is not usable: {fault.message}"
            unusable.add(policy.meta.uid)
    return Covered(tuple(usable), frozenset(unusable), broken, unread)


def methods_of(policies: Iterable[SeenPolicy]) -> list[Method]:
    """The methods that policies ask for."""
    return sorted({policy.spec.method for policy in policies} - {Method.SNAPSHOT}) or [Method.AUTO]


def login_of(context: Context, namespace: str, name: str) -> tuple[DatabaseTarget | None, list[SecretUse]]:
    """The Database of that name and its Secrets, for work on backups that a cloud keeps; nothing for all others."""
    body = context.cache.get(Key("Database", namespace, name))
    if body is None:
        return None, []
    seen = read.database(body)
    if not is_managed(seen.spec.engine):
        return None, []
    port = CAPABILITIES[seen.spec.engine].port
    return database_target(seen.meta.named, seen.spec, port, seen.status.engine_version)


def ask_incremental(policies: Iterable[SeenPolicy]) -> bool:
    """Whether any of them asks for more than fulls."""
    return any(row.type is not BackupType.FULL for policy in policies for row in policy.spec.schedules)


def pod_template_of(policies: Iterable[SeenPolicy]) -> PodTemplate | None:
    """The first template that one of them has."""
    return next((policy.spec.pod_template for policy in policies if policy.spec.pod_template), None)


def _policies(context: Context, seen: SeenDatabase) -> tuple[list[SeenPolicy], bool]:
    found: list[SeenPolicy] = []
    unread = False
    for key in policy_keys_of(context, seen.meta.namespace, seen.meta.name):
        body = context.cache.get(key)
        if body is None:
            continue
        try:
            policy = read.policy(body)
        except UserFault:
            unread = True  # said on the policy itself
            continue
        if selects(policy, seen) and not policy.meta.deleting:
            found.append(policy)
    return found, unread
