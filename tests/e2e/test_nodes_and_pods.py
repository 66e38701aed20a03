"""Pods, Jobs, nodes and the operator itself go away: each run gets the right verdict, and no folder two writers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from databosun.domain.attempt import DEADLINE_MARGIN
from support.cluster import Cluster
from support.clusterapi import Object
from support.faultproxy import FaultProxy
from support.stack import BUCKET, SYSTEM
from support.stackfaults import Dam, dam, processes_of, store_proxy
from support.stackplace import Place, storage

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def proxy(place: Place) -> Iterator[FaultProxy]:
    """What lies between the agents and the storage `proxied`."""
    with store_proxy(place.stack) as proxy:
        place.apply(storage("proxied", proxy.endpoint, s3={"prefix": "proxied"}, maxConcurrentRuns=10))
        place.ready("backupstorages", "proxied")
        yield proxy


def offer(place: Place, name: str, **spec: Any) -> None:
    """A database whose failed attempts are tried again, through the proxy."""
    place.offer(name, **{"storageRef": {"name": "proxied"}, "retries": 2, **spec})
    place.ready("databases", name)


@contextmanager
def held_up(place: Place, proxy: FaultProxy, name: str, *, drained: bool = False, **spec: Any) -> Iterator[Dam]:
    """A run in the middle of its first attempt's writing."""
    offer(place, name, **spec)
    with dam(proxy, f"{name}-1", drained=drained) as held:
        place.back_up(f"{name}-1", name)
        held.wait(f"{name}-1")
        yield held


def folders(place: Place, run: str) -> set[str]:
    """The attempts that left something in the bucket."""
    return {file.split("/")[0] for file in place.files(run) if re.match(r"a\d+/", file)}


def in_the_second(place: Place, run: str, *reasons: str, seconds: float = 180) -> Object:
    """The run succeeded in attempt 2, its first one ended for one of these reasons; the first attempt."""
    status = place.succeeded(run, seconds)
    assert [one["number"] for one in status["attempts"]] == [1, 2]
    assert place.manifest(run)["attempt"] == 2
    first: Object = status["attempts"][0]
    assert first["reason"] in reasons, status["attempts"]
    return first


def _evict(place: Place, run: str) -> None:
    pod = place.running_pod(run)["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": place.namespace}}
    place.stack.api.ask("POST", f"/api/v1/namespaces/{place.namespace}/pods/{pod}/eviction", body)


def _delete(place: Place, run: str) -> None:
    place.stack.api.delete("pods", place.namespace, place.running_pod(run)["metadata"]["name"])


def _delete_by_force(place: Place, run: str) -> None:
    pod = place.running_pod(run)["metadata"]["name"]
    place.stack.kubectl("delete", "pod", "-n", place.namespace, pod, "--force", "--grace-period=0", "--wait=false")


def _delete_the_job(place: Place, run: str) -> None:
    (job,) = place.jobs(run)
    place.stack.kubectl("delete", "job", "-n", place.namespace, job["metadata"]["name"], "--wait=false")


ACTS = {
    "evicted": (_evict, ("Interrupted", "Disrupted")),
    "deleted": (_delete, ("Interrupted", "Disrupted")),
    "forced": (_delete_by_force, ("Interrupted", "Disrupted", "NoResult")),
    "jobless": (_delete_the_job, ("Interrupted", "JobLost")),
}


@pytest.fixture(scope="module")
def disturbed(place: Place, proxy: FaultProxy) -> Iterator[Place]:
    """One run for each act, all held up in mid-write, then disturbed at once."""
    for name in ACTS:
        place.offer(name, storageRef={"name": "proxied"}, retries=2)
    with dam(proxy, *(f"{name}-1" for name in ACTS), drained=True) as held:
        for name in ACTS:
            place.back_up(f"{name}-1", name)
        for name in ACTS:
            held.wait(f"{name}-1")
        for name, (act, _) in ACTS.items():
            act(place, f"{name}-1")
        yield place


