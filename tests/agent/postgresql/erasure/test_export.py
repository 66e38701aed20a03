"""One person's rows are handed over from a real PostgreSQL: all of them, of one snapshot, and nobody else's."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import SweepTask
from databosun.api.dataexport import ExportOrder, ExportResult
from databosun.api.result import Outcome
from databosun.engines.postgresql.exporting import _Snapshot
from support.agentrun import Ran
from support.erasing import ERASER, KEY, PEOPLE, SUBJECT, Forgetter, erased

pytestmark = pytest.mark.servers
CUSTOMERS = ExportOrder(
    name="customers", table="public.customers", column="email", along=["orders", "public.lines"], max_rows=10
)
LETTERS = ExportOrder(name="letters", table="public.letters", column="email", max_rows=10)


def exported(ran: Ran) -> ExportResult:
    assert ran.result.dataexport is not None, ran.output[-4000:]
    return ran.result.dataexport


def refused(forgetter: Forgetter, *rules: ExportOrder) -> tuple[str, str]:
    """Reason and message; nothing of it is in the store."""
    ran = forgetter.export(*rules)
    assert ran.summary.outcome is Outcome.REFUSED, ran.output[-3000:]
    assert [one for one in forgetter.objects() if "exports" in one.parts] == []
    return ran.summary.reason, ran.summary.message


def test_all_rows_of_the_person_are_handed_over_and_nobody_elses(forgetter: Forgetter) -> None:
    before = forgetter.counts()
    ran = forgetter.export(CUSTOMERS, LETTERS)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Exported"), ran.output[-3000:]
    found = exported(ran)
    rows = forgetter.exported(found)
    assert list(rows) == ["public.customers", "public.orders", "public.lines", "public.letters"]
    assert rows["public.customers"] == [{"id": 1815, "email": SUBJECT, "name": "Ada"}]
    assert [row["id"] for row in rows["public.orders"]] == [10000 + i for i in range(1, 8)]
    assert {row["order"] for row in rows["public.lines"]} == {10000 + i for i in range(1, 8)}
    assert [(row["id"], row["sent"]) for row in rows["public.letters"]] == [(1815, "2024-01-01"), (1816, "2026-01-01")]
    assert forgetter.counts() == before
    assert found.notes == ["rule customers: rows of public.visits may refer to public.customers, and were left out"]
    assert (found.subject, found.dbname, found.database) == (forgetter.hashed, PEOPLE, "orders")
    assert found.expires_at - found.completed_at == timedelta(hours=1)
    assert found.receipt is not None
    assert found.receipt.endswith("/orders/exports/export-1/result.json")
    again = forgetter.export(CUSTOMERS, LETTERS, attempt=2)
    assert (again.summary.reason, exported(again).receipt_sha256) == ("AlreadyDone", found.receipt_sha256)
    other = forgetter.export(CUSTOMERS, uid="another")
    assert (other.summary.outcome, other.summary.reason) == (Outcome.REFUSED, "NameTaken")


def test_neither_key_nor_rows_are_seen_outside_of_the_encrypted_files(forgetter: Forgetter) -> None:
    server = forgetter.yard.server
    server.sql("ALTER SYSTEM SET log_statement = 'all'")
    server.sql("ALTER SYSTEM SET log_parameter_max_length = 0")
    server.sql("SELECT pg_reload_conf()")
    begin = (server.folder / "log").stat().st_size
    try:
        exported(forgetter.export(CUSTOMERS, LETTERS))
    finally:
        server.sql("ALTER SYSTEM RESET log_statement")
        server.sql("ALTER SYSTEM RESET log_parameter_max_length")
        server.sql("SELECT pg_reload_conf()")
    said = [*forgetter.outputs, (server.folder / "log").read_bytes()[begin:].decode(errors="replace")]
    assert any("row_to_json" in text for text in said), "the server's log was looked at"
    stored = [path.read_bytes().decode(errors="replace") for path in forgetter.objects()]
    assert len(stored) > 5
    requests = [path.read_text() for path in forgetter.yard.folder.rglob("request.json")]
    for form in (SUBJECT, base64.b64encode(SUBJECT.encode()).decode(), KEY, "dear Ada"):
        assert not any(form in text for text in (*said, *stored, *requests))


def test_rows_are_of_one_instant_whatever_is_written_meanwhile(
    forgetter: Forgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, server = _Snapshot.read, forgetter.yard.server

    def read(self: _Snapshot, *arguments: Any) -> int:
        found = original(self, *arguments)
        server.sql(f"DELETE FROM letters WHERE email = '{SUBJECT}'", PEOPLE)
        server.sql("DELETE FROM lines WHERE what = 'hers'", PEOPLE)
        return found

    monkeypatch.setattr(_Snapshot, "read", read)
    rows = forgetter.exported(exported(forgetter.export(CUSTOMERS, LETTERS)))
    assert {name: len(found) for name, found in rows.items()} == {
        "public.customers": 1, "public.orders": 7, "public.lines": 7, "public.letters": 2,
    }  # fmt: skip
    assert forgetter.counts()["hers"] == 8


def test_what_would_be_wrong_or_not_whole_is_refused(forgetter: Forgetter) -> None:
    def changed(**more: Any) -> ExportOrder:
        return CUSTOMERS.model_copy(update=more)

    assert refused(forgetter, changed(table="public.nobody"))[0] == "TableNotFound"
    assert refused(forgetter, changed(column="mail"))[0] == "ColumnNotFound"
    reason, message = refused(forgetter, changed(along=["letters"]))
    assert (reason, "public.letters has no foreign key that leads to public.customers" in message) == (
        "TableNotFound",
        True,
    )
    reason, message = refused(forgetter, LETTERS.model_copy(update={"max_rows": 1}))
    assert (reason, "maxRows (1)" in message) == ("PlanGrew", True)
    server = forgetter.yard.server
    server.sql(f"REVOKE SELECT ON orders FROM {ERASER}", PEOPLE)
    assert refused(forgetter, CUSTOMERS)[0] == "PermissionDenied"
    server.sql(f"GRANT SELECT ON orders TO {ERASER}; ALTER TABLE lines ENABLE ROW LEVEL SECURITY", PEOPLE)
    assert refused(forgetter, CUSTOMERS)[0] == "RowsHidden"
    forgetter.key = ""
    assert refused(forgetter, LETTERS)[0] == "ErasureKeyMissing"


def test_what_has_expired_and_what_attempts_left_is_swept_and_receipts_stay(
    forgetter: Forgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def lost(self: _Snapshot, *arguments: Any) -> int:
            raise MemoryError

        kept = forgetter.export(CUSTOMERS)
        patch.setattr("databosun.agent.tasks.export.put_record", lost)
        assert forgetter.export(CUSTOMERS, name="export-2").summary.outcome is Outcome.FAILED

    def sweep(older: int = 3600) -> list[str]:
        ran = forgetter.yard.place.run(SweepTask(older_than_seconds=older))
        assert ran.result.swept is not None, ran.output[-3000:]
        return ran.result.swept

    def files() -> dict[str, int]:
        names = [path.parts[path.parts.index("exports") + 1] for path in forgetter.objects() if "exports" in path.parts]
        return {name: names.count(name) for name in set(names)}

    assert (sweep(), files()) == ([], {"export-1": 4, "export-2": 3})
    assert (sweep(older=0), files()) == (["orders/exports/export-2"], {"export-1": 4})
    assert len(forgetter.exported(exported(kept))["public.orders"]) == 7
    (receipt,) = [path for path in forgetter.objects() if "exports" in path.parts and path.name == "result.json"]
    document = json.loads(receipt.read_bytes())
    document["result"]["expiresAt"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    original = receipt.read_bytes()
    receipt.write_text("{")
    assert (sweep(older=0), files()) == ([], {"export-1": 4}), "nobody knows until when they are kept"
    receipt.write_text(json.dumps(document))
    assert (sweep(), files()) == (["orders/exports/export-1"], {"export-1": 1})
    assert json.loads(original)["run"] == "export-1"


def test_an_erasure_names_the_exports_that_hold_the_person_until_they_expire(forgetter: Forgetter) -> None:
    exported(forgetter.export(LETTERS))
    exported(forgetter.export(LETTERS, name="export-2", expires_seconds=0))
    forgetter.subject = "person7@example.org"
    exported(forgetter.export(LETTERS, name="export-3"))
    forgetter.subject = SUBJECT
    (note,) = erased(forgetter.erase()).notes
    assert note.startswith("DataExports hold the person still: export-1 until 20")
    assert "export-2" not in note
    assert "export-3" not in note
