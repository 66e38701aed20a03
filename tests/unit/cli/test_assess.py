"""`databosun assess` and what asks the operator: an Inquiry is made, waited for, taken away, whatever comes of it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.cli import asking, assess
from databosun.cli.options import Output
from databosun.cli.report import command, lookback
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.kube.errors import Forbidden
from databosun.kube.resources import INQUIRIES, OWN_KINDS
from support.applied import database
from support.evidence import chain_of
from support.pemkeys import pem_of
from support.terminal import Terminal

KEY = Ed25519PrivateKey.generate()
WISH = assess.Wish("orders", None, False, None, (), timedelta(minutes=5))
COMPARISON = {
    "backup": "orders-1",
    "copyAt": "2026-03-01T11:00:00Z",
    "liveAt": "2026-03-01T12:00:00Z",
    "host": "db:5432",
    "counts": {"Lost": 1, "Same": 3},
    "tables": [
        {"table": "shop.public.items", "state": "Lost", "copyRows": 12},
        {"table": "shop.public.same", "state": "Same", "copyRows": 1, "liveRows": 1},
    ],
}


def put(terminal: Terminal, kind: str, name: str, spec: dict[str, Any], status: dict[str, Any], **more: Any) -> None:
    body = {
        "apiVersion": "databosun.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", **more},
        "spec": spec,
        "status": status,
    }
    terminal.kube.put(next(resource for resource in OWN_KINDS if resource.kind == kind), body)


@pytest.fixture
def filled(terminal: Terminal) -> Terminal:
    database(terminal.kube)
    uid = next(body for body in terminal.kube.all(OWN_KINDS[0]))["metadata"]["uid"]
    put(
        terminal,
        "Backup",
        "orders-1",
        {
            "databaseRef": {"name": "orders"},
            "storageRef": {"name": "prod"},
            "type": "Full",
            "scheduledFor": "2026-03-01T10:00:00Z",
        },
        {
            "phase": "Succeeded",
            "checksum": "a" * 64,
            "completionTime": "2026-03-01T11:00:00Z",
            "snapshotTime": "2026-03-01T11:00:00Z",
            "method": "Physical",
            "size": {"logical": 10, "stored": 5, "human": "5B"},
        },
        labels={"databosun.io/finished": "Succeeded", "databosun.io/database-uid": uid},
    )
    storage = {
        "volume": {"claimName": "x"},
        "signing": {"keySecretRef": {"name": "k", "key": "key"}, "publicKey": pem_of(KEY)[1]},
    }
    put(terminal, "BackupStorage", "prod", storage, {})
    return terminal


def answer(terminal: Terminal, *statuses: dict[str, Any]) -> list[dict[str, Any]]:
    """Each Inquiry gets the next status a second after it was made; what was asked."""
    asked: list[dict[str, Any]] = []
    left = list(statuses)

    def events() -> Iterator[None]:
        while True:
            for body in terminal.kube.all(INQUIRIES):
                if "phase" not in body.get("status", {}) and left:
                    asked.append(body["spec"])
                    terminal.kube.amend(INQUIRIES, body["metadata"]["name"], status=left.pop(0))
            yield

    terminal.clock.events = events()
    return asked


def page(records: list[tuple[str, bytes]], after: str | None = None) -> dict[str, Any]:
    packed = zlib.compress(b"".join(json.dumps([where, data.decode()]).encode() + b"," for where, data in records))
    found = {"count": len(records), "content": base64.b64encode(packed).decode()}
    return {"phase": "Succeeded", "records": found | ({"next": after} if after else {})}


# --- assess


async def test_it_prints_point_backup_loss_command_and_steps(filled: Terminal) -> None:
    assert await assess.show(filled.session, WISH, Output.TABLE) == 0
    for said in (
        "from: orders-1",
        "lost: 60m",
        "kubectl bosun restore orders -n shop",
        "kind: Restore",
        "1. Stop what",
    ):
        assert said in filled.said, said


async def test_what_may_have_to_be_thawed_is_said(filled: Terminal) -> None:
    recovery = {"archivedUntil": "2026-03-01T11:00:00Z", "earliest": "2026-03-01T11:00:00Z"}
    filled.kube.amend(OWN_KINDS[0], "orders", status={"recovery": recovery})
    await assess.show(filled.session, WISH, Output.TABLE)
    assert "archived: it may lie in an archive class; a thaw takes up to 12h and costs money" in filled.said
    assert "--thaw Standard" in filled.said


async def test_for_programs_it_is_a_document(filled: Terminal) -> None:
    await assess.show(filled.session, WISH, Output.JSON)
    document = json.loads(filled.out.getvalue())
    assert (document["schema"], document["kind"], document["backup"]["name"]) == (1, "Assessment", "orders-1")


async def test_where_nothing_can_be_restored_the_exit_code_says_so(filled: Terminal) -> None:
    assert await assess.show(filled.session, replace(WISH, before="2020-01-01T00:00:00Z"), Output.TABLE) == 1
    assert "NOTHING can be restored" in filled.said


@pytest.mark.parametrize(
    "wish",
    [
        replace(WISH, within="shop"),
        replace(WISH, compare=True, tables=("public.a",)),
        replace(WISH, before="yesterday"),
        replace(WISH, before="2026-03-01T00:00:00"),
    ],
)
async def test_what_contradicts_itself_is_refused(filled: Terminal, wish: assess.Wish) -> None:
    with pytest.raises(UserFault):
        await assess.show(filled.session, wish, Output.TABLE)
    assert not filled.kube.all(INQUIRIES)


async def test_a_comparison_is_asked_for_shown_and_taken_away(filled: Terminal) -> None:
    asked = answer(filled, {"phase": "Succeeded", "comparison": COMPARISON})
    wish = replace(WISH, compare=True, within="shop", tables=("public.items",))
    assert await assess.show(filled.session, wish, Output.TABLE) == 0
    assert asked[0]["comparison"] == {
        "databaseRef": {"name": "orders"},
        "backupRef": {"name": "orders-1"},
        "database": "shop",
        "tables": ["public.items"],
    }
    assert "shop.public.items Lost 12 - - - -" in filled.said
    assert "public.same" not in filled.said
    assert not filled.kube.all(INQUIRIES)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"phase": "Refused", "failure": {"reason": "NoSuchTable", "message": "no table"}}, UserFault),
        ({"phase": "Succeeded"}, WorldFault),
        ({}, WorldFault),
    ],
)
async def test_without_an_answer_nothing_is_left_behind(
    filled: Terminal, status: Any, fault: type[DatabosunError]
) -> None:
    answer(filled, status)
    with pytest.raises(fault):
        await assess.show(filled.session, replace(WISH, compare=True), Output.TABLE)
    assert not filled.kube.all(INQUIRIES)


# --- records


def wished(**more: Any) -> command.Wish:
    return command.Wish(
        **{"databases": (), "since": "2026-01-01", "form": None, "file": None, "evidence": None, "keys": (), **more}
    )


async def test_records_are_read_page_by_page_and_checked_with_the_key_of_their_storage(filled: Terminal) -> None:
    chain = chain_of(3, key=KEY)
    pairs = [(one.where, one.data) for one in chain.found]
    asked = answer(filled, page(pairs[:2], after="shop/orders/drills/orders-02"), page(pairs[2:]))
    made = await command.online(filled.session, wished())
    assert (made.totals.drills, made.totals.signed, made.totals.broken) == (3, 3, 0)
    assert [one["records"].get("after") for one in asked] == [None, "shop/orders/drills/orders-02"]
    assert not filled.kube.all(INQUIRIES)
    assert "signatures were demanded" in made.sources[0]


async def test_a_record_that_no_key_signed_proves_nothing(filled: Terminal) -> None:
    answer(filled, page([(one.where, one.data) for one in chain_of(1).found]))
    made = await command.online(filled.session, wished())
    assert (made.totals.proven, made.totals.broken) == (0, 1)


async def test_a_storage_that_cannot_be_read_leaves_what_the_cluster_remembers(filled: Terminal) -> None:
    answer(filled, {"phase": "Failed", "failure": {"reason": "Unreachable", "message": "the store is away"}})
    made = await command.online(filled.session, wished())
    assert "could not be read" in made.sources[0]
    assert made.totals.broken == 0


async def test_who_may_not_ask_gets_what_the_cluster_remembers(
    filled: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: Any) -> Any:
        raise Forbidden("The API server said: you may not create inquiries")

    monkeypatch.setattr(filled.kube, "create", forbidden)
    made = await command.online(filled.session, wished())
    assert "could not be read" in made.sources[0]


async def test_an_answer_that_is_no_page_is_not_taken_for_an_empty_one(filled: Terminal) -> None:
    answer(filled, {"phase": "Succeeded", "records": {"count": 1, "content": "AAAA"}})
    made = await command.online(filled.session, wished())
    assert "could not be read" in made.sources[0]


async def test_an_inquiry_that_nobody_answers_ends(filled: Terminal) -> None:
    with pytest.raises(WorldFault, match="no answer"):
        await asking.ask(
            filled.session,
            asking.Question("shop", "x", {"records": {"storageRef": {"name": "prod"}}}),
            timedelta(minutes=1),
        )
    assert "not picked the inquiry up" in filled.noted


# --- looking back


async def test_a_restore_is_looked_back_at_with_its_record(filled: Terminal) -> None:
    record = {
        "kind": "Restore",
        "run": "mine",
        "startedAt": "2026-03-01T04:01:00Z",
        "completedAt": "2026-03-01T04:05:00Z",
    }
    spec = {
        "from": {"databaseRef": {"name": "orders"}},
        "target": {"volume": {"claimName": "new"}},
        "notAfter": "2026-03-01T05:00:00Z",
        "pointInTime": "2026-03-01T02:59:59Z",
    }
    status = {
        "phase": "Succeeded",
        "backup": "orders-1",
        "candidates": [
            {
                "name": "orders-1",
                "database": "orders",
                "storage": "prod",
                "resolvedAt": "2026-03-01T04:00:00Z",
                "checksum": "a" * 64,
            }
        ],
        "record": {"uri": "s3://b/result.json", "sha256": "b" * 64},
    }
    put(filled, "Restore", "mine", spec, status)
    asked = answer(filled, page([("s3://b/result.json", json.dumps(record).encode())]))
    made = await lookback.online(filled.session, "mine", records=True)
    assert asked[0]["records"] == {"storageRef": {"name": "prod"}, "database": "orders", "restore": "mine"}
    assert made.record is not None
    assert made.record.trust == "Broken"
    assert (made.asked, made.target) == ("to 2026-03-01T02:59:59Z", "volume new")
    assert b"volume new" in lookback.render(made, command.Format.MD)
