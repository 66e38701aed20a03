"""Patroni's API, of several versions, as a scripted peer answers it: what is understood, asked and never asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from databosun.api.failover import FailoverMode, MemberRole
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.failoverplan import make_plan
from databosun.engines.base import Credentials
from databosun.engines.failover import Declined
from databosun.engines.postgresql.failover import look as looking
from databosun.engines.postgresql.failover.guards import cluster_guards, order_guard
from databosun.engines.postgresql.failover.look import look
from databosun.engines.postgresql.failover.rest import Rest, open_rest
from databosun.engines.postgresql.failover.switch import Members, Switch
from support.httpserver import Answer, Asked, Server, serving

LOGIN = Credentials("mover", "s3cret")
# Patroni 3.0 of Debian 12: a primary is "master" of itself, and a replica says nothing of its replication.
OLD_LEADER = {
    "state": "running", "role": "master", "server_version": 150018, "timeline": 3, "xlog": {"location": 50_000},
    "replication": [{"application_name": "n2", "state": "streaming", "sync_state": "async"}],
}  # fmt: skip
OLD_REPLICA = {
    "state": "running", "role": "replica", "timeline": 3,
    "xlog": {"received_location": 50_000, "replayed_location": 50_000, "replayed_timestamp": None, "paused": False},
}  # fmt: skip
NEW_REPLICA = OLD_REPLICA | {"replication_state": "streaming"}


class Peer:
    """A cluster of two. `said`: what differs, by path."""

    def __init__(self, **said: Mapping[str, Any]) -> None:
        self.url = ""
        self.said: dict[str, Mapping[str, Any]] = {"n1": OLD_LEADER, "n2": OLD_REPLICA, "config": {"ttl": 20}, **said}
        self.roles = {"n1": "leader", "n2": "replica"}
        self.more: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.switchover = Answer(503, b"switchover failed")

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "POST":
            return self.switchover
        name = asked.path.strip("/")
        if name == "cluster":
            members = [
                {"name": one, "role": role, "state": "running", "api_url": f"{self.url}/{one}", "host": one,
                 "port": 5432, "timeline": 3, "tags": self.tags if one == "n2" else {}}
                for one, role in self.roles.items()
            ]  # fmt: skip
            return Answer(200, json.dumps({"members": members, "scope": "shop", **self.more}).encode())
        return Answer(200, json.dumps(self.said.get(name, {})).encode())


@contextmanager
def peer(made: Peer | None = None) -> Iterator[tuple[Peer, Rest, Server]]:
    made = made or Peer()
    with serving(made.answer) as server:
        made.url = server.url
        yield made, open_rest([server.url], LOGIN, lambda: None), server


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "CAUGHT_UP_SECONDS", 0.1)


@pytest.mark.parametrize("replica", [OLD_REPLICA, NEW_REPLICA])
def test_old_and_new_words_are_understood(replica: Mapping[str, Any]) -> None:
    with peer(Peer(n2=replica)) as (_, rest, _server):
        topology = look(Members(rest)).topology()
    assert topology.primary == "n1"
    first, second = topology.members
    assert (first.role, first.position, first.timeline) == (MemberRole.PRIMARY, "0/C350", 3)
    assert (second.role, second.healthy, second.promotable, second.lag_bytes) == (MemberRole.REPLICA, True, True, 0)
    assert second.lag_seconds == 0.0


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"n1": OLD_LEADER | {"replication": None}}, "it does not stream from the primary: running"),
        ({"n2": OLD_REPLICA | {"timeline": 2}}, "it is on timeline 2, the primary on 3"),
        ({"n2": OLD_REPLICA | {"xlog": {"paused": True}}}, "its replay is paused (pg_wal_replay_resume)"),
        ({"n2": OLD_REPLICA | {"watchdog_failed": True}}, "its watchdog does not work, and Patroni demands one"),
        ({"config": {"synchronous_mode": True}}, "Patroni would not let it"),
    ],
)
def test_who_could_not_take_over_is_told_why(said: dict[str, Mapping[str, Any]], problem: str) -> None:
    with peer(Peer(**said)) as (_, rest, _server):
        (_, replica) = look(Members(rest)).topology().members
    assert any(problem in one for one in replica.problems), replica
    assert not replica.promotable


@pytest.mark.parametrize("tags", [{"nofailover": True}, {"failover_priority": 0}])
def test_who_is_tagged_is_no_candidate(tags: dict[str, Any]) -> None:
    with peer() as (made, rest, _server):
        made.tags = tags
        (_, replica) = look(Members(rest)).topology().members
    assert not replica.promotable


def test_how_far_behind_is_counted_from_what_the_primary_had_when_it_was_asked() -> None:
    behind = {"received_location": 49_000, "replayed_location": 48_000, "paused": False}
    with peer(Peer(n2=OLD_REPLICA | {"xlog": behind})) as (_, rest, _server):
        (_, replica) = look(Members(rest)).topology().members
    assert (replica.lag_bytes, replica.lag_seconds) == (1000, None)


def test_a_standby_cluster_is_refused() -> None:
    with peer() as (made, rest, _server):
        made.roles["n1"] = "standby_leader"
        with pytest.raises(UserFault, match="shop is a standby cluster"):
            look(Members(rest))


def test_a_leader_that_says_it_is_none_and_two_that_say_they_are_are_no_primary() -> None:
    with peer(Peer(n1=OLD_LEADER | {"role": "replica"})) as (_, rest, _server):
        assert look(Members(rest)).topology().primary is None
    with peer(Peer(n2=OLD_LEADER)) as (_, rest, _server):
        found = look(Members(rest)).topology()
    assert found.primary is None
    assert "several members take writes: n1, n2" in found.notes


@pytest.mark.parametrize(
    ("more", "leader", "failing"),
    [
        ({"pause": True}, {}, "notPaused"),
        ({"scheduled_switchover": {"at": "2026-03-01T00:00:00Z"}}, {}, "noScheduledSwitchover"),
        ({}, {"failsafe_mode_is_active": True}, "leaseKept"),
        ({}, {"cluster_unlocked": True}, "leaseKept"),
    ],
)
def test_where_somebody_is_at_work_or_the_store_is_away_it_is_refused(
    more: dict[str, Any], leader: dict[str, Any], failing: str
) -> None:
    with peer(Peer(n1=OLD_LEADER | leader)) as (made, rest, _server):
        made.more = more
        found = look(Members(rest))
    assert [one.name for one in cluster_guards(found.cluster, found.leader) if not one.ok] == [failing]


def test_the_order_names_leader_and_candidate_and_goes_to_switchover_alone() -> None:
    plan = make_plan("u", "Patroni", FailoverMode.PLANNED_SWITCHOVER, "n1", "n2", ["n1", "n2"])
    ordered: list[bool] = []
    with peer() as (_, rest, server):
        with pytest.raises(WorldFault, match="answered 503: switchover failed"):
            Switch(Members(rest), lambda: None).planned(plan, lambda: ordered.append(True))
        posted = [one for one in server.asked if one.method == "POST"]
    assert ordered == [True]
    assert [(one.path, json.loads(one.body)) for one in posted] == [
        ("/switchover", {"leader": "n1", "candidate": "n2"})
    ]
    assert {one.path for one in server.asked if one.method != "POST"} <= {"/cluster", "/n1", "/n2", "/liveness"}


def test_a_candidate_that_does_not_receive_is_not_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("databosun.engines.postgresql.failover.switch.CATCH_UP_SECONDS", 0.1)
    plan = make_plan("u", "Patroni", FailoverMode.PLANNED_SWITCHOVER, "n1", "n2", ["n1", "n2"])
    behind = OLD_REPLICA | {"xlog": {"received_location": 49_000}}
    ordered: list[bool] = []
    with peer(Peer(n2=behind)) as (_, rest, server):
        with pytest.raises(Declined, match="n2 has received up to 0/BF68, and not 0/C350"):
            Switch(Members(rest), lambda: None).planned(plan, lambda: ordered.append(True))
        assert not [one for one in server.asked if one.method == "POST"]
    assert ordered == []


def test_the_login_is_sent_only_where_it_is_asked_for_and_never_to_a_member_by_its_own_address() -> None:
    with peer() as (made, rest, server):
        made.switchover = Answer(400, b"Switchover could be performed only from a specific leader")
        look(Members(rest))
        assert order_guard(rest).ok
        assert not [one for one in server.asked if "authorization" in one.headers]
        made.switchover = Answer(401, b"no auth header received")
        refused = order_guard(rest)
        (asked,) = [one for one in server.asked if "authorization" in one.headers]
    assert asked.path == "/switchover"
    assert base64.b64decode(asked.headers["authorization"].split()[1]) == b"mover:s3cret"
    assert not refused.ok
    assert "answered 401" in refused.observed


@pytest.mark.parametrize("endpoint", ["n1:8008", "http://", "http://n1:8008/patroni", "ftp://n1", "http://n1?x=1"])
def test_what_is_no_address_of_an_api_is_refused(endpoint: str) -> None:
    with pytest.raises(UserFault, match=r"spec\.replication\.endpoints has"):
        open_rest([endpoint], LOGIN, lambda: None)


def test_an_answer_in_no_form_that_is_known_is_named() -> None:
    with peer() as (made, rest, _server):
        made.more = {"members": [{"name": "n1"}]}
        with pytest.raises(WorldFault, match="of a form that is not known"):
            look(Members(rest))
