"""The admission policies and the roles for people, on a real API server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from chart.people import (
    APPROVALS,
    BACKUPS,
    POLICIES,
    Guarded,
    Space,
    approval,
    as_list,
    for_one_run,
    wait_until_guarded,
)
from chart.rendering import CRDS_CHART, Helm, Rendered
from databosun.kube.port import Access
from databosun.kube.selfcheck import required
from support.cluster import Cluster
from support.waiting import eventually

pytestmark = pytest.mark.api

HELD = {"databosun.io/hold": "true"}
EDITOR, APPROVER, RELEASER, VIEWER, OWNER = "edith", "april", "rhea", "victor", "adam"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"
GARBAGE_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


@pytest.fixture(scope="module")
def guarded(kinds: Cluster, helm: Helm, default: Rendered) -> Iterator[Guarded]:
    """The kinds, and the chart's policies and roles under names of this run."""
    made = Guarded(kinds, uuid.uuid4().hex[:8])
    made.bring(helm.render(CRDS_CHART).manifests)
    manifests = as_list(for_one_run(default, made.run))
    kinds.kubectl("create", "-f", "-", input=manifests)
    yield made
    kinds.kubectl("delete", "--ignore-not-found", "-f", "-", input=manifests)


@pytest.fixture(scope="module")
def shop(guarded: Guarded) -> Iterator[Space]:
    """A namespace with one person of each role, once the policies are at work."""
    with guarded.space(f"shop-{guarded.run}") as space:
        space.let(EDITOR, "edit")
        space.let(OWNER, "admin")
        space.let(VIEWER, "view")
        space.let(APPROVER, guarded.role("databosun-approver"))
        space.let(RELEASER, "edit", guarded.role("databosun-releaser"))
        wait_until_guarded(space)
        eventually("edit was given our kinds", lambda: space.may(EDITOR, "delete", BACKUPS))
        eventually("admin was given our kinds", lambda: space.may(OWNER, "delete", BACKUPS))
        eventually("view was given our kinds", lambda: space.may(VIEWER, "list", BACKUPS))
        eventually("the releaser's role is known", lambda: space.may(RELEASER, "release", BACKUPS))
        yield space


def label(space: Space, user: str, name: str, value: str) -> tuple[bool, str]:
    answer = space.person(user, "label", BACKUPS, name, f"databosun.io/hold{value}", "--overwrite")
    return answer.done, answer.said


@pytest.mark.parametrize("name", ["databosun-approvals", "databosun-legal-hold", "databosun-policy-hold"])
def test_the_api_server_finds_no_fault_in_the_expressions(guarded: Guarded, name: str) -> None:
    policy = guarded.role(name)

    def status() -> dict[str, object]:
        text = guarded.cluster.kubectl("get", "validatingadmissionpolicy", policy, "-o", "json").stdout
        found: dict[str, object] = json.loads(text).get("status", {})
        return found

    eventually(f"{policy} was checked", lambda: "observedGeneration" in status())
    assert not status().get("typeChecking"), status()


def test_an_approval_in_ones_own_name_is_taken(shop: Space) -> None:
    assert shop.person(APPROVER, "create", "-f", "-", input=approval("mine", APPROVER)).done


def test_an_approval_in_another_name_is_refused_to_everybody(shop: Space) -> None:
    forged = approval("forged", "the-boss")
    answer = shop.person(APPROVER, "create", "-f", "-", input=forged)
    assert not answer.done
    assert f'spec.approvedBy is "the-boss", but this request is made by "{APPROVER}"' in answer.said
    assert not shop.person("root", "create", "-f", "-", input=forged, groups=("system:masters",)).done
    assert not shop.there(APPROVALS, "forged")


@pytest.mark.parametrize("user", [EDITOR, OWNER, VIEWER, RELEASER])
def test_who_may_edit_or_release_cannot_approve(shop: Space, user: str) -> None:
    answer = shop.person(user, "create", "-f", "-", input=approval(f"by-{user}", user))
    assert not answer.done
    assert "cannot create resource" in answer.said


def test_an_approver_can_neither_change_nor_delete_nor_plan(shop: Space) -> None:
    for verb in ("update", "patch", "delete"):
        assert not shop.may(APPROVER, verb, APPROVALS), verb
    for verb in ("create", "patch", "delete"):
        assert not shop.may(APPROVER, verb, POLICIES), verb


def test_the_owner_of_a_namespace_cannot_make_themselves_an_approver_or_releaser(shop: Space) -> None:
    for role in ("databosun-approver", "databosun-releaser"):
        name = shop.guarded.role(role)
        answer = shop.person(OWNER, "create", "rolebinding", role, f"--clusterrole={name}", f"--user={OWNER}")
        assert not answer.done
        assert "attempting to grant RBAC permissions not currently held" in answer.said


def test_a_label_of_an_approval_is_nobodys_signature(shop: Space) -> None:
    shop.person(APPROVER, "create", "-f", "-", input=approval("labelled", APPROVER))
    shop.admin("label", APPROVALS, "labelled", "team=data")


