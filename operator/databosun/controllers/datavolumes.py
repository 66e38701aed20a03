"""Look up where the volume of a database's data directory is used."""

from __future__ import annotations

from collections.abc import Iterable

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase
from databosun.domain.datavolume import find_data_place
from databosun.domain.plan import DataPlace
from databosun.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS


async def with_data(
    context: Context, database: SeenDatabase, target: DatabaseTarget, methods: Iterable[Method]
) -> tuple[DatabaseTarget, DataPlace | None]:
    """The target, told where its data directory is mounted, or why it is not; and what is to be mounted. Looked up
    live, for a Database that names its claim, and methods that may read it."""
    wanted, namespace = database.spec.data_volume, database.meta.namespace
    if wanted is None or not {Method.AUTO, Method.PHYSICAL} & set(methods):
        return target, None
    claim = await context.kube.get(PERSISTENT_VOLUME_CLAIMS, namespace, wanted.claim_name)
    pods = [pod async for pod in context.kube.list(PODS, namespace, field_selector="status.phase=Running")]
    found = find_data_place(wanted, claim, pods)
    if isinstance(found, DataPlace):
        return target.model_copy(update={"data_mount": found.mount_path}), found
    return target.model_copy(update={"data_problem": found}), None
