"""Where a Job may read the volume of a server that runs, and where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.targets import Problem
from databosun.api.v1alpha1.database import DataVolume
from databosun.domain.datavolume import find_data_place
from databosun.domain.plan import LABEL_TASK, DataPlace
from databosun.kube.datavolume import beside, data_mount, data_volume

WANTED = DataVolume(claim_name="data-maria-0")
CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"]}}
USED = {"name": "data", "persistentVolumeClaim": {"claimName": "data-maria-0"}}


def pod(name: str = "maria-0", **more: Any) -> dict[str, Any]:
    container = {"name": "mariadb", "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql"}]}
    spec = {"nodeName": "n1", "containers": [container], "volumes": [USED], **more.pop("spec", {})}
    return {
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": spec,
        "status": {"phase": "Running", **more},
    }


def place(**more: Any) -> DataPlace:
    return DataPlace(**{"claim": "data-maria-0", "mount_path": "/var/lib/mysql", "node": "n1", **more})


def found(*pods: dict[str, Any], wanted: DataVolume = WANTED) -> DataPlace | Problem:
    return find_data_place(wanted, CLAIM, pods)


def mounted(**mount: Any) -> dict[str, Any]:
    container = {"name": "m", "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql", **mount}]}
    return pod(spec={"containers": [container]})


def test_it_is_read_where_the_servers_own_pod_has_it() -> None:
    assert found(pod()) == place()
    assert found(mounted(subPath="mysql")) == place(sub_path="mysql")


@pytest.mark.parametrize(
    ("spec", "said", "user"),
    [
        ({}, None, None),
        ({"securityContext": {"runAsUser": 999}}, None, 999),
        ({"securityContext": {"runAsUser": 0}}, None, None),
        ({"securityContext": {"runAsUser": 999}}, 1001, 1001),
    ],
)
def test_it_is_read_as_the_user_that_its_files_belong_to(
    spec: dict[str, Any], said: int | None, user: int | None
) -> None:
    wanted = DataVolume(claim_name="data-maria-0", run_as_user=said)
    assert found(pod(spec=spec), wanted=wanted) == place(user=user)


def test_a_containers_user_outweighs_that_of_its_pod() -> None:
    one = pod(spec={"securityContext": {"runAsUser": 1}})
    one["spec"]["containers"][0]["securityContext"] = {"runAsUser": 2}
    assert found(one) == place(user=2)


@pytest.mark.parametrize(
    "other",
    [
        pod(phase="Pending"),
        pod(phase="Succeeded"),
        pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        pod(metadata={"labels": {LABEL_TASK: "backup"}}),
        pod(spec={"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "other"}}]}),
        pod(
            spec={
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-maria-0", "readOnly": True}}]
            }
        ),
        pod(spec={"nodeName": None}),
        mounted(readOnly=True),
        mounted(subPathExpr="$(POD)"),
    ],
)
def test_pods_that_are_not_the_servers_do_not_count(other: dict[str, Any]) -> None:
    problem = found(other)
    assert isinstance(problem, Problem)
    assert problem.reason == "DataVolumeUnused"
    assert found(other, pod("maria-1")) == place()


def test_a_claim_of_one_pod_alone_is_refused_by_name() -> None:
    problem = find_data_place(WANTED, {"spec": {"accessModes": ["ReadWriteOncePod"]}}, [pod()])
    assert isinstance(problem, Problem)
    assert problem.reason == "DataVolumeExclusive"
    assert "data-maria-0" in problem.message


def test_a_claim_that_is_not_there_is_said() -> None:
    problem = find_data_place(WANTED, None, [pod()])
    assert isinstance(problem, Problem)
    assert (problem.reason, "data-maria-0: there is none" in problem.message) == ("DataVolumeUnused", True)


@pytest.mark.parametrize("path", ["/", "/tmp", "/scratch", "/run", "/opt/bitnami/mariadb"])
def test_a_place_that_a_job_has_for_itself_is_refused(path: str) -> None:
    problem = found(mounted(mountPath=path))
    assert isinstance(problem, Problem)
    assert path in problem.message


def test_nothing_is_written_to_it_or_given_to_another_group() -> None:
    assert data_volume(place()) == {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "data-maria-0", "readOnly": True},
    }
    assert data_mount(place(sub_path="m")) == {
        "name": "data",
        "mountPath": "/var/lib/mysql",
        "readOnly": True,
        "subPath": "m",
    }


def test_the_job_goes_to_the_servers_node_whatever_else_is_asked() -> None:
    here = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    kind = "requiredDuringSchedulingIgnoredDuringExecution"
    assert beside(place(), None) == {"nodeAffinity": {kind: {"nodeSelectorTerms": [{"matchFields": [here]}]}}}
    zones = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [one]}]} for one in "ab"]
    asked = {"nodeAffinity": {kind: {"nodeSelectorTerms": zones}}, "podAffinity": {"x": []}}
    terms = [{**zone, "matchFields": [here]} for zone in zones]
    assert beside(place(), asked) == {"nodeAffinity": {kind: {"nodeSelectorTerms": terms}}, "podAffinity": {"x": []}}
    assert asked["nodeAffinity"][kind]["nodeSelectorTerms"] == zones
    assert beside(None, asked) is asked