def test_viewers_only_look(shop: Space) -> None:
    assert shop.may(VIEWER, "list", APPROVALS)
    assert not shop.may(VIEWER, "create", BACKUPS)


def test_an_ordinary_backup_is_deleted_by_who_may_edit(shop: Space) -> None:
    name = shop.backup("ordinary")
    assert shop.person(EDITOR, "delete", BACKUPS, name).done


@pytest.mark.parametrize("user", [EDITOR, OWNER, RELEASER])
def test_a_held_backup_cannot_be_deleted(shop: Space, user: str) -> None:
    name = shop.backup(f"held-from-{user}", labels=HELD)
    answer = shop.person(user, "delete", BACKUPS, name)
    assert not answer.done
    assert f"Backup {shop.namespace}/{name} is under legal hold and cannot be deleted" in answer.said
    command = f"kubectl label backups.databosun.io --namespace {shop.namespace} {name} databosun.io/hold-"
    assert command in answer.said
    assert shop.there(BACKUPS, name)


def test_not_even_an_administrator_deletes_a_held_backup_or_all_at_once(shop: Space) -> None:
    name = shop.backup("held-from-all", labels=HELD)
    for arguments in (["delete", BACKUPS, name], ["delete", BACKUPS, "--all"]):
        assert not shop.person("root", *arguments, groups=("system:masters",)).done
    assert shop.there(BACKUPS, name)


def test_a_hold_that_only_the_status_records_counts_too(shop: Space) -> None:
    name = shop.backup("held-by-policy", hold={"reason": "case 4711"})
    answer = shop.person(OWNER, "delete", BACKUPS, name)
    assert not answer.done
    assert "legalHold: false in its BackupPolicy" in answer.said


def test_a_hold_without_a_reason_counts_too(shop: Space) -> None:
    name = shop.backup("held-without-reason", hold={})
    assert not shop.person(OWNER, "delete", BACKUPS, name).done


@pytest.mark.parametrize("user", [EDITOR, OWNER])
@pytest.mark.parametrize("value", ["-", "=false"], ids=["removed", "set to false"])
def test_a_hold_is_not_ended_by_who_may_only_edit(shop: Space, user: str, value: str) -> None:
    name = shop.backup(f"keep-{user}{'-off' if value == '-' else ''}", labels=HELD)
    done, said = label(shop, user, name, value)
    assert not done
    assert f'"{user}" may not end it without the verb release on backups' in said


def test_a_whole_replacement_without_the_label_is_refused(shop: Space) -> None:
    """As a GitOps tool would write it, whose Git knows nothing of the hold."""
    name = shop.backup("replaced", labels=HELD)
    body = json.loads(shop.admin("get", BACKUPS, name, "-o", "json"))
    del body["metadata"]["labels"]
    assert not shop.person(EDITOR, "replace", "-f", "-", input=body).done


def test_other_changes_of_a_held_backup_are_free(shop: Space) -> None:
    """The operator labels it when it is finished, and takes its finalizer off."""
    name = shop.backup("changed", labels=HELD)
    assert shop.person(EDITOR, "label", BACKUPS, name, "databosun.io/finished=true").done
    finalizers = json.dumps({"metadata": {"finalizers": []}})
    assert shop.person(EDITOR, "patch", BACKUPS, name, "--type=merge", "-p", finalizers).done


def test_anybody_who_may_edit_can_put_a_hold(shop: Space) -> None:
    name = shop.backup("put")
    assert label(shop, EDITOR, name, "=true")[0]
    assert not shop.person(EDITOR, "delete", BACKUPS, name).done


def test_a_releaser_ends_the_hold_and_then_it_can_be_deleted(shop: Space) -> None:
    name = shop.backup("released", labels=HELD)
    assert label(shop, RELEASER, name, "-")[0]
    assert shop.person(EDITOR, "delete", BACKUPS, name).done


@pytest.mark.parametrize("value", ["yes", "True", "false"])
def test_a_label_that_would_hold_nothing_is_refused(shop: Space, value: str) -> None:
    name = shop.backup(f"believed-{value.lower()}")
    done, said = label(shop, EDITOR, name, f"={value}")
    assert not done
    assert f'would be "{value}", which holds nothing: the one value is "true"' in said


def test_a_policys_hold_is_switched_off_only_by_a_releaser(shop: Space) -> None:
    name = shop.policy("holding", hold=True)
    off = json.dumps({"spec": {"legalHold": False}})
    answer = shop.person(OWNER, "patch", POLICIES, name, "--type=merge", "-p", off)
    assert not answer.done
    assert f'holds its backups (legalHold: true): "{OWNER}" may not end that' in answer.said
    assert shop.person(OWNER, "patch", POLICIES, name, "--type=merge", "-p", '{"spec": {"suspend": true}}').done
    assert not shop.person(EDITOR, "delete", POLICIES, name).done
    assert shop.person(RELEASER, "patch", POLICIES, name, "--type=merge", "-p", off).done
    assert shop.person(EDITOR, "delete", POLICIES, name).done


