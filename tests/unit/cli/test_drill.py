"""A drill or a restore by hand: created once, bounded in time, followed to its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.restore import RestoreSpec
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunSpec
from databosun.cli import drill, restore
from databosun.domain.errors import UserFault
from databosun.kube.resources import APPROVALS, RESTORE_DRILL_RUNS, RESTORE_DRILLS, RESTORES, Resource
from support.applied import database
from support.terminal import Terminal

HOUR = timedelta(hours=1)


def to_drill(**more: Any) -> drill.Wish:
    return drill.Wish(
        **{"database": "orders", "drill": None, "backup": None, "level": None, "start_within": HOUR, **more}
    )


def to_restore(**more: Any) -> restore.Wish:
    nothing = dict.fromkeys(
        ("credentials", "target", "backup", "time", "lsn", "restore_point", "gtid", "level", "thaw")
    )
    said = {"database": "orders", "claim": "new", "replace": False, "reindex": False, "start_within": HOUR,
            "databases": (), "tables": (), "stage_first": False}  # fmt: skip
    return restore.Wish(**{**nothing, **said, **more})


def play(terminal: Terminal, resource: Resource, name: str, *statuses: Any) -> None:
    """One status after each second."""

    def events() -> Iterator[None]:
        for status in statuses:
            terminal.kube.amend(resource, name, status=status)
            yield

    terminal.clock.events = events()


async def test_a_drill_by_hand_cannot_start_later(terminal: Terminal) -> None:
    database(terminal.kube)
    seen = await drill.start(terminal.session, to_drill(level="Deep"))
    body = terminal.kube.one(RESTORE_DRILL_RUNS, seen.meta.name)
    assert seen.meta.name.startswith("orders-260301-1200-")
    assert RestoreDrillRunSpec.model_validate(body["spec"]).level == "Deep"
    assert body["spec"]["notAfter"] == "2026-03-01T13:00:00Z"


async def test_what_a_drill_names_has_to_be_there(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="Database orders is not in namespace shop"):
        await drill.start(terminal.session, to_drill())
    database(terminal.kube)
    with pytest.raises(UserFault, match="RestoreDrill weekly is not"):
        await drill.start(terminal.session, to_drill(drill="weekly"))
    with pytest.raises(UserFault, match="Backup gone is not"):
        await drill.start(terminal.session, to_drill(backup="gone"))


async def test_without_a_database_all_of_a_drill_are_drilled(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="name a Database"):
        await drill.start(terminal.session, to_drill(database=None))
    with pytest.raises(UserFault, match="name a Database"):
        await drill.start(terminal.session, to_drill(database=None, drill="disaster", backup="b1"))
    spec = {"databaseSelector": {"matchLabels": {"team": "shop"}}}
    terminal.kube.put(RESTORE_DRILLS, {"metadata": {"name": "disaster"}, "spec": spec})
    seen = await drill.start(terminal.session, to_drill(database=None, drill="disaster"))
    assert seen.meta.name.startswith("disaster-260301-1200-")
    assert "databaseRef" not in terminal.kube.one(RESTORE_DRILL_RUNS, seen.meta.name)["spec"]
    members = [
        {"database": "users", "group": 1, "run": "u", "phase": "Passed", "ready": "1m30s", "met": True},
        {"database": "orders", "group": 2, "run": "o", "phase": "Failed", "reason": "Stale", "message": "2h old"},
    ]
    failed = {"phase": "Failed", "members": members, "failure": {"reason": "Stale", "message": "Failed for 1 of 2"}}
    play(terminal, RESTORE_DRILL_RUNS, seen.meta.name, failed)
    assert await drill.RUN.follow(terminal.session, seen.meta.name, HOUR) == 1
    assert "1 users Passed, back after 1m30s" in terminal.said
    assert "2 orders Failed: Stale: 2h old" in terminal.said
    assert "Failed for 1 of 2" in terminal.noted


PASSED = {
    "phase": "Passed",
    "levelReached": "Deep",
    "proven": True,
    "backup": {"name": "b1", "database": "orders", "resolvedAt": "2026-03-01T12:00:00Z", "checksum": "x"},
    "rto": {"milliseconds": 552000, "seconds": 552, "took": "9m12s", "objective": "15m", "met": True},
    "rpo": {
        "milliseconds": 7200000,
        "seconds": 7200,
        "span": "2h",
        "objective": "5m",
        "met": False,
        "source": "Commit",
        "newest": "2026-03-01T10:00:00Z",
        "exact": True,
    },
    "evidence": {"uri": "s3://backups/evidence.json", "sha256": "y"},
}


async def test_a_passed_drill_says_what_was_measured(terminal: Terminal) -> None:
    database(terminal.kube)
    name = (await drill.start(terminal.session, to_drill())).meta.name
    play(terminal, RESTORE_DRILL_RUNS, name, {"phase": "Running"}, PASSED)
    assert await drill.RUN.follow(terminal.session, name, None) == 0
    assert f"RestoreDrillRun shop/{name} passed at level Deep: b1 restores" in terminal.said
    assert "RTO 9m12s of 15m\n" in terminal.said
    assert "RPO 2h of 5m, MISSED" in terminal.said
    assert "evidence: s3://backups/evidence.json" in terminal.said


async def test_a_failed_drill_names_the_check_and_fails(terminal: Terminal) -> None:
    database(terminal.kube)
    name = (await drill.start(terminal.session, to_drill())).meta.name
    check = {"name": "rows", "type": "RowCount", "severity": "Critical", "result": "Failed", "message": "0 rows"}
    failure = {"reason": "RowCountWrong", "message": "check rows failed"}
    play(terminal, RESTORE_DRILL_RUNS, name, {"phase": "Failed", "checks": [check], "failure": failure})
    assert await drill.RUN.follow(terminal.session, name, None) == 1
    assert "Failed rows (Critical): 0 rows" in terminal.noted
    assert "failed: RowCountWrong: check rows failed" in terminal.noted


async def test_a_restore_takes_a_database_that_is_gone_and_a_time_with_its_zone(terminal: Terminal) -> None:
    seen = await restore.start(terminal.session, to_restore(time="2026-03-01T03:59:00+01:00"))
    spec = RestoreSpec.model_validate(terminal.kube.one(RESTORES, seen.meta.name)["spec"])
    assert spec.point_in_time is not None
    assert spec.point_in_time.isoformat() == "2026-03-01T02:59:00+00:00"
    assert (spec.overwrite, spec.confirm) == ("Refuse", None)


@pytest.mark.parametrize("time", ["2026-03-01T03:59:00", "yesterday"])
async def test_a_time_without_a_zone_is_refused(terminal: Terminal, time: str) -> None:
    with pytest.raises(UserFault, match="expected a time with its zone"):
        await restore.start(terminal.session, to_restore(time=time))


async def test_a_restore_has_one_end(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="at most one of"):
        await restore.start(terminal.session, to_restore(lsn="0/1", restore_point="before"))
    with pytest.raises(UserFault, match="and --gtid"):
        await restore.start(terminal.session, to_restore(lsn="0/1", gtid="0-1-12"))
    assert (await restore.start(terminal.session, to_restore(gtid="0-1-12"))).spec.gtid == "0-1-12"
    thawed = (await restore.start(terminal.session, to_restore(thaw="Bulk"))).spec.thaw
    assert (thawed.speed, thawed.days) == ("Bulk", 3) if thawed else False


async def test_replacing_is_confirmed_by_name(terminal: Terminal) -> None:
    seen = await restore.start(terminal.session, to_restore(replace=True))
    assert (seen.spec.overwrite, seen.spec.confirm) == ("Replace", "new")


async def test_tables_go_into_the_running_server_that_they_are_of(terminal: Terminal) -> None:
    database(terminal.kube)
    wish = to_restore(
        claim=None,
        target="orders",
        databases=("shop",),
        tables=("public.orders",),
        replace=True,
        stage_first=True,
        credentials="restorer",
    )
    spec = (await restore.start(terminal.session, wish)).spec
    assert (spec.target.named, spec.confirm, spec.stage_first) == ("orders", "orders", True)
    assert spec.target.credentials_secret_ref
    assert spec.target.credentials_secret_ref.name == "restorer"
    assert spec.selection
    assert (spec.selection.databases, spec.selection.tables) == (["shop"], ["public.orders"])


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"claim": None}, "say where to"),
        ({"target": "orders"}, "say where to"),
        ({"databases": ("shop",)}, "need a running server"),
        ({"stage_first": True}, "need a running server"),
        ({"claim": None, "target": "orders", "tables": ("t",)}, "say it with --only, once"),
    ],
)
async def test_what_contradicts_itself_is_refused(terminal: Terminal, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserFault, match=said):
        await restore.start(terminal.session, to_restore(**wish))
    assert terminal.kube.all(RESTORES) == []


async def test_what_is_staged_is_shown_and_promoted_under_ones_own_name(terminal: Terminal) -> None:
    terminal.kube.reviews["SelfSubjectReview"] = lambda _body: {"userInfo": {"username": "ada@example.com"}}
    name = (await restore.start(terminal.session, to_restore())).meta.name
    placed = [{"database": "shop", "at": "shop_restore_1", "rows": 7}]
    staged = {
        "at": "2026-03-01T04:00:00Z",
        "until": "2026-03-02T04:00:00Z",
        "planHash": "abcdef0123456789",
        "attempt": 1,
    }
    play(terminal, RESTORES, name, {"phase": "Staged", "placed": placed, "staged": staged})
    assert await restore.RUN.follow(terminal.session, name, None) == 0
    assert f"--promote {name}" in terminal.said
    assert await restore.promote(terminal.session, name, lambda _: False) == 1
    assert terminal.kube.all(APPROVALS) == []
    assert await restore.promote(terminal.session, name, lambda _: True) == 0
    (approval,) = terminal.kube.all(APPROVALS)
    assert approval["spec"]["ref"] == {"kind": "Restore", "name": name}
    assert (approval["spec"]["planHash"], approval["spec"]["approvedBy"]) == ("abcdef0123456789", "ada@example.com")


async def test_only_what_is_staged_can_be_promoted(terminal: Terminal) -> None:
    name = (await restore.start(terminal.session, to_restore())).meta.name
    with pytest.raises(UserFault, match="only one that is Staged"):
        await restore.promote(terminal.session, name, lambda _: True)


async def test_a_restore_ends_with_what_to_do_next(terminal: Terminal) -> None:
    name = (await restore.start(terminal.session, to_restore())).meta.name
    done = {"phase": "Succeeded", "duration": "4m", "dataDirectory": "data", "handOver": ["Scale to 0.", "Start it."]}
    play(terminal, RESTORES, name, {"phase": "Running", "progress": {"stage": "restore", "bytes": 1024}}, done)
    assert await restore.RUN.follow(terminal.session, name, None) == 0
    assert "restore: 1.0KiB" in terminal.noted
    assert "volume new, folder data" in terminal.said
    assert "2. Start it." in terminal.said


async def test_a_refused_restore_is_no_success(terminal: Terminal) -> None:
    name = (await restore.start(terminal.session, to_restore())).meta.name
    failure = {"reason": "TargetNotEmpty", "message": "the volume holds data"}
    play(terminal, RESTORES, name, {"phase": "Refused", "failure": failure})
    assert await restore.RUN.follow(terminal.session, name, None) == 1
    assert "refused: TargetNotEmpty" in terminal.noted
