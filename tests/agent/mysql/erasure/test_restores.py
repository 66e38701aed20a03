"""A restore after an erasure does not bring the person back: by a drill, into a volume, with a log replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pymysql.connections import Connection

from databosun.api.drill import Check, CheckOutcome, CheckType, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.errors import SafetyStop
from databosun.engines.mysql.quiet import Quiet
from support.archiving import Pod
from support.erasing import PEOPLE, SUBJECT, erased, rule
from support.mariaserver import MariaServer, wait_a_second
from support.pgserver import hand_over
from support.recoverypod import RecoveryPod
from support.recoveryyard import drilled
from support.sqlerasing import LEFT, SqlForgetter, counts, tell, triggers
from support.waiting import eventually

pytestmark = pytest.mark.servers
NOBODY = Check(
    name="nobody", type=CheckType.QUERY, database=PEOPLE, value="0",
    query=f"SELECT COUNT(*) FROM customers WHERE email = '{SUBJECT}'",
)  # fmt: skip
ERASED = "1 erasures repeated, 1 people found: 1 rows of people.customers, 2 rows of people.letters, 7 rows of"


@contextmanager
def started(forgetter: SqlForgetter, pod: RecoveryPod) -> Iterator[Connection[object]]:
    """A server that runs the restored directory, by its own configuration."""
    other: MariaServer = type(forgetter.server)()
    try:
        other.data = pod.restored / "data"
        other.configure()
        hand_over(other.data)
        other.start()
        connection = other.connect(PEOPLE)
        yield connection
        connection.close()
        other.stop()
    finally:
        other.remove()


def restore(forgetter: SqlForgetter, pod: RecoveryPod, **more: object) -> None:
    """Into the pod's volume."""
    ran = forgetter.yard.restore(pod=pod, **more)
    forgetter.outputs.append(ran.output)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]


def counted(connection: Connection[object], query: str) -> list[tuple[object, ...]]:
    """Rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def test_a_drill_of_an_older_backup_does_not_bring_the_person_back(forgetter: SqlForgetter) -> None:
    """And its own checks of what was backed up hold, since they come before."""
    forgetter.yard.back_up()
    before = drilled(forgetter.yard.drill(pod=forgetter.pod(), id="drill-0", checks=[NOBODY]))
    assert (before.verdict, before.reason) == (Verdict.FAILED, "CheckFailed"), "the backup holds her"
    assert [one for one in before.checks if one.name == "erasures"] == []
    erased(forgetter.erase())
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod(), level=Level.APPLICATION, checks=[NOBODY]))
    assert drill.verdict is Verdict.PASSED, drill.message
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.outcome is CheckOutcome.PASSED
    assert again.observed == f"{ERASED} people.lines, 7 rows of people.orders; none left"
    names = [one.name for one in drill.checks]
    assert names.index("erasures") < names.index("nobody")
    assert drill.proven
    keyless = drilled(forgetter.yard.drill(id="drill-2"))
    assert (keyless.verdict, keyless.reason) == (Verdict.REFUSED, "ErasureKeyMissing")


def test_a_volume_restored_from_an_older_backup_holds_everybody_but_the_person(forgetter: SqlForgetter) -> None:
    """What followed her by foreign keys is gone too; triggers that would have told of it, refused it or taken it back
    did not fire, and are there as they were. The volume has no transaction of its own."""
    server = forgetter.server
    erased(forgetter.erase(name="erase-0"))  # before: of nobody who comes back
    server.sql(
        f"INSERT INTO customers VALUES (1815, '{SUBJECT}', 'Ada');\nINSERT INTO orders VALUES (10001, 1815, 'hers');\n"
        "UPDATE visits SET customer = 1815, at = at WHERE id = 1815;\n"
        f"UPDATE letters SET email = '{SUBJECT}', body = 'dear Ada' WHERE id = 1815",
        PEOPLE,
    )
    tell(server)
    kept = triggers(server.connect(PEOPLE))
    assert len(kept) == 4
    forgetter.yard.back_up()
    for name in ("telling", "refusing", "keeping", "keeping_too"):
        server.sql(f"DROP TRIGGER {name}", PEOPLE)
    erased(forgetter.erase())
    pod = forgetter.pod()
    restore(forgetter, pod)
    with started(forgetter, pod) as copy:
        assert counts(copy) == LEFT
        assert counted(copy, "SELECT customer, at = '2024-01-01' FROM visits WHERE id = 1815") == [(None, 1)]
        assert counted(copy, "SELECT email, body FROM letters WHERE id = 1815") == [("erased@example.invalid", None)]
        assert triggers(copy) == kept
        with pytest.raises(Exception, match="foreign key constraint fails"):
            counted(copy, "INSERT INTO orders VALUES (99999, 99999, 'x')")
        known = "@@gtid_slave_pos, @@gtid_binlog_pos" if "Maria" in type(forgetter.yard).__name__ else "@@gtid_executed"
        assert set(counted(copy, f"SELECT {known}")[0]) == {""}


def test_triggers_that_were_put_away_come_back_or_it_is_said(
    forgetter: SqlForgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a schema whose texts are of another order by now, too; and the session speaks as before."""
    tell(forgetter.server)
    forgetter.server.sql(f"ALTER DATABASE {PEOPLE} COLLATE utf8mb4_bin")
    connection = forgetter.server.connect(PEOPLE)
    spoken = "SELECT @@sql_mode, @@character_set_client, @@collation_connection, DATABASE(), @@collation_database"
    kept, before = triggers(connection), counted(connection, spoken)
    quiet = Quiet(connection)
    for _ in range(2):
        quiet.put_away([f"{PEOPLE}.customers", f"{PEOPLE}.orders", f"{PEOPLE}.letters"])
        assert triggers(connection) == []
    quiet.bring_back()
    assert (triggers(connection), counted(connection, spoken)) == (kept, before)
    made = Quiet._make
    monkeypatch.setattr(
        Quiet, "_make", lambda self, name, shown: made(self, name, (*shown[:4], "latin1_bin", *shown[5:]))
    )
    quiet.put_away([f"{PEOPLE}.customers"])
    with pytest.raises(SafetyStop, match="is not what it was when made again") as caught:
        quiet.bring_back()
    assert caught.value.reason == "RecoveryFailed"
    connection.close()


