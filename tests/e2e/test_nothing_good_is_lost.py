"""No accident deletes a good backup: objects, namespaces, CRDs, the operator go; data stay, and nothing hangs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from support.clusterapi import Object
from support.stack import ROOT, SYSTEM, Stack
from support.stackplace import LABEL_FINISHED, Place, database_of, policy, storage

pytestmark = pytest.mark.e2e

CRDS = [f"{path.name.removesuffix('.yaml')}" for path in sorted((ROOT / "crds").glob("*.yaml"))]
OURS = "bpol,bbk,bdb,bst"


@pytest.fixture(scope="module")
def kept(place: Place) -> Place:
    """Databases with backups, all taken at once; named after what is to happen to them."""
    for name in ("unruled", "reborn"):
        place.offer(name, retention={"keepLast": 1, "grace": "0s"} if name == "reborn" else None)
    place.offer("cleared", deletionPolicy="Delete")
    place.offer("held")
    for name in ("unruled", "reborn", "held"):
        place.back_up(f"{name}-1", name)
    place.back_up("cleared-1", "cleared", deletionPolicy="Delete")
    return place


def test_a_policy_that_is_deleted(kept: Place) -> None:
    before = kept.succeeded("unruled-1")
    files = kept.files("unruled-1")
    kept.stack.kubectl("delete", "bpol", "unruled", "-n", kept.namespace, "--timeout=60s")
    kept.wait(
        "the Database says that it has no policy",
        lambda: kept.condition("databases", "unruled", "Protected").get("reason") == "NoPolicy",
    )
    assert kept.status("backups", "unruled-1") == before
    assert kept.files("unruled-1") == files


def test_a_database_that_is_created_anew_expires_nothing_of_the_one_before(kept: Place) -> None:
    kept.succeeded("reborn-1")
    kept.stack.kubectl("delete", "bdb", "reborn", "-n", kept.namespace, "--timeout=60s")
    kept.offer("reborn", retention={"keepLast": 1, "grace": "0s"})
    for number in (2, 3):
        kept.back_up(f"reborn-{number}", "reborn")
        kept.succeeded(f"reborn-{number}")
    # Retention is at work: it lets go of the second one, of the new Database, and of that alone.
    kept.wait("retention deleted reborn-2", lambda: kept.stack.api.get("backups", kept.namespace, "reborn-2") is None)
    assert kept.files("reborn-2") == []
    assert kept.files("reborn-1", "manifest.json")
    assert kept.files("reborn-3", "manifest.json")
    assert {one["metadata"]["name"] for one in kept.backups("reborn")} == {"reborn-1", "reborn-3"}


def test_a_person_deletes_backups_whose_policy_lets_the_data_go(kept: Place) -> None:
    kept.succeeded("cleared-1")
    kept.back_up("cleared-2", "cleared", deletionPolicy="Delete")
    kept.succeeded("cleared-2")
    kept.stack.kubectl("delete", "bbk", "cleared-1", "-n", kept.namespace, "--timeout=120s")
    assert kept.files("cleared-1") == []
    assert "DataDeleted" in kept.events("cleared-1")
    kept.stack.kubectl("delete", "bbk", "cleared-2", "-n", kept.namespace, "--timeout=120s")
    assert kept.files("cleared-2", "manifest.json"), "the newest good backup stays in the store"
    assert "newest good backup" in kept.events("cleared-2")["DataRetained"]


def test_a_held_backup_cannot_be_deleted(kept: Place) -> None:
    kept.succeeded("held-1")
    kept.stack.kubectl("label", "bbk", "held-1", "-n", kept.namespace, "databosun.io/hold=true")
    kept.wait("the hold is in the bucket", lambda: bool(kept.files("held-1", "hold.json")))
    refused = kept.stack.cluster.kubectl("delete", "bbk", "held-1", "-n", kept.namespace, check=False)
    assert refused.returncode != 0
    assert "hold" in refused.stderr
    assert kept.stack.api.get("backups", kept.namespace, "held-1") is not None
    assert kept.files("held-1", "manifest.json")


@contextmanager
def furnished(stack: Stack, name: str) -> Iterator[Place]:
    """A namespace that a test may destroy."""
    stack.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=180s")
    place = Place(stack, name)
    place.furnish()
    yield place
    stack.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=180s")


def test_objects_restored_without_status_start_no_run_again(stack: Stack) -> None:
    """As tools that back up clusters do it: everything back, new uids, no status."""
    with furnished(stack, "e2e-restored") as place:
        place.offer("orders", startingDeadline="20s")
        scheduled = place.run_now("orders", "full/once")
        place.back_up("by-hand", "orders")
        before = {name: place.succeeded(name)["checksum"] for name in (scheduled, "by-hand")}
        saved = [
            _stripped(one)
            for kind in ("databases", "backupstorages", "backuppolicies", "backups")
            for one in stack.api.list(kind, place.namespace)
        ]
        stack.kubectl("delete", OURS, "--all", "-n", place.namespace, "--timeout=120s")
        slot = max(
            datetime.fromisoformat(one["spec"]["scheduledFor"]) for one in saved if "scheduledFor" in one["spec"]
        )
        place.wait("the slot's startingDeadline is over", lambda: datetime.now(UTC) > slot + timedelta(seconds=21))
        # One whose label was lost as well, and one of a run that never was.
        bare = next(one for one in saved if one["metadata"]["name"] == scheduled)
        del bare["metadata"]["labels"][LABEL_FINISHED]
        ghost: Object = json.loads(json.dumps(bare))
        ghost["metadata"]["name"] = "orders-2601010000-ghost"
        stack.apply(*saved, ghost)
        place.ready("databases", "orders")
        assert place.succeeded(scheduled)["checksum"] == before[scheduled], "read from the bucket, not taken again"
        place.failed("orders-2601010000-ghost", "NotStarted", "startingDeadline")
        entry = place.status("databases", "orders")["policies"][0]
        assert entry["runNowToken"] == "full/once"
        names = {one["metadata"]["name"] for one in place.backups()}
        assert names == {scheduled, "by-hand", "orders-2601010000-ghost"}
        assert not any(place.status("backups", name).get("attempts") for name in names)
        assert stack.api.list("jobs", place.namespace, "databosun.io/task=backup") == []
        assert all(place.files(name, "manifest.json") for name in before)


def _stripped(body: Object) -> Object:
    kept: dict[str, Any] = {
        key: value
        for key, value in body["metadata"].items()
        if key not in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
    }
    return {"apiVersion": "databosun.io/v1alpha1", "kind": body["kind"], "metadata": kept, "spec": body["spec"]}


def test_a_namespace_that_is_deleted_goes_and_its_data_stay(stack: Stack) -> None:
    with furnished(stack, "e2e-doomed") as place:
        place.offer("orders", deletionPolicy="Delete")
        place.back_up("orders-1", "orders", deletionPolicy="Delete")
        place.succeeded("orders-1")
        stack.kubectl("delete", "namespace", place.namespace, "--timeout=120s")
        assert place.files("orders-1", "manifest.json")


def test_a_gitops_prune_takes_what_came_from_git_and_the_data_stay(stack: Stack) -> None:
    """All that Git had is pruned at once, a run under way; what the operator made stays; Git puts it back, and all goes
    on."""
    with furnished(stack, "e2e-pruned") as place:
        from_git = (
            storage("git", stack.endpoint, s3={"prefix": "git"}),
            database_of("orders", stack.servers[18].host),
            policy("orders", storageRef={"name": "git"}, deletionPolicy="Delete", retention={"keepLast": 1}),
        )
        mark = {"app.kubernetes.io/instance": "from-git"}
        for body in from_git:
            body["metadata"]["labels"] = mark
        place.apply(*from_git)
        place.back_up("orders-1", "orders", deletionPolicy="Delete")
        checksum = place.succeeded("orders-1")["checksum"]
        place.back_up("orders-2", "orders", deletionPolicy="Delete")
        place.running_pod("orders-2")
        kinds = [f"--prune-allowlist=databosun.io/v1alpha1/{body['kind']}" for body in from_git]
        left = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "labels": mark}}
        arguments = ("-n", place.namespace, "-l", "app.kubernetes.io/instance=from-git", "--prune", *kinds, "-f", "-")
        stack.cluster.kubectl("apply", *arguments, input=json.dumps(left))
        for kind, name in (("backuppolicies", "orders"), ("databases", "orders"), ("backupstorages", "git")):
            place.wait(f"{kind} {name} is gone", partial(_is_gone, place, kind, name))
        ended = place.ended("orders-2")
        assert ended["phase"] in ("Succeeded", "Failed")
        assert bool(place.files("orders-2", "manifest.json")) == (ended["phase"] == "Succeeded")
        assert place.status("backups", "orders-1")["checksum"] == checksum
        assert place.files("orders-1", "manifest.json")
        place.apply(*from_git)
        place.ready("databases", "orders")
        place.back_up("orders-3", "orders", deletionPolicy="Delete")
        place.succeeded("orders-3")
        # The Database is another one now, so retention has no say over what was taken of the one before.
        assert place.files("orders-1", "manifest.json")
        assert stack.api.get("backups", place.namespace, "orders-1") is not None


def _is_gone(place: Place, kind: str, name: str) -> bool:
    return place.stack.api.get(kind, place.namespace, name) is None


@pytest.mark.disruptive
def test_uninstalling_leaves_nothing_hanging(stack: Stack) -> None:
    """The operator goes first, a run under way; then namespaces with our finalizers go as if they had none."""
    with furnished(stack, "e2e-uninstalled") as place:
        place.offer("orders", deletionPolicy="Delete")
        place.back_up("orders-1", "orders", deletionPolicy="Delete")
        place.succeeded("orders-1")
        place.back_up("orders-2", "orders", deletionPolicy="Delete")
        place.running_pod("orders-2")
        try:
            stack.helm("uninstall", "databosun")
            assert stack.api.list("deployments", SYSTEM) == []
            assert all("finalizers" not in one["metadata"] for one in place.backups())
            assert all(
                "databosun.io/result" not in one["metadata"].get("finalizers", []) for one in place.pods("orders-2")
            )
            stack.kubectl("delete", "namespace", place.namespace, "--timeout=120s")
            assert place.files("orders-1", "manifest.json")
        finally:
            stack.install_operator()


@pytest.mark.disruptive
def test_crds_that_are_deleted_go_and_the_data_stay(stack: Stack) -> None:
    """With them go all objects of all namespaces; with new ones the operator goes on."""
    with furnished(stack, "e2e-crds") as place:
        place.offer("orders", deletionPolicy="Delete")
        place.back_up("orders-1", "orders", deletionPolicy="Delete")
        place.succeeded("orders-1")
        try:
            stack.kubectl("delete", "crd", *CRDS, "--timeout=120s")
            assert place.files("orders-1", "manifest.json")
        finally:
            stack.install_crds()
        place.furnish()
        place.offer("orders")
        place.back_up("orders-2", "orders")
        place.succeeded("orders-2")
