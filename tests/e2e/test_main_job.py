"""The main job: the files of examples/ are applied, and backups appear in the bucket, visible with kubectl."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from databosun.domain.sealing import digest_of
from support.stack import ROOT, SHOP_NAMESPACE, Stack
from support.stackplace import Place
from support.waiting import eventually

pytestmark = pytest.mark.e2e

EXAMPLES = str(ROOT / "examples")
SCHEDULES = [
    {"name": "full", "type": "Full", "cron": "0 2 * * *"},
    {"name": "hourly", "type": "Incremental", "cron": "0 * * * *"},
]


@dataclass(frozen=True, slots=True)
class Shops:
    """The example's namespace with PostgreSQL 18, and one with 15."""

    new: Place
    old: Place
    full: str
    incremental: str
    full_on_15: str
    incremental_on_15: str
    logical: str


@pytest.fixture(scope="module")
def shops(stack: Stack) -> Iterator[Shops]:
    """Everything that a platform engineer would do, done once; each test waits for what it is about."""
    new, old = Place(stack, SHOP_NAMESPACE), Place(stack, "shop-15")
    _clear(stack)
    old.furnish()
    stack.purge(new.keys())
    stack.kubectl("apply", "-f", EXAMPLES)
    old.offer("orders", major=15, schedules=SCHEDULES)
    old.offer("dump", major=15, method="Logical")
    old.offer("clock", major=15, schedules=[{"name": "minutely", "cron": "* * * * *"}])
    for place, name in ((new, "orders"), (old, "orders"), (old, "dump"), (old, "clock")):
        place.ready("databases", name)  # once its version is known, its own tools are taken
    token = uuid.uuid4().hex[:8]
    full, full_on_15 = (place.run_now("orders", f"full/{token}") for place in (new, old))
    yield Shops(
        new,
        old,
        full=full,
        full_on_15=full_on_15,
        logical=old.run_now("dump", token),
        incremental=_after_a_full(new, full, token),
        incremental_on_15=_after_a_full(old, full_on_15, token),
    )
    _clear(stack)


def _clear(stack: Stack) -> None:
    for namespace in (SHOP_NAMESPACE, "shop-15"):
        stack.kubectl("delete", "bpol,bbk,bdb,bst", "--all", "-n", namespace, "--timeout=120s")


def _after_a_full(place: Place, full: str, token: str) -> str:
    """An incremental, asked for once there is a full to stand on."""
    place.succeeded(full)
    return place.run_now("orders", f"hourly/{token}")


def test_the_examples_make_a_full_backup(shops: Shops) -> None:
    status = shops.new.succeeded(shops.full)
    assert (status["type"], status["method"]) == ("Full", "Physical")
    assert status["size"]["stored"] > 1_000_000
    assert status["engineVersion"].startswith("18")
    assert len(status["attempts"]) == 1


def test_an_incremental_stands_on_the_full(shops: Shops) -> None:
    status = shops.new.succeeded(shops.incremental)
    # What a schedule asked for, on the hour, may lie between.
    names = {one["metadata"]["name"] for one in shops.new.backups("orders")}
    assert (status["type"], status["base"]) == ("Incremental", shops.full)
    assert status["parent"] in {shops.full, *(name for name in names if "-now-" not in name)}
    full = shops.new.status("backups", shops.full)
    assert status["size"]["stored"] < full["size"]["stored"] / 4
    assert status["position"]["lsn"] != full["position"]["lsn"]


def test_on_15_an_incremental_becomes_a_full_and_says_so(shops: Shops) -> None:
    status = shops.old.succeeded(shops.incremental_on_15)
    assert (status["type"], status.get("parent")) == ("Full", None)
    assert shops.old.status("backups", shops.full_on_15)["type"] == "Full"
    notes = [note for note in status["notes"] if note.startswith("IncrementalUnsupported")]
    assert len(notes) == 1, status["notes"]
    asked = shops.old.stack.api.read("backups", shops.old.namespace, shops.incremental_on_15)
    assert asked["spec"]["type"] == "Incremental"


def test_a_logical_backup_counts_rows_and_takes_fingerprints(shops: Shops) -> None:
    status = shops.old.succeeded(shops.logical)
    assert (status["type"], status["method"]) == ("Full", "Logical")
    objects = {one["name"]: one for one in status["objects"]}
    assert objects["shop.public.customers"]["rows"] == 2000
    assert objects["shop.public.customers"]["fingerprint"]


