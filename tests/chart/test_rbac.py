"""Who may do what: the operator no more than it needs, people by roles that keep duties apart."""

from __future__ import annotations

import itertools

import pytest

from chart.rendering import Helm, Rendered, Right, rule_rights
from databosun.kube.resources import OWN_KINDS
from databosun.kube.selfcheck import REQUIRED, Scope

OPERATOR = "databosun"
HOOK = "databosun-uninstall"
SYSTEM = "databosun-system"

KINDS = tuple(kind.plural for kind in OWN_KINDS)


def rights(group: str, resources: str, verbs: str) -> set[tuple[str, str, str]]:
    return {(group, resource, verb) for resource, verb in itertools.product(resources.split(), verbs.split())}


def asked_for(*scopes: Scope) -> set[tuple[str, str, str]]:
    """What the operator asks for at its start, in these scopes."""
    return {
        (right.resource.group, "/".join(filter(None, (right.resource.plural, right.subresource))), verb)
        for right in REQUIRED
        if right.scope in scopes
        for verb in right.verbs
    }


IN_SCOPE = asked_for(Scope.SERVED)
CRDS = asked_for(Scope.CLUSTER)
LEASES = asked_for(Scope.LEASE)


def within(found: set[Right], namespace: str | None) -> set[tuple[str, str, str]]:
    """The rights in one namespace, or in all of the cluster."""
    return {(one.group, one.resource, one.verb) for one in found if one.namespace == namespace}


def test_what_the_operator_asks_for_is_what_the_architecture_grants() -> None:
    """Whoever asks for more changes this on purpose."""
    ours = "databosun.io"
    assert (
        rights(ours, " ".join(KINDS), "get list watch")
        | rights(ours, "backups restoredrillruns failovertestruns lifecycleruns", "create delete patch")
        | rights(ours, "restores databases erasurerequests dataexports", "patch")
        | rights(ours, "inquiries", "delete patch")
        | rights(ours, " ".join(f"{kind}/status" for kind in KINDS if kind != "approvals"), "patch")
        | rights("batch", "jobs", "get list watch create delete")
        | rights("apps", "deployments", "get list watch create update delete")
        | rights("", "pods", "get list watch patch")
        | rights("", "pods/log namespaces persistentvolumeclaims", "get")
        | rights("", "events", "create list")
    ) == IN_SCOPE
    assert rights("apiextensions.k8s.io", "customresourcedefinitions", "get") == CRDS
    assert rights("coordination.k8s.io", "leases", "get create update") == LEASES


def test_the_operator_may_do_exactly_what_it_asks_for_in_the_cluster(default: Rendered) -> None:
    found = default.rights(OPERATOR)
    assert within(found, None) == IN_SCOPE | CRDS
    assert within(found, SYSTEM) == LEASES
    assert {one.namespace for one in found} == {None, SYSTEM}


def test_the_operator_may_do_exactly_what_it_asks_for_in_its_namespaces(namespaced: Rendered) -> None:
    found = namespaced.rights(OPERATOR)
    assert within(found, "shop") == within(found, "bank") == IN_SCOPE
    assert within(found, SYSTEM) == LEASES
    assert within(found, None) == CRDS
    assert {one.namespace for one in found} == {None, SYSTEM, "shop", "bank"}


def test_it_may_delete_pods_only_where_that_is_asked_for(helm: Helm) -> None:
    deletes = rights("", "pods", "delete")
    found = within(helm.render(rbac={"deletePods": True}).rights(OPERATOR), None)
    assert found == IN_SCOPE | CRDS | deletes
    assert not IN_SCOPE & deletes


def test_it_may_have_faults_done_only_where_that_is_asked_for(helm: Helm) -> None:
    orders = rights("chaos-mesh.org", "networkchaos podchaos", "create delete get")
    found = within(helm.render(rbac={"chaosMesh": True}).rights(OPERATOR), None)
    assert found == IN_SCOPE | CRDS | orders
    assert not IN_SCOPE & orders


def test_it_may_have_another_instance_lead_only_where_that_is_asked_for(helm: Helm) -> None:
    group = "postgresql.cnpg.io"
    words = rights(group, "clusters", "get") | rights(group, "clusters/status", "patch")
    found = within(helm.render(rbac={"cloudNativePG": True}).rights(OPERATOR), None)
    assert found == IN_SCOPE | CRDS | words
    assert not IN_SCOPE & words


@pytest.mark.parametrize("scope", ["default", "namespaced"])
def test_nobody_gets_a_right_on_secrets_or_on_everything(scope: str, request: pytest.FixtureRequest) -> None:
    rendered: Rendered = request.getfixturevalue(scope)
    for role in (*rendered.all("Role"), *rendered.all("ClusterRole")):
        for one in rule_rights(role):
            assert "*" not in (one.group, one.resource, one.verb), role["metadata"]["name"]
            assert "secrets" not in one.resource, role["metadata"]["name"]
            assert one.verb not in ("impersonate", "escalate", "bind"), role["metadata"]["name"]
            assert not one.resource.startswith(("pods/exec", "pods/attach", "nodes", "serviceaccounts", "roles"))


