"""What the chart databosun renders."""

from __future__ import annotations

from typing import Any

import pytest

from chart.rendering import CRDS_CHART, OPERATOR_CHART, Helm, Manifest, Refused, Rendered, environment
from databosun.api.request import Request
from databosun.runtime.settings import load_settings, variables

EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "networkPolicies": {
        "operator": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
        "agents": {
            "enabled": True,
            "namespaces": ["shop"],
            "storageEgress": [{"ports": [{"protocol": "TCP", "port": 8333}]}],
            "databaseEgress": [{"ports": [{"protocol": "TCP", "port": 5432}]}],
        },
    },
}


def pods(rendered: Rendered) -> list[tuple[str, Manifest]]:
    return [
        (one["metadata"]["name"], one["spec"]["template"]["spec"])
        for one in rendered.manifests
        if one["kind"] in ("Deployment", "Job")
    ]


def operator_container(rendered: Rendered) -> Manifest:
    container: Manifest = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("chart", [OPERATOR_CHART, CRDS_CHART], ids=lambda chart: chart.name)
def test_helm_lint_finds_nothing(helm: Helm, chart: Any) -> None:
    said = helm.run("lint", "--strict", str(chart))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def test_every_option_at_once_renders_and_lints(helm: Helm) -> None:
    helm.run("lint", "--strict", str(OPERATOR_CHART), values=EVERYTHING)
    kinds = helm.render(**EVERYTHING).kinds()
    assert {"NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def test_by_default_only_what_every_cluster_knows_is_made(default: Rendered) -> None:
    assert default.kinds() == {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Service",
        "Deployment",
        "Job",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }


def test_every_object_is_labelled_as_part_of_the_release(helm: Helm) -> None:
    for one in helm.render(**EVERYTHING).manifests:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "databosun", one["metadata"]["name"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm", one["metadata"]["name"]
        assert labels["helm.sh/chart"].startswith("databosun-"), one["metadata"]["name"]


def test_no_pod_of_the_chart_is_taken_for_an_agent(default: Rendered) -> None:
    """The operator finds its agents by `app.kubernetes.io/managed-by=databosun`."""
    for one in (default.one("Deployment"), default.one("Job")):
        assert one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] != "databosun"


def test_the_hooks_pod_is_neither_behind_the_service_nor_counted_as_operator(default: Rendered) -> None:
    hook = default.one("Job")["spec"]["template"]["metadata"]["labels"].items()
    assert not default.one("Service")["spec"]["selector"].items() <= hook
    assert not default.one("Deployment")["spec"]["selector"]["matchLabels"].items() <= hook


@pytest.mark.parametrize("openshift", [False, True], ids=["fixed uid", "openshift"])
def test_every_pod_meets_the_restricted_standard(helm: Helm, openshift: bool) -> None:
    for name, pod in pods(helm.render(openshift=openshift)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert ("runAsUser" in security) is not openshift, name
        assert ("fsGroup" in security) is not openshift, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys(), name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            }, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
        assert all("emptyDir" in volume and "sizeLimit" in volume["emptyDir"] for volume in pod["volumes"]), name


def test_the_operator_understands_every_variable_it_is_given(helm: Helm) -> None:
    rendered = helm.render(
        watchNamespaces=["shop", "bank"],
        clusterId="here",
        logLevel="debug",
        resync="5m",
        workers=7,
        api={"writeQps": 50, "writeBurst": 60},
        openshift=True,
        metrics={"port": 9090},
        runners={"pullPolicy": "Always", "imagePullSecrets": ["a", "b"]},
    )
    container = operator_container(rendered)
    assert {one["name"] for one in container["env"]} <= set(variables())
    settings = load_settings(environment(container))
    assert settings.namespaces == ("shop", "bank")
    assert settings.cluster_id == "here"
    assert (settings.lease.namespace, settings.lease.name) == ("databosun-system", "databosun")
    assert (settings.workers, settings.log_level, settings.metrics_port) == (7, "debug", 9090)
    assert settings.resync.total_seconds() == 300
    assert (settings.api.write_qps, settings.api.write_burst) == (50, 60)
    assert settings.runner.fixed_uid is False
    assert settings.runner.pull_policy == "Always"
    assert settings.runner.image_pull_secrets == ("a", "b")


def test_the_chart_states_the_operators_own_defaults(default: Rendered) -> None:
    stated = load_settings(environment(operator_container(default)))
    own = load_settings({})
    for name in ("namespaces", "cluster_id", "workers", "resync", "log_level", "metrics_port", "api"):
        assert getattr(stated, name) == getattr(own, name), name


def test_the_hook_is_told_the_same_scope_and_lease_as_the_operator(namespaced: Rendered) -> None:
    operator = environment(operator_container(namespaced))
    hook = environment(namespaced.one("Job")["spec"]["template"]["spec"]["containers"][0])
    assert hook.pop("DATABOSUN_DEPLOYMENT") == namespaced.one("Deployment")["metadata"]["name"]
    assert hook.items() <= operator.items()
    assert {"DATABOSUN_NAMESPACES", "DATABOSUN_LEASE_NAME", "DATABOSUN_LEASE_NAMESPACE"} <= hook.keys()


def test_runner_images_are_built_from_parts_or_taken_whole(helm: Helm) -> None:
    pinned = "registry.example.org/pg@sha256:" + "0" * 64
    rendered = helm.render(
        runners={"repository": "example.org/runner", "tag": "2.0", "images": {"PostgreSQL": {"16": pinned}}}
    )
    images = load_settings(environment(operator_container(rendered))).runner.images["PostgreSQL"]
    assert images["15"] == "example.org/runner-postgresql:15-2.0"
    assert images["16"] == pinned


def test_work_on_storage_alone_takes_the_image_that_is_named_for_it(helm: Helm) -> None:
    for engine in ("PostgreSQL", "Redis"):
        rendered = helm.render(runners={"forStorage": engine})
        assert load_settings(environment(operator_container(rendered))).runner.for_storage == engine


def test_every_postgresql_major_of_the_project_has_a_runner(default: Rendered) -> None:
    settings = load_settings(environment(operator_container(default)))
    assert settings.runner.images["PostgreSQL"].keys() == {"14", "15", "16", "17", "18"}


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"tag": ""}, "ghcr.io/databosun/operator:0.1.0"),
        ({"repository": "localhost/operator", "tag": "dev"}, "localhost/operator:dev"),
        ({"tag": "dev", "digest": "sha256:" + "a" * 64}, "ghcr.io/databosun/operator@sha256:" + "a" * 64),
    ],
    ids=["version of the chart", "tag", "digest"],
)
def test_the_operators_image_is_named_by_tag_or_digest(helm: Helm, image: dict[str, str], reference: str) -> None:
    assert {pod["containers"][0]["image"] for _, pod in pods(helm.render(image=image))} == {reference}