def test_a_schedule_starts_runs_by_itself(shops: Shops) -> None:
    place = shops.old
    place.wait("a slot of every minute is answered", lambda: bool(place.backups("clock")))
    first = min(place.backups("clock"), key=lambda one: str(one["spec"]["scheduledFor"]))
    name, slot = first["metadata"]["name"], first["spec"]["scheduledFor"]
    assert re.fullmatch(r"clock-\d{10}-[0-9a-z]{5}", name)
    assert slot.endswith(":00Z")
    assert name.split("-")[1] == re.sub(r"\D", "", slot)[2:12]
    assert place.succeeded(name)["phase"] == "Succeeded"
    place.stack.api.merge("backuppolicies", place.namespace, "clock", {"spec": {"suspend": True}})
    condition = "the suspended policy says so"
    place.wait(condition, lambda: place.condition("backuppolicies", "clock", "Ready").get("reason") == "Suspended")


def test_kubectl_shows_what_is_protected(shops: Shops, stack: Stack) -> None:
    shops.new.succeeded(shops.incremental)
    database = shops.new.condition
    shops.new.wait(
        "the Database is protected", lambda: database("databases", "orders", "Protected")["status"] == "True"
    )
    (row,) = _table(stack, "bdb", "orders")
    assert (row["ENGINE"], row["TIER"], row["PROTECTED"], row["READY"]) == ("PostgreSQL", "1", "True", "True")
    assert row["VERSION"].startswith("18")
    assert re.fullmatch(r"\d+[smh](\d+s)?", row["RPO"]), row
    rows = {row["NAME"]: row for row in _table(stack, "bbk")}
    full = rows[shops.full]
    assert (full["DATABASE"], full["TYPE"], full["METHOD"], full["PHASE"]) == (
        "orders",
        "Full",
        "Physical",
        "Succeeded",
    )
    assert re.fullmatch(r"[\d.]+[KM]iB", full["SIZE"])
    assert rows[shops.incremental]["TYPE"] == "Incremental"
    assert _table(stack, "bpol", "orders")[0]["READY"] == "True"
    assert _table(stack, "bst", "backups")[0]["READY"] == "True"


def _table(stack: Stack, *what: str) -> list[dict[str, str]]:
    """A table of kubectl's, cut at its columns: cells may be empty."""
    head, *lines = stack.kubectl("get", *what, "-n", SHOP_NAMESPACE).splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    return [{head[slice(*span)].strip(): line[slice(*span)].strip() for span in spans} for line in lines]


def test_events_tell_the_story(shops: Shops) -> None:
    shops.new.succeeded(shops.full)
    assert "Full Physical backup of" in shops.new.events(shops.full)["BackupSucceeded"]


def test_the_bucket_holds_the_backup_and_how_to_restore_it(shops: Shops, stack: Stack) -> None:
    status = shops.new.succeeded(shops.full)
    files = shops.new.files(shops.full)
    assert {"manifest.json", "RESTORE.md"} <= set(files)
    assert all(file in ("manifest.json", "RESTORE.md") or file.startswith("a1/") for file in files)
    manifest = shops.new.manifest(shops.full)
    assert (manifest["id"], manifest["attempt"], manifest["type"]) == (shops.full, 1, "Full")
    assert manifest["database"]["systemIdentifier"] == status["systemIdentifier"]
    folder = f"{SHOP_NAMESPACE}/orders/backups/{shops.full}"
    for artefact in manifest["artefacts"]:
        for part in artefact["parts"]:
            data = stack.download(f"{folder}/a1/{part['name']}")
            assert digest_of(data).endswith(part["sha256"])
    owner = json.loads(stack.download(f"{SHOP_NAMESPACE}/databosun.json"))
    system = stack.api.ask("GET", "/api/v1/namespaces/kube-system")
    assert owner["clusterId"] == system["metadata"]["uid"]
    assert "only-for-the-demo" not in json.dumps(manifest) + shops.new.document(shops.full)


def test_metrics_say_that_the_database_is_protected(shops: Shops, stack: Stack) -> None:
    shops.new.succeeded(shops.full)
    wanted: dict[str, Any] = {"namespace": SHOP_NAMESPACE, "database": "orders"}

    def protected() -> bool:
        series = (name for name, value in stack.metrics().items() if value == 1)
        return any(
            name.startswith("databosun_database_protected{")
            and all(f'{key}="{value}"' in name for key, value in wanted.items())
            for name in series
        )

    eventually("databosun_database_protected is 1", protected)


def test_finished_runs_leave_no_jobs_and_no_pods_behind(shops: Shops) -> None:
    for place, name in ((shops.new, shops.full), (shops.old, shops.logical)):
        place.ended(name)
        place.wait(f"nothing is left of {name}", lambda place=place, name=name: not place.pods(name))  # type: ignore[misc]  # bound here
        assert place.jobs(name) == []