@contextmanager
def shipped(forgetter: SqlForgetter) -> Iterator[Pod]:
    """An archiver that streams, and ends once all is in the store."""
    pod = forgetter.yard.archiver()
    try:
        pod.start()
        pod.wait_until_streaming()
        yield pod
        written = datetime.now(UTC)
        forgetter.yard.its.sql("FLUSH BINARY LOGS")
        forgetter.server.sql("DELETE FROM told", PEOPLE)

        def there() -> bool:
            line = pod.latest()
            return bool(line and line.recoverable_at and line.recoverable_at > written)

        eventually("what was written is in the store", there)
        pod.stop()
    finally:
        pod.kill()


def test_the_log_to_a_time_or_a_transaction_does_not_bring_the_person_back(forgetter: SqlForgetter) -> None:
    """She comes with the log alone, after a full and an incremental without her; to its end she is erased by it."""
    server = forgetter.server
    server.begin_log_anew()
    hers = server.sql("SELECT * FROM customers WHERE id = 1815", PEOPLE)
    server.sql(
        "DELETE FROM `lines` WHERE what = 'hers';\nDELETE FROM customers WHERE id = 1815;\n"
        f"DELETE FROM letters WHERE email = '{SUBJECT}'",
        PEOPLE,
    )
    with shipped(forgetter):
        full = forgetter.yard.back_up("orders-1")
        server.sql(f"INSERT INTO customers VALUES (1816, '{SUBJECT}', 'Ada')", PEOPLE)
        forgetter.yard.back_up("orders-2", on=full, type=BackupType.INCREMENTAL)
        server.sql("DELETE FROM customers WHERE id = 1816", PEOPLE)
        wait_a_second()
        server.sql(f"INSERT INTO customers VALUES (1815, '{hers[0][1]}', 'Ada')", PEOPLE)
        transaction = server.transaction()
        wait_a_second()
        moment = datetime.now(UTC)
        wait_a_second()
        erased(forgetter.erase())
    points = {
        "none": ("orders-2", RecoveryPoint()),
        "time": ("orders-1", RecoveryPoint(kind=PointKind.TIME, time=moment)),
        "gtid": ("orders-2", RecoveryPoint(kind=PointKind.GTID, name=transaction)),
        "latest": ("orders-1", RecoveryPoint(kind=PointKind.LATEST)),
    }
    said = {}
    for name, (backup, until) in points.items():
        drill = drilled(
            forgetter.yard.drill(backup, pod=forgetter.pod(), id=f"drill-{name}", until=until, checks=[NOBODY])
        )
        assert drill.verdict is Verdict.PASSED, (name, drill.message, drill.checks)
        said[name] = next(str(one.observed) for one in drill.checks if one.name == "erasures")
    one = "1 erasures repeated, 1 people found: 1 rows of people.customers; none left"
    assert said == {
        "none": one, "time": one, "gtid": one, "latest": "1 erasures repeated, 0 people found: no row; none left",
    }  # fmt: skip


def test_a_backup_from_after_the_erasure_needs_no_key_and_keeps_who_came_back(forgetter: SqlForgetter) -> None:
    erased(forgetter.erase())
    (done,) = [one for one in forgetter.objects() if one.name == "done.json"]
    text = json.loads(done.read_bytes())
    text["verifiedAt"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    done.write_text(json.dumps(text))
    forgetter.server.sql(f"INSERT INTO customers VALUES (1815, '{SUBJECT}', 'Ada')", PEOPLE)
    forgetter.yard.back_up()
    pod = forgetter.yard.pod()
    restore(forgetter, pod)
    with started(forgetter, pod) as copy:
        assert counts(copy)["hers"] == 1


@pytest.mark.parametrize(
    "changed", ["RENAME COLUMN email TO address", "DROP KEY email, DROP COLUMN email, ADD COLUMN email DOUBLE"]
)
def test_a_table_that_cannot_be_searched_makes_the_restore_fail_and_one_that_is_missing_is_told(
    forgetter: SqlForgetter, changed: str
) -> None:
    server = forgetter.server
    server.sql(f"ALTER TABLE customers {changed};\nRENAME TABLE letters TO mail", PEOPLE)
    forgetter.yard.back_up()
    server.sql("RENAME TABLE mail TO letters", PEOPLE)
    erased(forgetter.erase([rule("letters", "letters", "email")]))
    missing = forgetter.yard.restore(pod=forgetter.pod()).result.restore
    (note,) = [one for one in missing.notes if "erasures" in one]
    assert note == "erasures found nothing to work on where the copy has no erase-1: table letters"
    back = "RENAME COLUMN address TO email" if "RENAME" in changed else "MODIFY email VARCHAR(200)"
    server.sql(f"ALTER TABLE customers {back}", PEOPLE)
    erased(forgetter.erase(forgetter.everywhere()[:1], name="erase-2"))
    pod = forgetter.pod()
    ran = forgetter.yard.restore(pod=pod, id="restore-2")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ErasureNotRepeatable"), ran.output[-3000:]
    assert "people.customers of the restored data has no column email" in ran.summary.message
    assert list(pod.restored.iterdir()) == []
