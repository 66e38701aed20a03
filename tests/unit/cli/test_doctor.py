"""The doctor finds what is missing, says so in one line, and claims nothing that it could not see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from databosun import __version__
from databosun.api.v1alpha1.crd import crd_documents
from databosun.cli.doctor import examine
from databosun.cli.doctor_cluster import BINDINGS, GUARDS, OLDEST, POLICIES, difference
from databosun.cli.doctor_operator import BEATS_WITHIN
from databosun.cli.options import Output
from databosun.domain.lease import LeaseRecord
from databosun.kube.errors import Forbidden
from databosun.kube.lease import KubeLease
from databosun.kube.resources import CRDS, DEPLOYMENTS, LEASES, OWN_KINDS
from support.applied import condition, database, policy, storage
from support.terminal import Terminal

FORBIDDEN = Forbidden("you may not")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def terminal() -> Terminal:
    """A cluster in which all is well."""
    made = Terminal()
    made.kube.answers[("GET", "/version")] = {"gitVersion": "v1.34.4"}
    for document in crd_documents():
        put_crd(made, document)
    for name in GUARDS:
        made.kube.put(POLICIES, {"metadata": {"name": name}})
        made.kube.put(BINDINGS, {"metadata": {"name": name}})
    deployment(made)
    port = KubeLease(made.kube, "databosun-system", "databosun")
    beat = datetime(2020, 1, 1, tzinfo=UTC)  # clocks of different machines are not compared
    assert await port.create(LeaseRecord("databosun-7d-x_ab12", 15, beat, beat)) is not None
    made.clock.events = beating(made)
    made.kube.reviews["SubjectAccessReview"] = lambda _body: {"allowed": True}
    storage(made.kube)
    database(made.kube)
    policy(made.kube)
    return made


def put_crd(terminal: Terminal, document: dict[str, Any], established: str = "True") -> None:
    status = {"conditions": [{"type": "Established", "status": established}]}
    spec = {**document["spec"], "conversion": {"strategy": "None"}}
    terminal.kube.put(CRDS, {"metadata": dict(document["metadata"]), "spec": spec, "status": status})


def deployment(terminal: Terminal, version: str = __version__, replicas: int = 1, ready: int = 1, **env: str) -> None:
    variables = {"DATABOSUN_LEASE_NAMESPACE": "databosun-system", "DATABOSUN_LEASE_NAME": "databosun", **env}
    container = {"name": "operator", "env": [{"name": name, "value": value} for name, value in variables.items()]}
    labels = {
        "app.kubernetes.io/part-of": "databosun",
        "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/version": version,
    }
    pod = {"containers": [container], "serviceAccountName": "databosun"}
    body = {
        "metadata": {"name": "databosun", "namespace": "databosun-system", "labels": labels},
        "spec": {"replicas": replicas, "template": {"spec": pod}},
        "status": {"readyReplicas": ready},
    }
    terminal.kube.put(DEPLOYMENTS, body)


def beating(terminal: Terminal) -> Iterator[None]:
    """The operator renews its Lease."""
    for second in range(100):
        spec = {"renewTime": f"2020-01-01T00:00:{second:02d}.000000Z"}
        terminal.kube.amend(LEASES, "databosun", "databosun-system", spec=spec)
        yield


async def checks(terminal: Terminal) -> tuple[int, dict[str, dict[str, str]]]:
    code = await examine(terminal.session, Output.JSON)
    found = json.loads(terminal.out.getvalue())["checks"]
    return code, {f"{one['subject']}": one for one in found}


async def test_where_all_is_well_all_is_said_to_be(terminal: Terminal) -> None:
    code, found = await checks(terminal)
    assert code == 0
    assert {one["level"] for one in found.values()} == {"ok"}, found
    assert found["Lease databosun-system/databosun"]["message"] == "held by databosun-7d-x, and renewed"
    assert "rights that it needs" in found["ServiceAccount databosun-system/databosun"]["message"]
    assert found["Namespace shop"]["message"] == "served by databosun-system/databosun"


async def test_people_get_lines_by_area_and_a_sum(terminal: Terminal) -> None:
    assert await examine(terminal.session, Output.TABLE) == 0
    areas = [line for line in terminal.said.splitlines() if " " not in line]
    assert areas == ["Cluster", "Operator", "Storages", "Databases", "Policies"]
    assert terminal.said.splitlines()[-1] == "11 ok, 0 to know, 0 to mend"


@pytest.mark.parametrize(
    ("version", "level"), [("v1.30.9", "fail"), ("v1.31.0", "ok"), ("v2.0.1-x", "ok"), ("?", "fail")]
)
async def test_an_old_cluster_is_told(terminal: Terminal, version: str, level: str) -> None:
    terminal.kube.answers[("GET", "/version")] = {"gitVersion": version}
    assert (await checks(terminal))[1]["Kubernetes"]["level"] == level


@pytest.mark.parametrize("chart", ["databosun", "databosun-crds"])
def test_the_charts_ask_for_the_same_version(chart: str) -> None:
    wanted = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["kubeVersion"]
    assert wanted == f">={OLDEST[0]}.{OLDEST[1]}.0-0"


async def test_a_missing_kind_fails(terminal: Terminal) -> None:
    del terminal.kube.objects[(CRDS.plural, "", "backups.databosun.io")]
    code, found = await checks(terminal)
    assert code == 1
    assert found["backups.databosun.io"]["level"] == "fail"
    assert "databosun crds | kubectl apply" in found["backups.databosun.io"]["todo"]


async def test_a_kind_of_another_release_is_told_with_the_place(terminal: Terminal) -> None:
    document = next(one for one in crd_documents() if one["spec"]["names"]["kind"] == "Backup")
    document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["description"] = "older"
    put_crd(terminal, document)
    code, found = await checks(terminal)
    assert code == 0
    assert found["backups.databosun.io"]["level"] == "warn"
    assert "properties.spec.description differs" in found["backups.databosun.io"]["message"]


async def test_a_kind_that_is_not_established_fails(terminal: Terminal) -> None:
    put_crd(terminal, crd_documents()[0], established="False")
    code, found = await checks(terminal)
    assert (code, found["databases.databosun.io"]["level"]) == (1, "fail")


def test_what_the_api_server_adds_is_no_difference() -> None:
    assert difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2, "c": 3}], "d": 4}) is None
    assert difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}) == "spec.a[1].b"
    assert difference({"a": [1]}, {"a": [1, 2]}) == "spec.a"
    assert difference({"a": {"b": 1}}, {"a": None}) == "spec.a"


async def test_missing_admission_policies_are_told_with_what_they_guard(terminal: Terminal) -> None:
    del terminal.kube.objects[(BINDINGS.plural, "", "databosun-legal-hold")]
    code, found = await checks(terminal)
    assert code == 0
    assert found["Admission policy databosun-legal-hold"]["level"] == "warn"
    assert "can be deleted" in found["Admission policy databosun-legal-hold"]["message"]


async def test_without_an_operator_nothing_works(terminal: Terminal) -> None:
    terminal.kube.objects.pop((DEPLOYMENTS.plural, "databosun-system", "databosun"))
    code, found = await checks(terminal)
    assert (code, found["Deployment"]["todo"]) == (1, "Install the chart databosun")


@pytest.mark.parametrize(("replicas", "ready", "words"), [(0, 0, "scaled to no replicas"), (2, 0, "none of 2")])
async def test_an_operator_that_does_not_run_fails(terminal: Terminal, replicas: int, ready: int, words: str) -> None:
    deployment(terminal, replicas=replicas, ready=ready)
    code, found = await checks(terminal)
    assert code == 1
    assert words in found["Deployment databosun-system/databosun"]["message"]


async def test_an_operator_of_another_release_is_told(terminal: Terminal) -> None:
    deployment(terminal, version="9.9.9")
    assert (await checks(terminal))[1]["Version"]["level"] == "warn"


async def test_a_lease_that_is_not_renewed_fails(terminal: Terminal) -> None:
    terminal.clock.events = iter(())
    code, found = await checks(terminal)
    assert code == 1
    assert f"has not renewed it for {BEATS_WITHIN} s" in found["Lease databosun-system/databosun"]["message"]


async def test_a_lease_that_nobody_holds_fails(terminal: Terminal) -> None:
    terminal.kube.objects.pop((LEASES.plural, "databosun-system", "databosun"))
    code, found = await checks(terminal)
    assert (code, found["Lease databosun-system/databosun"]["message"]) == (1, "nobody holds it: no operator acts")


async def test_missing_rights_of_the_operator_are_named(terminal: Terminal) -> None:
    def review(body: dict[str, Any]) -> dict[str, Any]:
        assert body["spec"]["user"] == "system:serviceaccount:databosun-system:databosun"
        return {"allowed": body["spec"]["resourceAttributes"]["resource"] != "jobs"}

    terminal.kube.reviews["SubjectAccessReview"] = review
    code, found = await checks(terminal)
    assert code == 1
    assert "on jobs.batch in all namespaces" in found["ServiceAccount databosun-system/databosun"]["message"]


async def test_a_namespace_that_no_operator_serves_fails(terminal: Terminal) -> None:
    deployment(terminal, DATABOSUN_NAMESPACES="bank,store")
    code, found = await checks(terminal)
    assert (code, found["Namespace shop"]["message"]) == (1, "no operator serves it")


async def test_what_may_not_be_seen_is_not_claimed(terminal: Terminal) -> None:
    for plural in (CRDS.plural, POLICIES.plural, LEASES.plural, DEPLOYMENTS.plural):
        terminal.kube.broken[plural] = FORBIDDEN
    terminal.kube.served[("databosun.io", "v1alpha1")] = frozenset(kind.plural for kind in OWN_KINDS)
    code, found = await checks(terminal)
    assert code == 0
    assert [name for name, one in found.items() if one["level"] == "warn"] == [
        "CRDs",
        "Admission policies",
        "Deployment",
    ]
    assert all("you may not" in one["message"] for one in found.values() if one["level"] == "warn")


async def test_without_the_right_to_read_crds_missing_ones_are_still_found(terminal: Terminal) -> None:
    terminal.kube.broken[CRDS.plural] = FORBIDDEN
    terminal.kube.served[("databosun.io", "v1alpha1")] = frozenset({"databases"})
    code, found = await checks(terminal)
    assert code == 1
    assert "backups" in found["CRDs"]["message"]


async def test_objects_that_are_not_well_fail_with_what_to_do(terminal: Terminal) -> None:
    why = condition("Stalled", True, "SecretMissing", "Secret s3 is not there")
    storage(terminal.kube, "prod", condition("Ready", False), why)
    code, found = await checks(terminal)
    assert code == 1
    assert found["BackupStorage shop/prod"]["message"] == "SecretMissing: Secret s3 is not there"
    assert found["BackupStorage shop/prod"]["todo"].startswith("Create the Secret")


async def test_a_storage_that_was_not_validated_for_long_is_told(terminal: Terminal) -> None:
    storage(terminal.kube, lastValidatedTime="2026-03-01T09:00:00Z")
    found = (await checks(terminal))[1]["BackupStorage shop/prod"]
    assert (found["level"], found["message"]) == ("warn", "validated 3h ago, though validationInterval is 1h")


async def test_grants_that_only_some_methods_need_are_told(terminal: Terminal) -> None:
    ready = condition("Ready", True, "Ready", "role backup may not read schema audit")
    database(terminal.kube, "orders", ready, condition("Protected", True))
    code, found = await checks(terminal)
    assert code == 0
    assert found["Database shop/orders"]["level"] == "warn"
    assert "may not read schema audit" in found["Database shop/orders"]["message"]


async def test_a_policy_that_covers_nothing_is_told(terminal: Terminal) -> None:
    policy(terminal.kube, status={"databases": {"matched": 0, "protected": 0, "failing": 0}})
    assert (await checks(terminal))[1]["BackupPolicy shop/daily"]["message"] == "covers no Database"