@pytest.mark.parametrize("name", ACTS)
def test_a_pod_or_job_that_goes_away_costs_one_attempt(disturbed: Place, name: str) -> None:
    first = in_the_second(disturbed, f"{name}-1", *ACTS[name][1])
    assert first["retryable"] is True
    assert len(first["message"]) > 20
    # The first attempt wrote nothing that was kept, and nothing of it keeps a pod or Job alive.
    assert folders(disturbed, f"{name}-1") == {"a2"}
    disturbed.wait("its pods are gone", lambda: not disturbed.pods(f"{name}-1"))
    assert disturbed.jobs(f"{name}-1") == []


def test_a_quota_that_admits_no_pod(place: Place, proxy: FaultProxy) -> None:
    offer(place, "quota", startDeadline="10s", retries=0)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    place.apply(quota)
    try:
        place.back_up("quota-1", "quota")
        place.failed("quota-1", "StartDeadlineExceeded", "exceeded quota: none", "pods=0")
    finally:
        place.stack.kubectl("delete", "resourcequota", "none", "-n", place.namespace)
    place.back_up("quota-2", "quota")
    place.succeeded("quota-2")


@pytest.mark.disruptive
def test_the_operator_is_killed_while_a_backup_runs(place: Place, proxy: FaultProxy) -> None:
    """Its successor goes on where it was: one Job, one attempt, one backup."""
    with held_up(place, proxy, "orphaned", deadline="3m") as held:
        (job,) = place.jobs("orphaned-1")
        pods = place.stack.api.list("pods", SYSTEM, "app.kubernetes.io/component=operator")
        names = [pod["metadata"]["name"] for pod in pods]
        place.stack.kubectl("delete", "pod", "-n", SYSTEM, *names, "--force", "--grace-period=0")
        held.opened.set()
        status = place.succeeded("orphaned-1")
    assert [one["job"] for one in status["attempts"]] == [job["metadata"]["name"]]
    assert folders(place, "orphaned-1") == {"a1"}
    place.wait("the operator is back", lambda: _operator_ready(place))


def _operator_ready(place: Place) -> bool:
    status = place.stack.api.read("deployments", SYSTEM, "databosun")["status"]
    return bool(status.get("readyReplicas") == status["replicas"])


@pytest.mark.disruptive
def test_a_frozen_node(place: Place, proxy: FaultProxy, kubelet: Kubelet) -> None:
    """The kubelet says nothing more, the agent works on: nobody else may, until its own deadline is long over."""
    with held_up(place, proxy, "frozen", drained=True, deadline="60s") as held:
        deadline = _instant(place.status("backups", "frozen-1")["attempts"][0]["deadline"])
        pod = place.running_pod("frozen-1")
        kubelet.stop()
        assert _agents(pod), "its container goes on"
        two = "the second attempt's Job is there"
        place.wait(two, lambda: any(job["metadata"]["name"].endswith("-02") for job in place.jobs("frozen-1")), 300)
        held.opened.set()
        kubelet.start()
        created = [job["metadata"]["creationTimestamp"] for job in place.jobs("frozen-1")]
        assert _instant(max(created)) >= deadline + DEADLINE_MARGIN
        assert not _agents(pod), "the first agent stops by itself at its deadline"
        in_the_second(place, "frozen-1", "Unresponsive", seconds=300)
    prefix = f"proxied/{place.namespace}/frozen/backups/frozen-1/"
    written = {
        one["Key"].removeprefix(prefix): one["LastModified"]
        for one in place.stack.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    }
    assert min(at for key, at in written.items() if key.startswith("a2/")) > deadline + DEADLINE_MARGIN
    assert folders(place, "frozen-1") == {"a2"}


def _agents(pod: Object) -> list[str]:
    return [line for line in processes_of(pod).values() if "databosun agent" in line]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Kubelet:
    """Of the cluster's only node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def stop(self) -> None:
        """Containers go on."""
        self._cluster.command("kubelet", "stop")

    def start(self) -> None:
        """As if nothing had been; returns at once."""
        self._cluster.command("kubelet", "start")


@pytest.fixture
def kubelet(stack: object, cluster: Cluster) -> Iterator[Kubelet]:
    """The node is whole again afterwards, whatever happens."""
    kubelet = Kubelet(cluster)
    yield kubelet
    kubelet.start()
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