def test_the_operator_is_probed_where_it_answers(helm: Helm) -> None:
    container = operator_container(helm.render(metrics={"port": 9090}))
    assert container["ports"] == [{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


def test_a_second_replica_brings_a_disruption_budget(helm: Helm, default: Rendered) -> None:
    two = helm.render(replicas=2)
    assert not default.all("PodDisruptionBudget")
    budget = two.one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == two.one("Deployment")["spec"]["selector"]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_monitors_leave_the_namespace_label_to_the_database(helm: Helm, kind: str) -> None:
    """Without honorLabels Prometheus would call ours `exported_namespace`, and no alert would find its database."""
    values: dict[str, Any] = {kind[0].lower() + kind[1:]: {"enabled": True, "labels": {"release": "prom"}}}
    rendered = helm.render(**values)
    monitor = rendered.one(kind)
    endpoints = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
    assert [one["honorLabels"] for one in endpoints] == [True]
    assert monitor["metadata"]["labels"]["release"] == "prom"
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    target = rendered.one("Service") if kind == "ServiceMonitor" else rendered.one("Deployment")["spec"]["template"]
    assert wanted <= target["metadata"]["labels"].items()


def test_the_agents_network_policies_let_only_database_tasks_reach_databases(helm: Helm) -> None:
    rendered = helm.render(**EVERYTHING)
    every = rendered.one("NetworkPolicy", "databosun-agents", "shop")["spec"]
    database = rendered.one("NetworkPolicy", "databosun-agents-databases", "shop")["spec"]
    agents = {"app.kubernetes.io/managed-by": "databosun"}
    assert every["podSelector"] == {"matchLabels": agents}
    assert every["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in every
    assert [port["port"] for rule in every["egress"] for port in rule["ports"]] == [53, 53, 8333]
    assert database["podSelector"]["matchLabels"] == agents
    (expression,) = database["podSelector"]["matchExpressions"]
    assert expression["key"] == "databosun.io/task"
    known = Request.model_json_schema()["$defs"]
    tasks = {one["properties"]["task"]["const"] for one in known.values() if "task" in one.get("properties", {})}
    assert set(expression["values"]) < tasks


def test_the_operators_network_policy_covers_exactly_the_chart(helm: Helm) -> None:
    rendered = helm.render(**EVERYTHING)
    policy = rendered.one("NetworkPolicy", "databosun", "databosun-system")["spec"]
    for one in (rendered.one("Deployment"), rendered.one("Job")):
        labels = one["spec"]["template"]["metadata"]["labels"].items()
        assert policy["podSelector"]["matchLabels"].items() <= labels
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}], "from": [{"namespaceSelector": {}}]}]


