"""Whatever breaks, a run ends with a verdict to act on, nothing half-written counts, and the next one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from support.clusterapi import Object
from support.faultproxy import Act, Fault, FaultProxy
from support.stack import PASSWORD
from support.stackfaults import dam, kill, store_proxy
from support.stackplace import Place, database_of, secret, storage

pytestmark = pytest.mark.e2e

NO_IMAGE = "localhost/databosun/no-such-runner:1"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is wrong with a Database or its surroundings, and how a person would mend it."""

    name: str
    reason: str
    words: tuple[str, ...]
    mend: Callable[[Place], None]

    @property
    def broken(self) -> str:
        return f"{self.name}-1"

    @property
    def mended(self) -> str:
        return f"{self.name}-2"


def _database(place: Place, name: str, **connection: object) -> None:
    host = place.stack.servers[18].host
    place.apply(database_of(name, host, connection=connection))


def _runner(place: Place, name: str, image: str | None) -> None:
    place.stack.api.merge("databases", place.namespace, name, {"spec": {"runner": image and {"image": image}}})


CASES = (
    Case(
        "wrong-password",
        "WrongPassword",
        ("backup", "spec.connection.credentialsSecretRef"),
        lambda place: place.apply(secret("wrong-password-login", username="backup", password=PASSWORD)),
    ),
    Case(
        "missing-secret",
        "SecretMissing",
        ("missing-secret-login", "username"),
        lambda place: place.apply(secret("missing-secret-login", username="backup", password=PASSWORD)),
    ),
    Case(
        "unknown-host",
        "UnknownHost",
        ("nobody.shop.svc",),
        lambda place: place.offer("unknown-host"),
    ),
    Case(
        "closed-port",
        "ConnectionRefused",
        ("5999",),
        lambda place: place.offer("closed-port"),
    ),
    Case(
        "lost-grant",
        "NoReplicationPrivilege",
        ("ALTER ROLE", "REPLICATION"),
        lambda place: _sql(place, "ALTER ROLE loser REPLICATION"),
    ),
    Case(
        "full-scratch",
        "ScratchTooSmall",
        ("podTemplate.scratch.size",),
        lambda place: place.offer("full-scratch", method="Logical", podTemplate={"scratch": {"size": "1Gi"}}),
    ),
    Case(
        "no-image",
        "StartDeadlineExceeded",
        (NO_IMAGE,),
        lambda place: _runner(place, "no-image", None),
    ),
)


def _sql(place: Place, statement: str) -> None:
    place.stack.servers[18].sql(statement)


@pytest.fixture(scope="module")
def proxy(place: Place) -> Iterator[FaultProxy]:
    """What lies between the agents and the storage `proxied`."""
    with store_proxy(place.stack) as proxy:
        place.apply(storage("proxied", proxy.endpoint, s3={"prefix": "proxied"}))
        place.ready("backupstorages", "proxied")
        yield proxy


@pytest.fixture(scope="module")
def broken(place: Place) -> Place:
    """All cases at once, each with a run under way."""
    stack = place.stack
    address = stack.api.list("pods", "shop", "app=orders")[0]["status"]["podIP"]
    _sql(place, f"DROP ROLE IF EXISTS loser; CREATE ROLE loser LOGIN REPLICATION PASSWORD '{PASSWORD}'")
    _sql(place, "GRANT pg_read_all_data, pg_monitor TO loser")
    place.apply(
        secret("wrong-password-login", username="backup", password="not this one"),
        secret("loser", username="loser", password=PASSWORD),
    )
    place.offer("full-scratch", method="Logical", podTemplate={"scratch": {"size": "1Mi"}})
    for name in ("wrong-password", "missing-secret", "lost-grant"):
        place.offer(name)
    for name in ("unknown-host", "closed-port"):
        place.offer(name, retries=0)
    place.offer("no-image", startDeadline="20s")
    _database(place, "wrong-password", credentialsSecretRef={"name": "wrong-password-login"})
    _database(place, "missing-secret", credentialsSecretRef={"name": "missing-secret-login"})
    _database(place, "unknown-host", host="nobody.shop.svc")
    _database(place, "closed-port", host=address, port=5999)
    _database(place, "lost-grant", credentialsSecretRef={"name": "loser"})
    for name in ("lost-grant", "no-image"):
        place.ready("databases", name)
    _sql(place, "ALTER ROLE loser NOREPLICATION")
    _runner(place, "no-image", NO_IMAGE)
    for case in CASES:
        place.back_up(case.broken, case.name)
    return place


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_named_and_the_next_run_succeeds(broken: Place, case: Case) -> None:
    status = broken.failed(case.broken, case.reason, *case.words)
    assert [one["number"] for one in status["attempts"]] == [1]
    assert PASSWORD not in str(status)
    case.mend(broken)
    broken.back_up(case.mended, case.name)
    broken.succeeded(case.mended)


