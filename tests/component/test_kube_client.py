"""The client against a real API server: every call, and every refusal that the operator must understand."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import kubernetes.config.incluster_config as incluster
import pytest

from databosun.domain.errors import UserFault
from databosun.kube import errors
from databosun.kube.answers import Call
from databosun.kube.client import KubeClient
from databosun.kube.ratelimit import TokenBucket
from databosun.kube.resources import EVENTS, JOBS, NAMESPACES, PODS, Resource
from databosun.kube.selfcheck import REQUIRED, Scope, check_rights, required
from databosun.kube.transport import Transport, load_configuration
from databosun.runtime.clock import SystemClock
from databosun.runtime.events import EventRecorder
from support.cluster import Cluster
from support.waiting import eventually
from support.widgets import CRD_JSON, WIDGETS, widget

pytestmark = pytest.mark.api


@pytest.fixture
def kube(cluster: Cluster) -> Iterator[KubeClient]:
    client = KubeClient(Transport(load_configuration(str(cluster.kubeconfig))), TokenBucket(1000, 1000))
    yield client
    client.close()


@pytest.fixture(scope="module", autouse=True)
def _widgets(cluster: Cluster) -> None:
    """The tests' own kind; left in place, since another run may use it at this moment."""
    cluster.kubectl("apply", "-f", "-", input=CRD_JSON)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{WIDGETS.qualified}")


