"""A plan is for one server and one store: another name, or another server behind the name, needs another approval."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from databosun.api.lifecycle import LifecycleOrder
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.domain.errors import UserFault
from databosun.domain.lifecycleorder import order_digest, order_of
from databosun.domain.whereabouts import moved, server_words, whereabouts
from databosun.engines.lifecycle import LifecycleScope, demand_server
from support.objects import database, lifecycle, storage

BUCKET: dict[str, Any] = {"bucket": "backups", "region": "eu-west-1", "prefix": "prod"}


def order(
    system: str | None = "7301", engine: str = "PostgreSQL", s3: dict[str, Any] | None = None, **connection: Any
) -> LifecycleOrder:
    spec = database(engine=engine)["spec"]
    if connection:
        spec["connection"] = {"credentialsSecretRef": {"name": "x"}, **connection}
    store = storage(volume=None, s3=s3)["spec"] if s3 else storage()["spec"]
    where = whereabouts("uid", DatabaseSpec.model_validate(spec), system, BackupStorageSpec.model_validate(store))
    return order_of(LifecyclePolicySpec.model_validate(lifecycle()["spec"]), where)


@pytest.mark.parametrize(
    "other",
    [
        {"host": "production.db"},
        {"hosts": ["orders.db", "orders-2.db"]},
        {"host": "orders.db", "port": 5433},
        {"host": "orders.db", "database": "other"},
        {"system": "7302"},
        {"s3": BUCKET},
    ],
    ids=str,
)
def test_another_server_or_store_is_another_order(other: dict[str, Any]) -> None:
    before, after = order(), order(**other)
    assert order_digest(before) != order_digest(after)
    said = moved(server_words(before.server), before.place, after)
    assert said is not None
    assert (before.place if "s3" in other else server_words(before.server)) in said  # type: ignore[operator]


def test_another_bucket_prefix_or_endpoint_is_another_store() -> None:
    places = [
        order(s3=BUCKET | more).place
        for more in ({}, {"bucket": "backups-2"}, {"prefix": "p"}, {"endpoint": "https://s"})
    ]
    assert len(set(places)) == 4


def test_a_failover_among_the_hosts_that_are_named_changes_nothing() -> None:
    assert order_digest(order(hosts=["a", "b"])) == order_digest(order(hosts=["b", "a"]))
    for engine in ("MariaDB", "MySQL", "Redis"):  # the member that took over is known by another name
        one, other = order("1", engine, hosts=["a", "b"]), order("2", engine, hosts=["a", "b"])
        assert order_digest(one) == order_digest(other)
    assert moved(server_words(order().server), order().place, order()) is None


def test_a_plan_of_an_earlier_release_says_why_it_is_none_any_more() -> None:
    assert "earlier release" in (moved(None, None, order()) or "")


def test_a_server_that_says_to_be_another_one_is_not_worked_on() -> None:
    scope = LifecycleScope(order(), datetime(2026, 3, 1, tzinfo=UTC), 1, 1.0)
    with pytest.raises(UserFault, match=r"is 7302, and the plan is for 7301") as caught:
        demand_server(scope, "7302")
    assert caught.value.reason == "PlanChanged"
    for found in ("7301", None):
        demand_server(scope, found)
    demand_server(LifecycleScope(order(None), scope.at, 1, 1.0), "7302")