def test_the_uninstall_hook_runs_before_the_operator_goes(default: Rendered) -> None:
    job = default.one("Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["databosun", "uninstall-cleanup"]
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    helpers = [one for one in default.manifests if one["metadata"]["name"].endswith(account) and one != job]
    assert {one["kind"] for one in helpers} == {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
    }
    for helper in helpers:
        notes = helper["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-delete"
        assert int(notes["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_without_the_hook_nothing_of_it_is_left(helm: Helm) -> None:
    rendered = helm.render(uninstallHook={"enabled": False})
    assert not [one for one in rendered.manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})]


def test_two_releases_share_no_object_once_the_second_leaves_out_what_is_there(helm: Helm) -> None:
    def identities(rendered: Rendered) -> set[tuple[str, str | None, str]]:
        return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered.manifests}

    first = helm.render(release="one", watchNamespaces=["shop"], clusterId="here")
    second = helm.render(
        release="two",
        watchNamespaces=["shop"],
        clusterId="here",
        userRoles={"create": False},
        admissionPolicies={"enabled": False},
    )
    assert not identities(first) & identities(second)


def test_names_that_are_long_still_fit(helm: Helm) -> None:
    rendered = helm.render(release="r" * 53)
    for one in rendered.manifests:
        limit = 63 if one["kind"] in ("Service", "Job", "Deployment") else 253
        assert len(one["metadata"]["name"]) <= limit, one["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"watchNamespaces": ["shop"]}, "clusterId is required with watchNamespaces"),
        (
            {"serviceMonitor": {"enabled": True}, "metrics": {"service": {"enabled": False}}},
            "serviceMonitor.enabled needs metrics.service.enabled",
        ),
        (
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "serviceMonitor.enabled and podMonitor.enabled exclude each other",
        ),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is required where serviceAccount.create is false"),
        (
            {"networkPolicies": {"agents": {"enabled": True}}},
            "networkPolicies.agents.namespaces is required with networkPolicies.agents.enabled",
        ),
        (
            {"networkPolicies": {"agents": {"enabled": True, "namespaces": ["shop"]}}},
            "networkPolicies.agents.storageEgress and databaseEgress are required",
        ),
        (
            {"prometheusRule": {"enabled": True, "disabled": ["NoSuchAlert"]}},
            "prometheusRule.disabled names NoSuchAlert, which is no alert of this chart; the alerts are: Databosun",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_what_cannot_work_is_refused_with_what_to_do(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        helm.render(**values)
