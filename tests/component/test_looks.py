"""The looks of a test leave out what cannot have changed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.kube.answers import Call
from databosun.kube.client import KubeClient
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS, JOBS, Object
from databosun.kube.transport import Transport, load_configuration
from support.cluster import Cluster
from support.looks import Looks
from support.objects import policy
from support.operator import Rig

POLICY = BACKUP_POLICIES.kind


def listed(looks: Looks, kind: str, **metadata: Any) -> list[Object]:
    found = [{"metadata": {"name": "a", "resourceVersion": "1", **metadata}}]
    looks.begin(kind)
    looks.listed(kind, found)
    return found


def test_a_list_holds_until_somebody_writes() -> None:
    looks = Looks(told_all=False)
    assert looks.last(POLICY) is None
    found = listed(looks, POLICY)
    looks.told(Call("list", BACKUP_POLICIES), "ok", 0)
    looks.told(Call("patch", BACKUPS), "ok", 0)
    assert looks.last(POLICY) is found
    looks.told(Call("patch", BACKUP_POLICIES), "ok", 0)
    assert looks.last(POLICY) is None
    assert looks.last(POLICY) is None, "asking is not listing"


def test_what_is_written_while_a_list_is_made_is_listed_once_more() -> None:
    looks = Looks(told_all=False)
    looks.begin(POLICY)
    looks.told(Call("create", BACKUP_POLICIES), "ok", 0)
    looks.listed(POLICY, [])
    assert looks.last(POLICY) is None


@pytest.mark.parametrize("outcome", ["Cancelled", "Unreachable"])
def test_after_a_write_that_may_still_come_every_look_lists(outcome: str) -> None:
    looks = Looks(told_all=False)
    looks.told(Call("patch", BACKUP_POLICIES), outcome, 0)
    listed(looks, POLICY)
    assert looks.last(POLICY) is None


@pytest.mark.parametrize("metadata", [{"ownerReferences": [{"uid": "1"}]}, {"deletionTimestamp": "now"}])
def test_what_the_garbage_collector_may_take_is_listed_at_every_look(metadata: dict[str, Any]) -> None:
    looks = Looks(told_all=False)
    listed(looks, POLICY, **metadata)
    assert looks.last(POLICY) is None


def test_where_every_write_is_told_of_nothing_is_listed_twice() -> None:
    looks = Looks(told_all=True)
    found = listed(looks, JOBS.kind, deletionTimestamp="now")
    assert looks.last(JOBS.kind) is found
    looks.wrote(JOBS.kind)
    assert looks.last(JOBS.kind) is None


def test_what_the_clusters_controllers_write_is_listed_at_every_look_while_there_is_any() -> None:
    looks = Looks(told_all=False)
    listed(looks, JOBS.kind)
    assert looks.last(JOBS.kind) is None
    looks.listed(JOBS.kind, [])
    assert looks.last(JOBS.kind) == []


def test_runs_are_told_apart_by_what_their_lists_found() -> None:
    looks = Looks(told_all=False)
    before = looks.runs()
    listed(looks, BACKUPS.kind)
    after = looks.runs()
    assert after not in (None, before)
    listed(looks, BACKUPS.kind)
    assert looks.runs() == after
    looks.told(Call("create", BACKUPS), "ok", 0)
    assert looks.runs() is None


@pytest.mark.api
async def test_a_test_fails_where_somebody_else_writes_what_no_look_sees(kinds: Cluster, namespace: str) -> None:
    rig = Rig(kinds.kubeconfig, namespace)
    await rig.create(policy("nightly"), policy("weekly"))
    await rig.everything()
    stranger = KubeClient(Transport(load_configuration(str(kinds.kubeconfig))))
    await stranger.patch_metadata(BACKUP_POLICIES, namespace, "weekly", {"labels": {"a": "b"}}, None)
    stranger.close()
    with pytest.raises(AssertionError, match="BackupPolicy weekly: written by somebody who is not of this test"):
        await rig.close()
