"""Settings from the environment."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from databosun.domain.errors import UserFault
from databosun.runtime.settings import load_settings, variables


def test_nothing_set_serves_the_whole_cluster() -> None:
    settings = load_settings({"PATH": "/bin"})
    assert settings.namespaces == ()
    assert settings.resync == timedelta(minutes=10)
    assert settings.runner.images == {}


def test_everything_that_the_chart_sets() -> None:
    settings = load_settings(
        {
            "DATABOSUN_NAMESPACES": "shop, bank,",
            "DATABOSUN_CLUSTER_ID": "7d0f-1",
            "DATABOSUN_LEASE_NAMESPACE": "databosun-system",
            "DATABOSUN_LEASE_NAME": "databosun",
            "DATABOSUN_LOG_LEVEL": "Debug",
            "DATABOSUN_METRICS_PORT": "9090",
            "DATABOSUN_RUNNER_IMAGES": '{"PostgreSQL": {"16": "registry/runner-postgresql-16:1"}}',
            "DATABOSUN_RUNNER_PULL_POLICY": "Always",
            "DATABOSUN_RUNNER_IMAGE_PULL_SECRETS": "one,two",
            "DATABOSUN_RUNNER_FIXED_UID": "false",
            "DATABOSUN_POD_NAME": "databosun-5d9c-x",
            "DATABOSUN_RESYNC": "1h30m",
            "DATABOSUN_API_WRITE_QPS": "2.5",
        }
    )
    assert settings.namespaces == ("shop", "bank")
    assert (settings.cluster_id, settings.pod_name) == ("7d0f-1", "databosun-5d9c-x")
    assert (settings.lease.namespace, settings.lease.name) == ("databosun-system", "databosun")
    assert (settings.log_level, settings.metrics_port) == ("debug", 9090)
    assert settings.runner.images == {"PostgreSQL": {"16": "registry/runner-postgresql-16:1"}}
    assert (settings.runner.pull_policy, settings.runner.fixed_uid) == ("Always", False)
    assert settings.runner.image_pull_secrets == ("one", "two")
    assert (settings.resync, settings.api.write_qps) == (timedelta(minutes=90), 2.5)


@pytest.mark.parametrize("name", variables())
def test_an_empty_variable_is_as_one_that_is_not_there(name: str) -> None:
    assert load_settings({name: ""}) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABOSUN_NAMESPACES", "shop,Bank_1", "pattern"),
        ("DATABOSUN_METRICS_PORT", "http", "integer"),
        ("DATABOSUN_METRICS_PORT", "70000", "65535"),
        ("DATABOSUN_RESYNC", "10 minutes", "1h30m"),
        ("DATABOSUN_RESYNC", "0s", "greater than"),
        ("DATABOSUN_LOG_LEVEL", "verbose", "'info'"),
        ("DATABOSUN_RUNNER_IMAGES", '{"PostgreSQL": {', "Invalid JSON"),
        ("DATABOSUN_RUNNER_IMAGES", '{"PostgreSQL": "image"}', "dictionary"),
        ("DATABOSUN_RUNNER_PULL_POLICY", "Sometimes", "'Always'"),
        ("DATABOSUN_RUNNER_FIXED_UID", "perhaps", "boolean"),
        ("DATABOSUN_API_WRITE_QPS", "0", "greater than 0"),
        ("DATABOSUN_WORKERS", "0", "greater than or equal to 1"),
        ("DATABOSUN_LEASE_NAME", "Ü", "pattern"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name: str, value: str, expected: str) -> None:
    with pytest.raises(UserFault) as caught:
        load_settings({name: value})
    assert caught.value.reason == "BadSettings"
    assert f"{name} is {value!r}" in caught.value.message
    assert expected in caught.value.message


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(UserFault) as caught:
        load_settings({"DATABOSUN_METRICS_PORT": "x", "DATABOSUN_WORKERS": "y"})
    assert "DATABOSUN_METRICS_PORT" in caught.value.message
    assert "DATABOSUN_WORKERS" in caught.value.message


def test_chosen_namespaces_need_a_cluster_id() -> None:
    with pytest.raises(UserFault, match="DATABOSUN_CLUSTER_ID is required with DATABOSUN_NAMESPACES"):
        load_settings({"DATABOSUN_NAMESPACES": "shop"})


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.lease.name = "other"  # type: ignore[misc]  # that is the point
