"""One person's rows are handed over from a real MariaDB or MySQL: all of them, of one snapshot, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.dataexport import ExportOrder
from databosun.api.result import Outcome
from databosun.engines.mysql.exporting import _Snapshot
from support.erasing import ERASER, KEY, PEOPLE, SUBJECT
from support.sqlerasing import SqlForgetter

pytestmark = pytest.mark.servers
CUSTOMERS = ExportOrder(
    name="customers", table="people.customers", column="email", along=["orders", "people.lines", "visits"], max_rows=10
)
LETTERS = ExportOrder(name="letters", table="letters", column="email", max_rows=10)


def test_all_rows_of_the_person_are_handed_over_and_nobody_elses(
    forgetter: SqlForgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one instant, whatever is written meanwhile; neither key nor rows are seen outside of the encrypted files."""
    original, server = _Snapshot.read, forgetter.server

    def read(self: _Snapshot, *arguments: Any) -> int:
        found = original(self, *arguments)
        server.sql(f"DELETE FROM letters WHERE email = '{SUBJECT}';\nDELETE FROM `lines` WHERE what = 'hers'", PEOPLE)
        return found

    monkeypatch.setattr(_Snapshot, "read", read)
    ran = forgetter.export(CUSTOMERS, LETTERS)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Exported"), ran.output[-3000:]
    found = ran.result.dataexport
    assert found is not None
    rows = forgetter.exported(found)
    assert rows["people.customers"] == [{"id": 1815, "email": SUBJECT, "name": "Ada"}]
    assert [row["id"] for row in rows["people.orders"]] == [10000 + i for i in range(1, 8)]
    assert {row["order"] for row in rows["people.lines"]} == {10000 + i for i in range(1, 8)}
    assert rows["people.visits"] == [{"id": 1815, "customer": 1815, "at": "2024-01-01 00:00:00"}]
    assert [(row["id"], row["sent"]) for row in rows["people.letters"]] == [(1815, "2024-01-01"), (1816, "2026-01-01")]
    assert (found.subject, found.dbname, found.notes) == (forgetter.hashed, PEOPLE, [])
    assert forgetter.counts()["hers"] == 8
    stored = [path.read_bytes().decode(errors="replace") for path in forgetter.objects()]
    for form in (SUBJECT, KEY, "dear Ada"):
        assert not any(form in text for text in (*forgetter.outputs, *stored))


def test_what_would_be_wrong_or_not_whole_is_refused(forgetter: SqlForgetter) -> None:
    server = forgetter.server
    left = CUSTOMERS.model_copy(update={"along": ["orders"]})
    for rule, taken, reason, words in (
        (LETTERS.model_copy(update={"max_rows": 1}), "", "PlanGrew", "maxRows (1)"),
        (CUSTOMERS.model_copy(update={"along": ["letters"]}), "", "TableNotFound", "people.letters has no foreign key"),
        (LETTERS.model_copy(update={"column": "mail"}), "", "ColumnNotFound", "no column mail"),
        (left, f"REVOKE PROCESS ON *.* FROM {ERASER}@'%'", "PermissionDenied", "GRANT PROCESS"),
    ):
        if taken:
            server.sql(taken)
        ran = forgetter.export(rule)
        assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, reason), ran.output[-3000:]
        assert words in ran.summary.message
        assert [one for one in forgetter.objects() if "exports" in one.parts] == []
