"""A failover test whose agent asks the operator for its part, as the operator sees it; agents are simulated."""

from __future__ import annotations

import json
from typing import Any

from databosun.api.failover import ActAsked, FailoverStep, FailoverTask
from databosun.api.request import ANSWER_ANNOTATION, Request
from databosun.domain.names import attempt_job_name
from databosun.kube.resources import CNPG_CLUSTERS, PODS, Object
from support.agentrun import NAMESPACE
from support.objects import database, failover_run, failover_test, policy, storage
from support.operatordriver import HOUR, Driver, ready

RUN = "FailoverTestRun"
PATRONI = {"provider": "Patroni", "endpoints": ["http://n1:8008", "http://n2:8008"]}
CNPG = {"provider": "CloudNativePG", "clusterName": "pay"}
OWNER: Object = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders", "uid": "s-1"}
AGENT = f"{attempt_job_name('mine', 2)}-pod"


async def begin(drive: Driver, pod: Object | None = None, replication: Object = PATRONI, **spec: Any) -> None:
    """A cluster of two pods, and an agent that asks for what the plan says of the first (`pod`), and waits."""
    rig = drive.rig
    rig.agents.script = lambda request: asks(drive, request)
    test = failover_test(**{"mode": "ForcedFailover", **spec})
    await rig.create(
        storage(), database(environment="Staging", replication=replication), policy(), test, pod or member("n1")
    )
    await drive.until(lambda: ready(rig))
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))


def asks(drive: Driver, request: Request) -> str | None:
    """The line in its log, once it switches."""
    task = request.job
    if not isinstance(task, FailoverTask) or task.step is not FailoverStep.SWITCH or task.plan is None:
        return None
    until = drive.rig.clock.now() + HOUR
    asked = ActAsked(plan_hash=task.plan.hash, member="n1", host="n1.orders", not_after=until)
    line = {"ts": "now", "level": "info", "event": "act", **asked.dump()}
    drive.rig.agents.logs.setdefault((drive.rig.namespace, AGENT), json.dumps(line).encode())
    return "hang"


def member(name: str, namespace: str = NAMESPACE, owner: Object = OWNER) -> Object:
    """A pod that its owner brings back, with the data in a claim."""
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner | {"controller": True}]}
    spec = {
        "containers": [{"name": "postgresql", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "hostname": name, "subdomain": "orders",
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def begin_cnpg(drive: Driver, pod: Object | None = None, approval: Object | None = None, **status: Any) -> None:
    """The same for a Cluster of CloudNativePG, at rest but for what its status is given."""
    kube, namespace = drive.rig.kube, drive.rig.namespace
    body = await kube.create(CNPG_CLUSTERS, namespace, _cluster(namespace))
    said = {
        "currentPrimary": "n1", "targetPrimary": "n1", "instanceNames": ["n1", "n2"], "instances": 2,
        "readyInstances": 2, "phase": "Cluster in healthy state", "timelineID": 1, **status,
    }  # fmt: skip
    await kube.patch_status(CNPG_CLUSTERS, namespace, "pay", said, body["metadata"]["resourceVersion"])
    await begin(drive, pod, CNPG, mode="PlannedSwitchover", approval=approval or {"required": False})
    one = await drive.rig.get("Pod", "n1")
    ip = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}
    await kube.patch_status(PODS, namespace, "n1", ip, one["metadata"]["resourceVersion"])


def _cluster(namespace: str) -> Object:
    spec = {"instances": 2, "storage": {"size": "1Gi"}}
    metadata = {"name": "pay", "namespace": namespace}
    return {"apiVersion": CNPG_CLUSTERS.api_version, "kind": "Cluster", "metadata": metadata, "spec": spec}


async def failed(drive: Driver) -> dict[str, Any]:
    """Why the run ended as it did."""
    found: dict[str, Any] = (await drive.rig.get(RUN, "mine"))["status"]["failure"]
    return found


async def annotations(drive: Driver) -> dict[str, str]:
    """Of the agent's pod."""
    found: dict[str, str] = (await drive.rig.get("Pod", AGENT))["metadata"]["annotations"]
    return found


async def answer(drive: Driver) -> dict[str, Any]:
    """Once there is one."""

    async def answered() -> bool:
        pods = {one["metadata"]["name"]: one for one in await drive.rig.objects("Pod")}
        return AGENT in pods and ANSWER_ANNOTATION in pods[AGENT]["metadata"]["annotations"]

    await drive.until(answered)
    found: dict[str, Any] = json.loads((await annotations(drive))[ANSWER_ANNOTATION])
    return found


def told(drive: Driver, event: str = "PrimaryEnded") -> list[str]:
    """Of what was done to a primary, to whoever looks at the run."""
    return [text for about, reason, text in drive.rig.told.events if (about, reason) == ("mine", event)]


async def members(drive: Driver) -> list[str]:
    """Their uids."""
    return [one["metadata"]["uid"] for one in await drive.rig.objects("Pod") if one["metadata"]["name"] in ("n1", "n2")]
