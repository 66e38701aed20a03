"""What a person sees through kubectl: names, columns, explanations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from kubernetes.client import CoreV1Api, CustomObjectsApi

from crd.objects import PLURALS, Object, fields, good, good_objects, schema_of
from databosun.api.v1alpha1.common import GROUP, VERSION
from databosun.api.v1alpha1.kind import Kind
from databosun.api.v1alpha1.kinds import CATEGORY, KINDS
from support.cluster import Cluster

pytestmark = pytest.mark.api

_BY_KIND = [pytest.param(kind, id=kind.kind) for kind in KINDS]


@pytest.fixture(scope="module")
def shop(kinds: Cluster, namespaces: CoreV1Api) -> Iterator[str]:
    """A namespace with every good object in it, status included; the recovery point is three minutes old."""
    name = f"shop-{datetime.now(UTC):%H%M%S%f}"
    kinds.kubectl("create", "namespace", name)
    objects = good_objects()
    kinds.kubectl("apply", "--server-side", "-n", name, "-f", "-", input=yaml.safe_dump_all(objects))
    api = CustomObjectsApi(namespaces.api_client)
    for one in objects:
        if "status" in one:
            _write_status(api, name, one)
    yield name
    kinds.kubectl("delete", "namespace", name, "--wait=false")


def _write_status(api: CustomObjectsApi, namespace: str, body: Object) -> None:
    status = body["status"]
    if "recovery" in status:
        status["recovery"]["latest"] = f"{datetime.now(UTC) - timedelta(minutes=3, seconds=30):%Y-%m-%dT%H:%M:%SZ}"
    where = (GROUP, VERSION, namespace, PLURALS[body["kind"]], body["metadata"]["name"])
    api.patch_namespaced_custom_object_status(*where, {"status": status})


def _table(cluster: Cluster, *arguments: str) -> list[dict[str, str]]:
    """What `kubectl get` prints, row by row, by the heads of the columns."""
    head, *lines = cluster.kubectl("get", *arguments).stdout.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    ends = [*starts[1:], None]
    return [{head[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)} for line in lines if line]


def _row(cluster: Cluster, *arguments: str, name: str) -> dict[str, str]:
    return next(row for row in _table(cluster, *arguments) if row["NAME"] == name)


@pytest.mark.parametrize("kind", _BY_KIND)
def test_a_kind_is_got_by_its_short_name(kinds: Cluster, shop: str, kind: Kind) -> None:
    rows = _table(kinds, kind.short_name, "-n", shop)
    assert {row["NAME"] for row in rows} == {one["metadata"]["name"] for one in good_objects(kind.kind)}


def test_all_kinds_are_got_by_their_category(kinds: Cluster, shop: str) -> None:
    got = set(kinds.kubectl("get", CATEGORY, "-n", shop, "-o", "name").stdout.split())
    assert got == {f"{one['kind'].lower()}.databosun.io/{one['metadata']['name']}" for one in good_objects()}


def test_the_columns_of_a_database(kinds: Cluster, shop: str) -> None:
    row = _row(kinds, "bdb", "-n", shop, name="orders")
    assert re.fullmatch(r"3m\d*s?", row.pop("RPO"))
    assert row.pop("AGE")
    assert re.fullmatch(r"\d+[dy].*", row.pop("LAST-PROVEN"))
    assert row == {
        "NAME": "orders",
        "ENGINE": "PostgreSQL",
        "VERSION": "15.20",
        "TIER": "1",
        "PROTECTED": "True",
        "RPO-MET": "False",
        "RTO": "9m12s",
        "READY": "True",
    }


def test_the_columns_of_a_storage(kinds: Cluster, shop: str) -> None:
    row = _row(kinds, "bst", "-n", shop, "-o", "wide", name="prod")
    assert (row["PLACE"], row["OBJECTS"], row["SIZE"], row["READY"]) == ("backups.example-1", "120", "1.4GiB", "True")
    assert (row["ENDPOINT"], row["PREFIX"]) == ("http://objects.storage.svc:8333", "prod/eu_1")
    assert row["MESSAGE"] == "written, read, listed and deleted"
    assert _row(kinds, "bst", "-n", shop, name="local")["PLACE"] == "backups"


def test_the_columns_of_a_policy(kinds: Cluster, shop: str) -> None:
    row = _row(kinds, "bpol", "-n", shop, "-o", "wide", name="nightly")
    assert (row["PRESET"], row["DATABASES"], row["PROTECTED"], row["FAILING"]) == ("Critical", "2", "1", "1")
    assert (row["NEXT"], row["SUSPENDED"], row["READY"]) == ("2026-03-02T02:00:00Z", "true", "True")
    assert (row["STORAGE"], row["BACKUPS"], row["PROVEN"], row["SIZE"]) == ("prod", "42", "6", "1.4GiB")
    assert (row["TO-DELETE"], row["MESSAGE"]) == ("2", "suspended by spec.suspend")


def test_the_columns_of_a_backup(kinds: Cluster, shop: str) -> None:
    row = _row(kinds, "bbk", "-n", shop, "-o", "wide", name="orders-2603010200-abcde")
    assert row.pop("AGE")
    assert row == {
        "NAME": "orders-2603010200-abcde",
        "DATABASE": "orders",
        "TYPE": "Incremental",
        "METHOD": "Physical",
        "PHASE": "Succeeded",
        "SIZE": "1.4GiB",
        "DURATION": "4m12s",
        "PROVEN": "Deep",
        "EXPIRES": "2026-04-01T02:04:13Z",
        "STORAGE": "prod",
        "POSITION": "0/3000148",
        "MESSAGE": "taken and checked",
    }


def test_what_a_backup_shows_without_asking_for_more(kinds: Cluster, shop: str) -> None:
    expected = "NAME DATABASE TYPE METHOD PHASE SIZE DURATION PROVEN EXPIRES AGE"
    assert list(_table(kinds, "bbk", "-n", shop)[0]) == expected.split()


def test_the_columns_of_an_approval(kinds: Cluster, shop: str) -> None:
    row = _row(kinds, "appr", "-n", shop, name="let-go")
    assert (row["KIND"], row["OF"], row["PLAN"]) == ("BackupPolicy", "nightly", "5d41402abc4b2a76")
    assert (row["APPROVED-BY"], row["NOT-AFTER"]) == ("jane@example.com", "2026-03-02T02:00:00Z")


def test_no_time_to_come_is_shown_as_an_age() -> None:
    to_come = re.compile("next|expires|notAfter", re.IGNORECASE)
    dates = [column.path for kind in KINDS for column in kind.columns if column.type == "date"]
    assert dates
    assert not [path for path in dates if to_come.search(path)]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("status.phase=Succeeded", {"orders-2603010200-abcde"}),
        ("spec.databaseRef.name=orders", {"orders-2603010200-abcde", "without-a-policy"}),
        ("spec.policyRef.name=nightly", {"orders-2603010200-abcde", "before-the-upgrade"}),
        ("spec.schedule=incr", {"orders-2603010200-abcde"}),
    ],
)
def test_backups_are_selected_by_what_people_ask_for(kinds: Cluster, shop: str, selector: str, found: set[str]) -> None:
    assert {row["NAME"] for row in _table(kinds, "bbk", "-n", shop, "--field-selector", selector)} == found


@pytest.mark.parametrize(
    ("what", "taught"),
    [
        ("bpol.spec.retention", "Keep this many of the newest backups, whatever their age."),
        ("bpol.spec.retention.recoveryWindow", "Keep all that it takes to restore to any backup or point in time"),
        ("bpol.spec.schedules.cron", "five fields: minute, hour, day of month, month, day of week"),
        ("bdb.spec.tier", "1 critical (RTO 15m, RPO 5m)"),
        ("bst.spec.encryption.age.recipients", "whoever holds the identity of any of them can read the backups"),
        ("bbk.spec.notAfter", "so that a restored or re-applied object starts nothing"),
        ("appr.spec.planHash", "another plan needs another Approval"),
    ],
)
def test_explain_teaches(kinds: Cluster, what: str, taught: str) -> None:
    assert taught in " ".join(kinds.kubectl("explain", what).stdout.split())


@pytest.mark.parametrize("kind", _BY_KIND)
def test_explain_knows_every_field(kinds: Cluster, kind: Kind) -> None:
    shown = kinds.kubectl("explain", kind.short_name, "--recursive").stdout
    names = {path.rpartition(".")[2].rstrip("[]{}") for path, _ in fields(schema_of(kind.kind))}
    assert not {name for name in names if not re.search(rf"^\s*{name}\s", shown, re.MULTILINE)}


def test_what_is_unknown_is_warned_of_and_dropped(kinds: Cluster, shop: str) -> None:
    body = good("Database", "small")
    body["spec"]["tire"] = 1
    body["metadata"]["name"] = "typo"
    text = yaml.safe_dump(body)
    strict = kinds.kubectl("apply", "-n", shop, "--dry-run=server", "-f", "-", input=text, check=False)
    assert 'unknown field "spec.tire"' in strict.stderr
    lenient = kinds.kubectl(
        "apply", "-n", shop, "--dry-run=server", "--validate=warn", "-o", "yaml", "-f", "-", input=text
    )
    assert 'unknown field "spec.tire"' in lenient.stderr
    assert "tire" not in yaml.safe_load(lenient.stdout)["spec"]


def test_two_owners_share_a_timetable(kinds: Cluster, shop: str) -> None:
    def apply(manager: str, *schedules: dict[str, str]) -> None:
        body = good("BackupPolicy", "plain")
        body["metadata"]["name"] = "shared"
        body["spec"]["schedules"] = list(schedules)
        text = yaml.safe_dump(body)
        kinds.kubectl("apply", "-n", shop, "--server-side", f"--field-manager={manager}", "-f", "-", input=text)

    apply("platform", {"name": "full", "type": "Full", "cron": "0 2 * * *"})
    apply("team", {"name": "noon", "type": "Full", "cron": "0 12 * * *"})
    names = kinds.kubectl("get", "bpol", "shared", "-n", shop, "-o", "jsonpath={.spec.schedules[*].name}").stdout
    assert sorted(names.split()) == ["full", "noon"]
