"""The check at the start: every right, every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from databosun.domain.errors import UserFault
from databosun.kube.errors import Unreachable
from databosun.kube.port import Access
from databosun.kube.resources import BACKUPS, CRDS, EVENTS, JOBS, LEASES, OWN_KINDS, PODS
from databosun.kube.selfcheck import check_rights, describe, required, wait_for_kinds
from support.clock import FakeClock


class Kube:
    """An API server of which only rights and kinds are asked."""

    def __init__(self, *lacking: Access) -> None:
        self.lacking = set(lacking)
        self.served = frozenset(kind.plural for kind in OWN_KINDS)
        self.away = False
        self.asked = 0

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        self.asked += 1
        return tuple(access for access in wanted if access in self.lacking)

    async def discover(self, group: str, version: str) -> frozenset[str]:
        assert (group, version) == ("databosun.io", "v1alpha1")
        if self.away:
            raise Unreachable("no answer")
        return self.served


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def test_in_the_whole_cluster_every_right_is_asked_for_all_namespaces() -> None:
    wanted = required((), "databosun-system")
    assert Access("create", JOBS) in wanted
    assert Access("patch", BACKUPS, "status") in wanted
    assert Access("get", PODS, "log") in wanted
    assert Access("get", CRDS) in wanted
    assert Access("update", LEASES, namespace="databosun-system") in wanted
    assert {access.namespace for access in wanted if access.resource is not LEASES} == {None}


def test_in_chosen_namespaces_every_right_is_asked_for_each() -> None:
    wanted = required(("shop", "bank"), "databosun-system")
    assert {access.namespace for access in wanted if access.resource is JOBS} == {"shop", "bank"}
    assert {access.namespace for access in wanted if access.resource is CRDS} == {None}
    assert len(wanted) == len(set(wanted))


def test_no_right_on_secrets_and_none_to_write_a_spec_but_of_new_runs() -> None:
    wanted = required((), "x")
    assert "secrets" not in {access.resource.plural for access in wanted}
    writes = {
        (access.resource.plural, access.verb)
        for access in wanted
        if access.resource in OWN_KINDS and not access.subresource
    }
    runs = ("backups", "restoredrillruns", "failovertestruns", "lifecycleruns")
    assert {write for write in writes if write[1] not in ("get", "list", "watch")} == {
        *((kind, verb) for kind in runs for verb in ("create", "delete", "patch")),
        ("restores", "patch"),
        ("erasurerequests", "patch"),
        ("dataexports", "patch"),
        ("databases", "patch"),
        *(("inquiries", verb) for verb in ("delete", "patch")),
    }


async def test_all_rights_there_is_silence() -> None:
    kube = Kube()
    await check_rights(kube, (), "databosun-system", sleep=no_sleep)  # type: ignore[arg-type]  # all that is asked of it
    assert kube.asked == 1


async def test_what_is_missing_is_named_in_one_message_and_stops() -> None:
    lacking = (
        Access("create", JOBS, namespace="shop"),
        Access("delete", JOBS, namespace="shop"),
        Access("get", PODS, "log", "shop"),
        Access("create", EVENTS),
        Access("get", CRDS),
        Access("update", LEASES, namespace="databosun-system"),
    )
    with pytest.raises(UserFault) as caught:
        await check_rights(Kube(*lacking), ("shop",), "databosun-system", sleep=no_sleep)  # type: ignore[arg-type]  # as above
    assert caught.value.reason == "MissingRights"
    for part in (
        "create, delete on jobs.batch in namespace shop",
        "get on pods/log in namespace shop",
        "get on customresourcedefinitions.apiextensions.k8s.io in the cluster",
        "update on leases.coordination.k8s.io in namespace databosun-system",
        "rbac.create=true",
    ):
        assert part in caught.value.message
    assert "create on events in all namespaces" in describe(lacking)


async def test_rights_that_arrive_a_moment_later_are_waited_for() -> None:
    kube = Kube(Access("create", JOBS))

    async def granted(_seconds: float) -> None:
        if kube.asked == 3:
            kube.lacking.clear()

    await check_rights(kube, (), "databosun-system", sleep=granted)  # type: ignore[arg-type]  # as above
    assert kube.asked == 4


async def test_absent_kinds_are_waited_for_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    kube, clock = Kube(), FakeClock()
    everything, kube.served = kube.served, frozenset({"databases"})
    told: list[tuple[str, ...]] = []
    waiting = asyncio.ensure_future(wait_for_kinds(kube, sleep=clock.sleep, tell=told.append))  # type: ignore[arg-type]  # as above
    await clock.advance(3600)
    assert not waiting.done()
    assert "backups.databosun.io" in told[-1]
    assert "databases.databosun.io" not in told[-1]
    assert caplog.text.count("waiting for CustomResourceDefinitions") == 1
    kube.away = True
    await clock.advance(60)
    kube.away = False
    kube.served = everything
    await clock.advance(10)
    assert waiting.done()
    assert told[-1] == ()