def job(name: str, **metadata: Any) -> dict[str, Any]:
    """A Job that starts no pod."""
    container = {"name": "a", "image": "localhost/none:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **metadata},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def pod(name: str) -> dict[str, Any]:
    """A pod that no node takes."""
    selector = {"databosun.io/no-such-node": "true"}
    spec = {"nodeSelector": selector, "containers": [{"name": "a", "image": "localhost/none:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


# --- Reading ---


async def test_what_is_not_there_is_none_but_a_kind_that_is_not_served_is_not_nothing(
    kube: KubeClient, namespace: str
) -> None:
    assert await kube.get(WIDGETS, namespace, "none") is None
    assert await kube.get(WIDGETS, "no-such-namespace", "none") is None
    with pytest.raises(errors.ResourceAbsent, match=r"gadgets\.tests\.databosun\.io"):
        await kube.get(Resource(WIDGETS.group, WIDGETS.version, "gadgets", "Gadget"), namespace, "none")
    with pytest.raises(errors.ResourceAbsent, match="CustomResourceDefinition"):
        await kube.get(Resource("no-such-group.io", "v1", "gadgets", "Gadget"), namespace, "none")


async def test_a_cluster_wide_object_is_read(kube: KubeClient) -> None:
    found = await kube.get(NAMESPACES, "", "kube-system")
    assert found is not None
    assert found["metadata"]["uid"]


async def test_what_is_remembered_is_no_older_than_asked_for(kube: KubeClient, namespace: str) -> None:
    newest = 0
    for number in range(12):
        made = await kube.create(WIDGETS, namespace, widget(f"w{number:02}", labels={"odd": str(number % 2)}))
        newest = int(made["metadata"]["resourceVersion"])
        remembered = kube.list_remembered(WIDGETS, namespace, since=newest)
        assert [item["metadata"]["name"] async for item in remembered] == [f"w{n:02}" for n in range(number + 1)]
    odd = kube.list_remembered(WIDGETS, namespace, label_selector="odd=1", since=newest)
    assert [item["metadata"]["name"] async for item in odd] == [f"w{n:02}" for n in range(1, 12, 2)]
    assert [item["kind"] async for item in kube.list_remembered(WIDGETS, namespace)] == [WIDGETS.kind] * 12


async def test_lists_come_page_by_page_whole_and_with_their_kind(kube: KubeClient, namespace: str) -> None:
    names = [f"w{number:02}" for number in range(11)]
    for name in names:
        await kube.create(WIDGETS, namespace, widget(name, labels={"odd": str(int(name[1:]) % 2)}))
        await kube.create(JOBS, namespace, job(name))
    for page_size in (3, 11, 500):
        found = [item async for item in kube.list(WIDGETS, namespace, page_size=page_size)]
        assert [item["metadata"]["name"] for item in found] == names
    jobs = [item async for item in kube.list(JOBS, namespace, page_size=4)]
    assert [item["metadata"]["name"] for item in jobs] == names
    assert {(item["apiVersion"], item["kind"]) for item in jobs} == {("batch/v1", "Job")}
    assert all("managedFields" not in item["metadata"] for item in [*found, *jobs])


async def test_lists_by_label_field_and_in_all_namespaces(kube: KubeClient, namespace: str) -> None:
    for number in range(4):
        await kube.create(WIDGETS, namespace, widget(f"w{number}", labels={"of": namespace, "n": str(number)}))
    selector = f"of={namespace},n in (2,3)"
    found = [item async for item in kube.list(WIDGETS, None, label_selector=selector, page_size=1)]
    assert [item["metadata"]["name"] for item in found] == ["w2", "w3"]
    found = [item async for item in kube.list(WIDGETS, namespace, field_selector="metadata.name=w1")]
    assert [item["metadata"]["name"] for item in found] == ["w1"]


async def test_lists_of_metadata_leave_the_rest_out(kube: KubeClient, namespace: str) -> None:
    for number in range(3):
        await kube.create(WIDGETS, namespace, widget(f"w{number}", labels={"a": "b"}))
    found = [item async for item in kube.list_metadata(WIDGETS, namespace, page_size=2)]
    assert [(item["metadata"]["name"], item["metadata"]["labels"]) for item in found] == [
        (f"w{number}", {"a": "b"}) for number in range(3)
    ]
    assert all("spec" not in item and "managedFields" not in item["metadata"] for item in found)


async def test_discovery_says_what_is_served(kube: KubeClient) -> None:
    assert "jobs" in await kube.discover("batch", "v1")
    assert await kube.discover(WIDGETS.group, WIDGETS.version) == {"widgets"}
    assert await kube.discover("no-such-group.io", "v1") == frozenset()


# --- Writing ---


async def test_creating_twice_is_told_apart_from_other_refusals(kube: KubeClient, namespace: str) -> None:
    created = await kube.create(WIDGETS, namespace, widget("a"))
    assert created["metadata"]["uid"]
    with pytest.raises(errors.AlreadyExists):
        await kube.create(WIDGETS, namespace, widget("a"))
    with pytest.raises(errors.Invalid, match=r"spec\.size.*less than or equal to 10"):
        await kube.create(WIDGETS, namespace, widget("b", size=11))
    with pytest.raises(errors.NotFound, match="no-such-namespace"):
        await kube.create(WIDGETS, "no-such-namespace", widget("a"))


async def test_a_status_patch_touches_only_what_it_names(kube: KubeClient, namespace: str) -> None:
    body = await kube.create(WIDGETS, namespace, widget("a"))
    version = body["metadata"]["resourceVersion"]
    first = {"phase": "Running", "progress": {"bytes": 1, "stage": "x"}, "names": ["a", "b"]}
    body = await kube.patch_status(WIDGETS, namespace, "a", first, version)
    assert (body["status"], body["spec"]) == (first, {"size": 1})
    second = {"phase": "Done", "progress": None, "names": ["c"]}
    body = await kube.patch_status(WIDGETS, namespace, "a", second, body["metadata"]["resourceVersion"])
    assert body["status"] == {"phase": "Done", "names": ["c"]}


async def test_a_status_patch_on_what_has_changed_is_a_conflict(kube: KubeClient, namespace: str) -> None:
    body = await kube.create(WIDGETS, namespace, widget("a"))
    version = body["metadata"]["resourceVersion"]
    await kube.patch_metadata(WIDGETS, namespace, "a", {"labels": {"x": "y"}}, None)
    with pytest.raises(errors.Conflict):
        await kube.patch_status(WIDGETS, namespace, "a", {"phase": "Done"}, version)
    with pytest.raises(errors.NotFound):
        await kube.patch_status(WIDGETS, namespace, "gone", {"phase": "Done"}, version)


async def test_labels_and_finalizers_come_and_go(kube: KubeClient, namespace: str) -> None:
    created = await kube.create(WIDGETS, namespace, widget("a", labels={"keep": "1", "drop": "1"}))
    version = created["metadata"]["resourceVersion"]
    patch = {"labels": {"drop": None, "new": "1"}, "finalizers": ["tests.databosun.io/x"]}
    body = await kube.patch_metadata(WIDGETS, namespace, "a", patch, version)
    assert body["metadata"]["labels"] == {"keep": "1", "new": "1"}
    assert body["metadata"]["finalizers"] == ["tests.databosun.io/x"]
    with pytest.raises(errors.Conflict):
        await kube.patch_metadata(WIDGETS, namespace, "a", {"finalizers": []}, version)
    body = await kube.patch_metadata(WIDGETS, namespace, "a", {"finalizers": []}, body["metadata"]["resourceVersion"])
    assert "finalizers" not in body["metadata"]


async def test_replacing_needs_the_version_that_was_read(kube: KubeClient, namespace: str) -> None:
    body = await kube.create(WIDGETS, namespace, widget("a"))
    changed = {**body, "spec": {"size": 2}}
    replaced = await kube.replace(WIDGETS, namespace, "a", changed)
    assert replaced["spec"] == {"size": 2}
    with pytest.raises(errors.Conflict):
        await kube.replace(WIDGETS, namespace, "a", changed)
    with pytest.raises(errors.BadRequest, match="resourceVersion"):
        await kube.replace(WIDGETS, namespace, "a", widget("a"))


async def test_deleting_hits_exactly_the_object_that_was_seen(kube: KubeClient, namespace: str) -> None:
    first = await kube.create(WIDGETS, namespace, widget("a"))
    uid, version = first["metadata"]["uid"], first["metadata"]["resourceVersion"]
    with pytest.raises(errors.Conflict):
        await kube.delete(WIDGETS, namespace, "a", uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(errors.BadRequest, match="uid"):
        await kube.delete(WIDGETS, namespace, "a", uid="")
    await kube.patch_metadata(WIDGETS, namespace, "a", {"labels": {"x": "y"}}, None)
    with pytest.raises(errors.Conflict):
        await kube.delete(WIDGETS, namespace, "a", uid=uid, resource_version=version)
    assert await kube.get(WIDGETS, namespace, "a") is not None
    await kube.delete(WIDGETS, namespace, "a", uid=uid)
    assert await kube.get(WIDGETS, namespace, "a") is None
    await kube.delete(WIDGETS, namespace, "a", uid=uid)
    await kube.create(WIDGETS, namespace, widget("a"))
    with pytest.raises(errors.Conflict):
        await kube.delete(WIDGETS, namespace, "a", uid=uid)


# --- Refusals that are not RBAC's ---


async def test_a_full_quota_is_known_with_its_message(cluster: Cluster, kube: KubeClient, namespace: str) -> None:
    cluster.kubectl("--namespace", namespace, "create", "quota", "none", "--hard=count/jobs.batch=0")
    cluster.kubectl("--namespace", namespace, "wait", "--for=jsonpath={.status.hard}", "--timeout=60s", "quota/none")
    with pytest.raises(errors.QuotaExceeded, match=r"exceeded quota: none, requested: count/jobs\.batch=1"):
        await kube.create(JOBS, namespace, job("a"))


async def test_an_admission_policy_is_not_mistaken_for_a_lacking_right(
    cluster: Cluster, kube: KubeClient, namespace: str
) -> None:
    name = f"tests-{namespace}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
                ],
            },
            "validations": [{"expression": "false", "message": "no Jobs on Sundays", "reason": "Forbidden"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    cluster.kubectl(
        "create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    )
    try:
        raw = json.dumps(job("a"))
        eventually(
            "the policy is in force",
            lambda: (
                cluster.kubectl(
                    "--namespace", namespace, "create", "--dry-run=server", "-f", "-", input=raw, check=False
                ).returncode
                != 0
            ),
        )
        with pytest.raises(errors.AdmissionRefused, match="no Jobs on Sundays"):
            await kube.create(JOBS, namespace, job("a"))
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", name)


async def test_a_namespace_that_is_being_deleted_is_known(cluster: Cluster, kube: KubeClient, namespace: str) -> None:
    ending = f"{namespace}-ending"
    cluster.kubectl("create", "namespace", ending)
    await kube.create(WIDGETS, ending, widget("a", finalizers=["tests.databosun.io/x"]))
    cluster.kubectl("delete", "namespace", ending, "--wait=false")
    try:
        with pytest.raises(errors.NamespaceTerminating):
            await kube.create(JOBS, ending, job("a"))
    finally:
        await kube.patch_metadata(WIDGETS, ending, "a", {"finalizers": None}, None)


# --- Logs and Events ---


async def test_the_log_of_a_pod_that_has_not_started_is_empty_and_of_none_is_an_error(
    kube: KubeClient, namespace: str
) -> None:
    created = await kube.create(PODS, namespace, pod("a"))
    assert await kube.pod_log(namespace, "a", container="a", tail_lines=10, limit_bytes=1000, since_seconds=5) == b""
    await kube.delete(PODS, namespace, "a", uid=created["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await kube.pod_log(namespace, "gone")


async def test_an_event_is_seen_by_kubectl_describe(cluster: Cluster, kube: KubeClient, namespace: str) -> None:
    body = await kube.create(WIDGETS, namespace, widget("a"))
    recorder = EventRecorder(lambda where, event: kube.create(EVENTS, where, event), SystemClock(), "operator-0")
    involved = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "namespace": namespace,
        "name": "a",
        "uid": body["metadata"]["uid"],
    }
    await recorder.post(involved, "WrongPassword", "the server refused the user", warning=True)
    said = cluster.kubectl("--namespace", namespace, "describe", WIDGETS.qualified, "a").stdout
    assert "WrongPassword" in said
    assert "the server refused the user" in said


# --- Rights ---


def grant(cluster: Cluster, namespace: str, account: str, rules: list[dict[str, Any]]) -> None:
    """Give an account of the namespace these rules in it."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": account, "namespace": namespace},
        "rules": rules,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    where = ("--namespace", namespace)
    if cluster.kubectl(*where, "get", "serviceaccount", account, check=False).returncode:
        cluster.kubectl(*where, "create", "serviceaccount", account)
        cluster.kubectl(
            *where, "create", "rolebinding", account, f"--role={account}", f"--serviceaccount={namespace}:{account}"
        )


def client_of(cluster: Cluster, namespace: str, account: str) -> KubeClient:
    """A client that is that account and nobody else."""
    configuration = load_configuration(str(cluster.kubeconfig))
    token = cluster.kubectl("--namespace", namespace, "create", "token", account).stdout.strip()
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"BearerToken": f"Bearer {token}"}
    configuration.refresh_api_key_hook = None
    return KubeClient(Transport(configuration))


def rules_of_the_table(leave_out: Resource | None = None) -> list[dict[str, Any]]:
    """The rules that grant all of the table, cluster-wide kinds apart, in one namespace."""
    return [
        {
            "apiGroups": [right.resource.group],
            "resources": [right.resource.plural + (f"/{right.subresource}" if right.subresource else "")],
            "verbs": list(right.verbs),
        }
        for right in REQUIRED
        if right.scope is not Scope.CLUSTER and right.resource is not leave_out
    ]


async def test_the_check_passes_with_exactly_the_tables_rights_and_names_what_is_missing(
    cluster: Cluster, namespace: str
) -> None:
    grant(cluster, namespace, "full", rules_of_the_table())
    grant(cluster, namespace, "less", rules_of_the_table(leave_out=JOBS))
    wanted = required((namespace,), namespace)
    full, less = client_of(cluster, namespace, "full"), client_of(cluster, namespace, "less")

    async def at_once(_seconds: float) -> None:
        """Do not wait: the rights are not coming."""

    try:
        missing = await full.denied(wanted)
        assert {(access.verb, access.resource.plural) for access in missing} == {("get", "customresourcedefinitions")}
        with pytest.raises(UserFault) as caught:
            await check_rights(less, (namespace,), namespace, sleep=at_once)
        assert f"get, list, watch, create, delete on jobs.batch in namespace {namespace}" in caught.value.message
        assert "pods" not in caught.value.message
        with pytest.raises(
            errors.Forbidden, match=f"may not create jobs.batch in namespace {namespace}.*rbac.create=true"
        ):
            await less.create(JOBS, namespace, job("a"))
        with pytest.raises(errors.Forbidden, match=r"list jobs\.batch in all namespaces"):
            [item async for item in less.list(JOBS, None)]
    finally:
        full.close()
        less.close()


# --- Who we are ---

REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)


async def test_a_pods_token_that_was_replaced_is_used_from_then_on(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two accounts instead of two tokens of one, since the API server then says which token came."""
    tokens = {}
    for account in ("first", "second"):
        cluster.kubectl("--namespace", namespace, "create", "serviceaccount", account)
        tokens[account] = cluster.kubectl("--namespace", namespace, "create", "token", account).stdout.strip()
    outside = load_configuration(str(cluster.kubeconfig))
    server = urlsplit(outside.host)
    token_file = tmp_path / "token"
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(token_file))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", str(outside.ssl_ca_cert))
    _write(token_file, tokens["first"])
    transport = Transport(load_configuration())
    review = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind}

    async def user() -> str:
        answer = await transport.request(
            Call("create", REVIEWS), "POST", REVIEWS.path(None), body=review, content_type="application/json"
        )
        return str(answer["status"]["userInfo"]["username"])

    try:
        assert await user() == f"system:serviceaccount:{namespace}:first"
        _write(token_file, tokens["second"])
        ahead = datetime.timedelta(minutes=2)
        later = SimpleNamespace(now=lambda: datetime.datetime.now() + ahead)  # noqa: DTZ005 (the client's own way)
        monkeypatch.setattr(incluster, "datetime", SimpleNamespace(datetime=later, timedelta=datetime.timedelta))
        assert await user() == f"system:serviceaccount:{namespace}:second"
    finally:
        transport.close()


def _write(path: Path, text: str) -> None:
    path.write_text(text)
