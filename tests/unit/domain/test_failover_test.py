"""A FailoverTest's spec, read: durations have bounds, windows open and close, and only what works is offered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.failover import FailbackWhen, FailoverMode, GuardResult, ProviderTarget
from databosun.api.injection import FaultKind, InjectedFault
from databosun.api.targets import DatabaseTarget, RDSTarget
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.failovertest import FailoverTestSpec
from databosun.domain.errors import UserFault
from databosun.domain.failoverguards import broken
from databosun.domain.failoverplan import describe_plan, make_plan, way_back
from databosun.domain.failovertest import PROVIDERS, demand_testable, effective_failover, provider_target
from databosun.domain.timing import window_at
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverFault, Operator, Site
from databosun.engines.registry import load_failover, load_writers

BASE = {"databaseRef": {"name": "orders"}, "evidence": {"storageRef": {"name": "prod"}}}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


NEVER = FailbackWhen.NEVER


def spec(**more: Any) -> FailoverTestSpec:
    return FailoverTestSpec.model_validate({**BASE, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"waitFor": "8d"}, "spec.waitFor is 8d; expected a duration from 1s to 7d"),
        ({"deadline": "25h"}, "spec.deadline is 25h"),
        ({"guards": {"maxLag": "2d"}}, "spec.guards.maxLag is 2d"),
        ({"objectives": {"rejoin": "90d"}}, "spec.objectives.rejoin is 90d"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "spec.schedule.cron: '0 0 31 2"),
        ({"windows": [{"cron": "0 0 * * *", "duration": "8d"}]}, r"spec.windows\[0\].duration is 8d"),
        ({"windows": [{"cron": "x 0 * * *", "duration": "1h"}]}, r"spec.windows\[0\].cron"),
    ],
)
def test_a_value_that_cannot_be_carried_out_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserFault, match=message):
        effective_failover(spec(**more))


def test_of_windows_that_overlap_the_one_that_closes_last_counts() -> None:
    windows = [{"cron": "0 11 * * *", "duration": "2h"}, {"cron": "30 11 * * *", "duration": "3h"}]
    found = effective_failover(spec(windows=windows)).windows
    assert window_at(found, NOON) == (NOON.replace(hour=14, minute=30), None)
    assert window_at(found, NOON.replace(hour=14, minute=30)) == (None, NOON.replace(day=2, hour=11))
    assert window_at(found, NOON.replace(hour=11)) == (NOON.replace(hour=13), None)
    assert window_at(found, NOON + timedelta(hours=6)) == (None, NOON.replace(day=2, hour=11))


def test_a_plan_is_another_with_any_part_of_it_and_the_same_with_none() -> None:
    def plan(*, run: str = "u", mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER, **more: Any) -> str:
        given = {"provider": "Sentinel", "primary": "a", "candidate": "b", "members": ["a", "b"], **more}
        what = given["provider"], mode, given["primary"], given["candidate"], given["members"]
        return make_plan(run, *what, given.get("fault"), given.get("shard"), given.get("failback", NEVER)).hash

    others = [
        plan(run="v"),
        plan(mode=FailoverMode.FORCED_FAILOVER),
        plan(provider="Patroni"),
        plan(primary="b", candidate="a"),
        plan(fault=InjectedFault(kind=FaultKind.POD_DELETE)),
        plan(fault=InjectedFault(kind=FaultKind.CONTAINER_KILL)),
        plan(fault=InjectedFault(kind=FaultKind.NETWORK_PARTITION, duration="30s")),
        plan(fault=InjectedFault(kind=FaultKind.NETWORK_PARTITION, duration="31s")),
        plan(members=["a", "b", "c"]),
        plan(shard="0-5460"),
        plan(shard="0-5461"),
        plan(failback=FailbackWhen.WHEN_REJOINED),
        plan(),
    ]
    assert len(set(others)) == len(others)
    assert plan(members=["b", "a", "a"]) == plan()


def test_who_consents_to_a_plan_is_told_that_the_primary_is_moved_back() -> None:
    what = "Patroni", FailoverMode.PLANNED_SWITCHOVER, "a", "b", ["a", "b"]
    assert describe_plan(make_plan("u", *what)) == "b is to take over from a (PlannedSwitchover)"
    told = describe_plan(make_plan("u", *what, failback=FailbackWhen.WHEN_REJOINED))
    assert told == "b is to take over from a (PlannedSwitchover); a is to be primary again once it has rejoined"


def test_a_failback_is_refused_where_nobody_could_plan_the_switch() -> None:
    given: dict[str, Any] = {
        "engine": "PostgreSQL", "connection": {"host": "a", "port": 1, "credentialsSecretRef": {"name": "s"}},
        "replication": {"provider": "StatefulSet", "endpoints": ["a:1", "b:1"]},
    }  # fmt: skip
    asked = spec(mode="ForcedFailover", failback="WhenRejoined")
    with pytest.raises(
        UserFault, match="Database orders is by StatefulSet; the primary can be moved back by"
    ) as caught:
        demand_testable("orders", DatabaseSpec.model_validate(given), asked)
    assert caught.value.reason == "FailbackUnsupported"
    given["replication"] = {"provider": "Patroni", "endpoints": ["http://a:8008"]}
    assert demand_testable("orders", DatabaseSpec.model_validate(given), asked).provider == "Patroni"


def test_the_way_back_is_planned_whatever_the_first_move_was() -> None:
    there = make_plan(
        "u", "Sentinel", FailoverMode.FORCED_FAILOVER, "a", "b", "abc", failback=FailbackWhen.WHEN_REJOINED
    )
    back = way_back("u", there, "c")  # who was promoted, and not who was planned
    assert (back.mode, back.primary, back.candidate) == (FailoverMode.PLANNED_SWITCHOVER, "c", "a")
    assert back.failback is NEVER
    assert back.members == there.members
    assert back.hash != there.hash


def test_a_refusal_names_each_guard_with_what_was_found_and_what_to_do() -> None:
    held = GuardResult(name="quorum", ok=True, observed="OK", limit="OK")
    lags = GuardResult(name="maxLagBytes", ok=False, observed="9", limit="at most 5", message="wait")
    assert broken([held]) is None
    assert broken([held, lags]) == "nothing was moved: maxLagBytes: found 9, expected at most 5; wait"


def test_what_the_operator_offers_is_what_an_agent_can_open() -> None:
    for provider, engine in ((provider, engine) for provider, engines in PROVIDERS.items() for engine in engines):
        rds = RDSTarget(instance="i", region="r", engine="MariaDB", has_credentials=True)
        database = DatabaseTarget(namespace="n", name="d", uid="u", engine=engine, hosts=["h", "i"], port=1, rds=rds)
        login = Credentials("u", "p")
        endpoint = "http://h:1" if provider == "Patroni" else "h:1"
        target = ProviderTarget(provider=provider, endpoints=[endpoint], master_name="m")
        site = Site(Target(database, login), Operator(login), target, "probe", "run", NOON, writers=load_writers)
        with load_failover(engine).open(site, FailoverMode.FORCED_FAILOVER):
            pass
        other = site.__class__(
            site.probe, site.operator, target.model_copy(update={"provider": "MHA"}), "probe", "run", NOON
        )
        with pytest.raises(UserFault) as fault, load_failover(engine).open(other, FailoverMode.PLANNED_SWITCHOVER):
            pass
        assert fault.value.reason == FailoverFault.PROVIDER_UNSUPPORTED


def test_a_database_of_another_engine_than_its_provider_is_refused() -> None:
    connection = {"host": "h", "credentialsSecretRef": {"name": "s"}}
    replication = {"provider": "Sentinel", "masterName": "m"}
    given = {"engine": "PostgreSQL", "connection": connection, "replication": replication}
    with pytest.raises(UserFault, match="is PostgreSQL by Sentinel; this release tests Sentinel"):
        provider_target("orders", DatabaseSpec.model_validate(given), FailoverMode.PLANNED_SWITCHOVER)


@pytest.mark.parametrize("product", ["MariaDB", "MySQL"])
def test_where_nobody_promotes_by_himself_no_fault_is_done(product: str) -> None:
    """The page asks for `read_only=ON` in the configuration: a primary that was started again would take no writes."""
    given = {
        "engine": product,
        "connection": {"host": "h", "credentialsSecretRef": {"name": "s"}},
        "replication": {"provider": f"{product}Replication"},
    }
    database = DatabaseSpec.model_validate(given)
    for mode in (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER):
        assert provider_target("orders", database, mode).provider == f"{product}Replication"
    with pytest.raises(UserFault, match="is tested by PlannedSwitchover or ForcedFailover") as fault:
        provider_target("orders", database, FailoverMode.FAULT_INJECTION)
    assert fault.value.reason == FailoverFault.MODE_UNSUPPORTED


def test_a_cluster_of_cloudnativepg_is_named() -> None:
    given = {
        "engine": "PostgreSQL",
        "connection": {"host": "h", "credentialsSecretRef": {"name": "s"}},
        "replication": {"provider": "CloudNativePG"},
    }
    with pytest.raises(UserFault, match=r"spec\.replication\.clusterName must name its Cluster"):
        provider_target("orders", DatabaseSpec.model_validate(given), FailoverMode.PLANNED_SWITCHOVER)


def test_a_pooler_is_for_an_engine_whose_writes_say_who_took_them() -> None:
    path = {"name": "pooler", "kind": "Pooler", "host": "pooler", "port": 6432}
    asked = spec(probe={"paths": [path]})
    given: dict[str, Any] = {
        "engine": "PostgreSQL", "connection": {"host": "a", "port": 1, "credentialsSecretRef": {"name": "s"}},
        "replication": {"provider": "Patroni", "endpoints": ["http://a:8008"]},
    }  # fmt: skip
    assert demand_testable("orders", DatabaseSpec.model_validate(given), asked).provider == "Patroni"
    given |= {"engine": "MariaDB", "replication": {"provider": "MariaDBReplication"}}
    with pytest.raises(UserFault, match="only on PostgreSQL does each write say") as caught:
        demand_testable("orders", DatabaseSpec.model_validate(given), asked)
    assert caught.value.reason == "InvalidSpec"
    assert effective_failover(asked).probe.paths[0].kind == "Pooler"
    with pytest.raises(UserFault, match="service is the name of the way"):
        effective_failover(spec(probe={"paths": [{**path, "name": "service"}]}))


def test_a_partition_has_an_end() -> None:
    fault = {"kind": "NetworkPartition", "duration": "2h"}
    with pytest.raises(UserFault, match=r"spec\.fault\.duration is 2h; expected a duration from 1s to 1h"):
        effective_failover(spec(mode="FaultInjection", fault=fault))
