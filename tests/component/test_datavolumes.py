"""A server's own volume on an API server: read beside it, by the Jobs that copy files and by no other."""

from __future__ import annotations

from typing import Any

from databosun.api.request import Request
from databosun.kube.resources import JOBS, PERSISTENT_VOLUME_CLAIMS, PODS, Object
from support.objects import backup, database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, all_done

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data-maria-0"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
SERVER: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "maria-0"},
    "spec": {
        "securityContext": {"runAsUser": 999},
        "containers": [
            {
                "name": "mariadb",
                "image": "mariadb",
                "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql", "subPath": "db"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-maria-0"}}],
    },
}


def node(rig: Rig) -> str:
    """Of no other test: the pods of a node that is not there go, all at once, a minute after the first one was seen."""
    return f"n7-of-{rig.namespace}"


async def served(rig: Rig, *, method: str, runs: bool = True, hang: str = "") -> list[Request]:
    """What the agents of a Database with files are asked. `hang`: the task whose agents do nothing."""
    asked: list[Request] = []

    def script(request: Request) -> str | None:
        asked.append(request)
        return "hang" if request.job.task == hang else None

    rig.agents.script = script
    await rig.kube.create(PERSISTENT_VOLUME_CLAIMS, rig.namespace, CLAIM)
    if runs:
        body = {**SERVER, "spec": {**SERVER["spec"], "nodeName": node(rig)}}
        made = await rig.kube.create(PODS, rig.namespace, body)
        version = made["metadata"]["resourceVersion"]
        await rig.kube.patch_status(PODS, rig.namespace, "maria-0", {"phase": "Running"}, version)
    await rig.create(
        storage(),
        database(engine="MariaDB", dataVolume={"claimName": "data-maria-0"}),
        policy(method=method),
        backup("mine", rig.clock.now() + HOUR),
    )
    return asked


def pod_of(job: Object) -> dict[str, Any]:
    """The pod that a Job asks for."""
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


async def test_the_volume_is_read_where_its_server_has_it_beside_it_and_as_its_user(rig: Rig) -> None:
    asked = await served(rig, method="Physical", hang="backup")

    async def running() -> bool:
        return any(agent[0] == "backup" for agent in rig.agents.bucket.agents)

    await Driver(rig).until(running)
    job = await rig.kube.get(JOBS, rig.namespace, "mine-01")
    assert job is not None
    spec = pod_of(job)
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-maria-0", "readOnly": True}} in spec["volumes"]
    mount = {"name": "data", "mountPath": "/var/lib/mysql", "subPath": "db", "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (999, 65532)
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [node(rig)]}]
    targets = {one.job.task: one.database for one in asked if one.database is not None}
    assert {task for task, target in targets.items() if target.data_mount == "/var/lib/mysql"} == {"probe", "backup"}


async def test_jobs_that_dump_have_none_of_it(rig: Rig) -> None:
    asked = await served(rig, method="Logical")
    await Driver(rig).until(all_done(rig, "Succeeded"))
    assert {one.job.task for one in asked} >= {"probe", "backup"}
    assert not [one for one in asked if one.database and (one.database.data_mount or one.database.data_problem)]


async def test_a_volume_that_no_pod_uses_is_said_and_not_attached(rig: Rig) -> None:
    asked = await served(rig, method="Auto", runs=False)
    await Driver(rig).until(all_done(rig, "Succeeded"))
    (target,) = [one.database for one in asked if one.job.task == "backup"]
    assert target is not None
    assert target.data_mount is None
    assert target.data_problem is not None
    assert target.data_problem.reason == "DataVolumeUnused"
