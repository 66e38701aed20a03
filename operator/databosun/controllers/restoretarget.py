"""The running server that a restore goes to, and who consented to what it staged there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from databosun.api.targets import DatabaseTarget, SecretUse
from databosun.api.v1alpha1.database import DatabaseSpec, EngineName
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.consent import consents_to
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenRestore
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.consent import in_force
from databosun.domain.errors import UserFault
from databosun.domain.requests import Named, database_target
from databosun.engines.registry import demand_bridge
from databosun.kube.resources import DATABASES, RESTORES
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True)
class Far:
    """A running server to restore into, and the Secrets to log in there with."""

    database: DatabaseTarget
    secrets: list[SecretUse]


async def target_of(context: Context, seen: SeenRestore, engine: EngineName) -> Far | None:
    """None for a volume. UserFault where there is no Database of that name, or it is of another engine."""
    namespace, target = seen.meta.namespace, seen.spec.target
    if target.volume is not None:
        return None
    demand_bridge(engine)
    if target.database_ref is None:
        spec = DatabaseSpec(engine=engine, connection=target.connection)
        return Far(*database_target(Named(namespace, target.named, ""), spec, CAPABILITIES[engine].port, None))
    name = target.database_ref.name
    body = await context.kube.get(DATABASES, namespace, name)
    if body is None:
        message = f"spec.target.databaseRef: no Database {namespace}/{name} is there"
        raise UserFault(Reason.DATABASE_NOT_FOUND, message)
    known = read.database(body)
    if known.spec.engine is not engine:
        message = f"spec.target: Database {name} is {known.spec.engine}, and the backup is of {engine}"
        raise UserFault(Reason.INVALID_SPEC, message)
    spec = known.spec
    if target.credentials_secret_ref is not None and spec.connection is not None:
        connection = spec.connection.model_copy(update={"credentials_secret_ref": target.credentials_secret_ref})
        spec = spec.model_copy(update={"connection": connection})
    return Far(*database_target(known.meta.named, spec, CAPABILITIES[engine].port, None))


def target_uid(context: Context, seen: SeenRestore) -> str | None:
    """The Database that nothing else may work on meanwhile; None where the target has no such object."""
    ref = seen.spec.target.database_ref
    body = context.cache.get(Key(DATABASES.kind, seen.meta.namespace, ref.name)) if ref else None
    uid: str | None = body["metadata"]["uid"] if body is not None else None
    return uid


def consent_to(context: Context, seen: SeenRestore, now: datetime) -> str | None:
    """The Approval of what is staged, while it is in force."""
    staged = seen.status.staged
    if staged is None:
        return None
    key = Key(RESTORES.kind, seen.meta.namespace, seen.meta.name)
    given = in_force(consents_to(context, key), staged.plan_hash, now)
    return given.name if given is not None else None