def test_a_releaser_deletes_a_holding_policy(shop: Space) -> None:
    name = shop.policy("to-be-deleted", hold=True)
    assert shop.person(RELEASER, "delete", POLICIES, name).done


def test_the_garbage_collector_is_no_way_around_a_hold(shop: Space) -> None:
    """Who may edit can give a Backup an owner, and delete that."""
    name = shop.backup("owned", labels=HELD)
    collector = shop.person(GARBAGE_COLLECTOR, "delete", BACKUPS, name, groups=("system:serviceaccounts",))
    assert not collector.done
    assert "is under legal hold" in collector.said


def test_a_namespace_with_held_backups_can_be_deleted(guarded: Guarded, shop: Space) -> None:
    with guarded.space(f"ending-{guarded.run}") as space:
        space.backup("by-label", labels=HELD)
        space.backup("by-status", hold={"reason": "case 4711"})
        space.policy("holding", hold=True)
        controller = space.person(
            NAMESPACE_CONTROLLER, "delete", BACKUPS, "by-label", groups=("system:serviceaccounts",)
        )
        assert not controller.done, "before the namespace ends, nobody deletes a held Backup"
        done = guarded.cluster.kubectl("delete", "namespace", space.namespace, "--timeout=120s", check=False)
        assert done.returncode == 0, done.stderr


def live_rights(cluster: Cluster, rendered: Rendered, account: str, asked: list[dict[str, str]]) -> list[bool]:
    """Make the release's roles for a moment, and ask the API server what the account may do; in the order asked."""
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    roles = [
        one
        for one in rendered.manifests
        if one["kind"] in kinds and not one["metadata"]["name"].count("databosun-view")
    ]
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": account, "groups": ["system:serviceaccounts"], "resourceAttributes": one},
        }
        for one in asked
    ]
    cluster.kubectl("create", "-f", "-", input=as_list(roles))
    try:
        answers: list[bool] = []

        def allowed() -> bool:
            template = 'go-template={{.status.allowed}}{{"\\n"}}'
            text = cluster.kubectl("create", "-f", "-", "-o", template, input=as_list(reviews)).stdout
            answers[:] = [word == "true" for word in text.split()]
            return answers[0]

        eventually("the first right asked for is known", allowed)
        return list(answers)
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=as_list(roles))


@pytest.mark.parametrize("served", [0, 2], ids=["cluster", "two namespaces"])
def test_the_api_server_grants_all_that_the_operator_asks_for(
    cluster: Cluster, helm: Helm, namespace: str, served: int
) -> None:
    """With the very roles of the chart, and nothing on Secrets, nor in a namespace that is not served."""
    extra = f"{namespace}-b"
    cluster.kubectl("create", "namespace", extra)
    try:
        namespaces = [namespace, extra][:served]
        rendered = helm.render(
            release_namespace=namespace,
            watchNamespaces=namespaces,
            clusterId="here",
            userRoles={"create": False},
            uninstallHook={"enabled": False},
        )
        wanted = [attributes(one) for one in required(namespaces, namespace)]
        refused = [
            {"verb": verb, "group": "", "resource": "secrets", "namespace": namespace}
            for verb in ("get", "list", "watch", "create")
        ]
        refused += [{"verb": "create", "group": "", "resource": "pods", "namespace": namespace}]
        refused += [{"verb": "update", "group": "databosun.io", "resource": "databases", "namespace": namespace}]
        if served:
            refused += [{"verb": "list", "group": "databosun.io", "resource": "backups", "namespace": "default"}]
        account = f"system:serviceaccount:{namespace}:databosun"
        answers = live_rights(cluster, rendered, account, wanted + refused)
    finally:
        cluster.kubectl("delete", "namespace", extra, "--wait=false")
    assert [one for one, granted in zip(wanted, answers, strict=False) if not granted] == []
    assert [one for one, granted in zip(refused, answers[len(wanted) :], strict=True) if granted] == []


def attributes(access: Access) -> dict[str, str]:
    """One right as a SubjectAccessReview has it."""
    return {
        "verb": access.verb,
        "group": access.resource.group,
        "resource": access.resource.plural,
        "subresource": access.subresource,
        "namespace": access.namespace or "",
    }


def test_the_api_server_takes_every_manifest(cluster: Cluster, helm: Helm, namespace: str) -> None:
    """All but the Prometheus operator's own; pods are held against the restricted standard."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    rendered = helm.render(
        release_namespace=namespace,
        release="everything",
        replicas=2,
        dashboard={"enabled": True},
        networkPolicies={
            "operator": {"enabled": True},
            "agents": {
                "enabled": True,
                "namespaces": [namespace],
                "storageEgress": [{"ports": [{"protocol": "TCP", "port": 8333}]}],
                "databaseEgress": [{"ports": [{"protocol": "TCP", "port": 5432}]}],
            },
        },
    )
    done = cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", input=as_list(rendered.manifests)
    )
    assert "would violate" not in done.stderr
    assert done.stdout.count("serverside-applied") == len(rendered.manifests)