def test_the_operator_writes_no_spec_but_that_of_a_new_run(default: Rendered) -> None:
    writes = {
        (one.resource, one.verb)
        for one in default.rights(OPERATOR)
        if one.group == "databosun.io" and one.verb not in ("get", "list", "watch") and "/" not in one.resource
    }
    made = ("backups", "restoredrillruns", "failovertestruns", "lifecycleruns")
    runs = itertools.product(made, ("create", "delete", "patch"))
    # A Database's finalizer stands while a replication slot does.
    answered = {("inquiries", "delete"), ("inquiries", "patch")}
    marked = {(kind, "patch") for kind in ("restores", "databases", "erasurerequests", "dataexports")}
    assert writes == {*runs, *marked, *answered}


def test_the_hook_may_only_stop_the_operator_and_take_finalizers_off(default: Rendered, namespaced: Rendered) -> None:
    cleaning = rights("", "pods", "list patch")
    cleaning |= rights("databosun.io", "backups", "list patch") | rights("databosun.io", "databases", "list patch")
    stopping = LEASES | rights("apps", "deployments/scale", "get patch")
    assert within(default.rights(HOOK), None) == cleaning
    assert within(namespaced.rights(HOOK), "shop") == within(namespaced.rights(HOOK), "bank") == cleaning
    assert within(namespaced.rights(HOOK), None) == set()
    for rendered in (default, namespaced):
        assert within(rendered.rights(HOOK), SYSTEM) == stopping
        scale = [one for one in rendered.rights(HOOK) if one.resource == "deployments/scale"]
        assert {one.name for one in scale} == {rendered.one("Deployment")["metadata"]["name"]}


def test_the_hook_does_not_run_under_the_operators_account(default: Rendered) -> None:
    accounts = [
        one["spec"]["template"]["spec"]["serviceAccountName"] for one in (default.one("Deployment"), default.one("Job"))
    ]
    assert accounts == [OPERATOR, HOOK]


def test_an_account_made_by_somebody_else_is_bound(helm: Helm) -> None:
    rendered = helm.render(serviceAccount={"create": False, "name": "theirs"})
    assert within(rendered.rights("theirs"), None) == IN_SCOPE | CRDS
    assert [one["metadata"]["name"] for one in rendered.all("ServiceAccount")] == [HOOK]


def test_without_rbac_only_the_hooks_and_the_peoples_roles_are_made(helm: Helm) -> None:
    rendered = helm.render(rbac={"create": False})
    assert not rendered.rights(OPERATOR)
    assert rendered.rights(HOOK)


def people(rendered: Rendered, name: str) -> set[tuple[str, str]]:
    """What one of the roles for people allows on our kinds."""
    found = rule_rights(rendered.one("ClusterRole", name))
    assert {one.group for one in found} == {"databosun.io"}
    return {(one.resource, one.verb) for one in found}


def test_viewers_read_all_of_our_kinds(default: Rendered) -> None:
    assert people(default, "databosun-view") == set(itertools.product(KINDS, ("get", "list", "watch")))


def test_editors_write_everything_but_approvals_and_status(default: Rendered) -> None:
    found = people(default, "databosun-edit")
    assert {verb for kind, verb in found if kind == "approvals"} == {"get", "list", "watch"}
    for kind in KINDS[:-1]:
        assert {verb for one, verb in found if one == kind} >= {"create", "update", "patch", "delete"}
    assert not [kind for kind, _ in found if "/" in kind]


def test_approvers_approve_and_nothing_else(default: Rendered) -> None:
    assert people(default, "databosun-approver") == set(itertools.product(["approvals"], ("get", "list", "create")))


def test_only_the_releaser_may_end_a_hold(default: Rendered) -> None:
    holders = [
        one["metadata"]["name"] for one in default.all("ClusterRole") if "release" in {r.verb for r in rule_rights(one)}
    ]
    assert holders == ["databosun-releaser"]


def test_who_approves_or_releases_is_never_aggregated(default: Rendered) -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated = {
        one["metadata"]["name"]: {label.removeprefix(prefix) for label in one["metadata"]["labels"] if prefix in label}
        for one in default.all("ClusterRole")
        if one["metadata"]["name"].removeprefix("databosun-") in ("view", "edit", "approver", "releaser")
    }
    assert aggregated == {
        "databosun-view": {"view"},
        "databosun-edit": {"edit", "admin"},
        "databosun-approver": set(),
        "databosun-releaser": set(),
    }
