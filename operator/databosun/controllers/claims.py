"""Who asks for the log of a server: policies of one Database, and all Databases that name the same server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.covering import Covered, Covering, covered
from databosun.controllers.seen import SeenDatabase, SeenPolicy
from databosun.domain.archiving import Claim, choose_lead, choose_policy, refusal
from databosun.domain.conditions import Wanted
from databosun.domain.errors import UserFault
from databosun.domain.names import archiver_name
from databosun.domain.plan import LABEL_DATABASE_UID
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True)
class Asked:
    """What the policies of one Database ask for. `refused`: why its log cannot be shipped, though it is asked for."""

    claim: Claim | None = None
    covering: Covering | None = None
    refused: Wanted | None = None

    @property
    def served(self) -> Claim | None:
        """The claim, where it can be served."""
        return self.claim if self.refused is None else None


def asked_of(seen: SeenDatabase, policies: Covered) -> Asked:
    """The policy that owns the Database's log."""
    by_uid = {one.seen.meta.uid: one for one in policies.usable}
    claims = [_claim(seen, one) for one in policies.usable if one.effective.continuous is not None]
    archiver = seen.status.archiver
    claim = choose_policy(claims, archiver.policy_uid if archiver else None)
    if claim is None:
        return Asked()
    covering = by_uid[claim.policy.uid]
    database = seen.spec.connection.database if seen.spec.connection else None
    return Asked(claim, covering, refusal(claim, seen.spec.engine, covering.effective.method, database))


def _claim(seen: SeenDatabase, one: Covering) -> Claim:
    continuous, policy = one.effective.continuous, one.seen
    if continuous is None:
        raise TypeError(one)
    storage = policy.spec.storage_ref.name
    return Claim(seen.meta.named, seen.meta.created, policy.meta.named, policy.meta.created, storage, continuous)


def lead_of(context: Context, namespace: str, system_identifier: str, mine: Claim | None) -> Claim | None:
    """The claim that speaks for a server, of those of all its Databases; `mine` stands for that Database's own."""
    claims = [mine] if mine is not None else []
    for key in context.cache.referring("Database", namespace, f"system:{system_identifier}"):
        body = context.cache.get(key)
        try:
            other = read.database(body) if body is not None else None
        except UserFault:
            continue  # said on the Database itself
        if other is None or other.meta.deleting or (mine is not None and other.meta.uid == mine.database.uid):
            continue
        claim = asked_of(other, covered(context, other)).served
        if claim is not None:
            claims.append(claim)
    body = context.cache.get(Key("Deployment", namespace, archiver_name(system_identifier)))
    incumbent = body["metadata"].get("labels", {}).get(LABEL_DATABASE_UID) if body is not None else None
    return choose_lead(claims, incumbent)


def conflict_of(context: Context, policy: SeenPolicy, databases: Sequence[SeenDatabase]) -> str | None:
    """Why a policy's continuous does not take effect for some of its databases: another policy owns their log."""
    for database in databases:
        policies = covered(context, database)
        if len(policies.usable) < 2:
            continue
        asking = [one for one in policies.usable if one.effective.continuous is not None]
        owner = asked_of(database, policies).claim
        mine = any(one.seen.meta.uid == policy.meta.uid for one in asking)
        if mine and owner is not None and owner.policy.uid != policy.meta.uid:
            return (
                f"BackupPolicy {owner.policy.name} owns the log of Database {database.meta.name}, and only one can; "
                "set continuous.enabled to false in one of the two. Backups by this policy go on"
            )
    return None


def unreadable(context: Context, uid: str, policies: Covered) -> bool:
    """Whether a policy is there and cannot be understood at the moment: then nobody knows what it asks for."""
    if uid in policies.unusable:
        return True
    key = context.cache.key_of(uid)
    body = context.cache.get(key) if key is not None else None
    if body is None:
        return False
    try:
        read.policy(body)
    except UserFault:
        return True
    return False