def _one_try(place: Place, name: str, method: str = "Physical") -> None:
    """A database whose backups go through the proxy, and have one attempt."""
    place.offer(name, storageRef={"name": "proxied"}, method=method, retries=0)
    place.ready("databases", name)


def _next_one_succeeds(place: Place, name: str, method: str = "Physical") -> None:
    """The fault is gone; nothing that it left is in the way."""
    place.offer(name, storageRef={"name": "proxied"}, method=method)
    place.back_up(f"{name}-2", name)
    place.succeeded(f"{name}-2")


def test_an_agent_that_is_killed_in_the_middle(place: Place, proxy: FaultProxy) -> None:
    _one_try(place, "killed")
    with dam(proxy, "killed-1") as held:
        place.back_up("killed-1", "killed")
        held.wait("killed-1")
        kill(place.running_pod("killed-1"), "databosun agent")
        place.failed("killed-1", "NoResult", "137")
    _next_one_succeeds(place, "killed")


def test_a_tool_that_is_killed_in_the_middle(place: Place, proxy: FaultProxy) -> None:
    _one_try(place, "tool", "Logical")
    server = place.stack.servers[18]
    with server.connect("shop") as locker, locker.transaction():
        # The root of a partitioned table has no rows, so that only pg_dump waits for it.
        locker.execute("LOCK TABLE ONLY events IN ACCESS EXCLUSIVE MODE")
        place.back_up("tool-1", "tool")
        kill(place.running_pod("tool-1"), "pg_dump --dbname")
        place.failed("tool-1", "ToolKilled", "pg_dump")
    _next_one_succeeds(place, "tool", "Logical")


STORE_FAULTS: dict[str, tuple[Fault, str]] = {
    "refused": (
        Fault(Act.REFUSE, method="PUT", contains="partNumber=2", status=403, code="AccessDenied"),
        "StorageAccessDenied",
    ),
    "truncated": (Fault(Act.TRUNCATE_REQUEST, method="PUT", contains="partNumber=2"), "UploadCorrupt"),
    "corrupted": (Fault(Act.CORRUPT_REQUEST, method="PUT", contains="partNumber=1&"), "UploadCorrupt"),
}


@pytest.mark.parametrize("kind", STORE_FAULTS)
def test_a_store_that_breaks_the_upload(place: Place, proxy: FaultProxy, kind: str) -> None:
    fault, reason = STORE_FAULTS[kind]
    _one_try(place, kind)
    proxy.add(fault)
    try:
        place.back_up(f"{kind}-1", kind)
        status = place.failed(f"{kind}-1", reason)
        assert fault.hit >= 1
        assert "base.tar.zst" in status["failure"]["message"]
    finally:
        proxy.faults.remove(fault)
    _next_one_succeeds(place, kind)


def test_failed_runs_are_counted_and_the_good_ones_end_it(broken: Place) -> None:
    def entry() -> Object:
        found: Object = broken.status("databases", "wrong-password")["policies"][0]
        return found

    broken.succeeded("wrong-password-2")
    broken.wait("no failure is counted any more", lambda: entry()["consecutiveFailures"] == 0)
    assert entry()["lastRun"] == "wrong-password-2"
