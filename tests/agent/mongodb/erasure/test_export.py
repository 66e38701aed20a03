"""One person's documents are handed over from a stand-in of MongoDB: all of them, and nobody else's."""

from __future__ import annotations

import pytest

from databosun.api.dataexport import ExportOrder
from support.erasing import KEY, PEOPLE, SUBJECT
from support.mongoerasing import MongoForgetter

pytestmark = pytest.mark.servers
CUSTOMERS = ExportOrder(name="customers", table="customers", column="email", max_rows=10)
ORDERS = ExportOrder(name="orders", table="people.orders", column="by.email", max_rows=10)


def test_all_documents_of_the_person_are_handed_over_and_nobody_elses(forgetter: MongoForgetter) -> None:
    ran = forgetter.export(CUSTOMERS, ORDERS)
    assert ran.summary.reason == "Exported", ran.output[-3000:]
    found = ran.result.dataexport
    assert found is not None
    rows = forgetter.exported(found, by="_id")
    assert rows["people.customers"] == [{"_id": {"$numberInt": "1815"}, "email": SUBJECT, "name": "Ada"}]
    assert [one["_id"] for one in rows["people.orders"]] == [{"$numberInt": f"{10_000 + n}"} for n in range(7)]
    assert {one["by"]["email"] for one in rows["people.orders"]} == {SUBJECT}
    assert (found.subject, found.dbname, found.notes) == (forgetter.hashed, PEOPLE, [])
    assert forgetter.counts()["hers"] == 10
    stored = [path.read_bytes().decode(errors="replace") for path in forgetter.objects()]
    for form in (SUBJECT, KEY, "Ada"):
        assert not any(form in text for text in (*forgetter.outputs, *stored))


def test_what_would_be_wrong_or_not_whole_is_refused(forgetter: MongoForgetter) -> None:
    forgetter.client[PEOPLE].meetings.insert_one({"with": [SUBJECT, "person1@example.org"]})
    meetings = ExportOrder(name="meetings", table="meetings", column="with", max_rows=10)
    for number, (asked, reason, words) in enumerate((
        (ORDERS.model_copy(update={"max_rows": 6}), "PlanGrew", "maxRows (6)"),
        (ORDERS.model_copy(update={"column": "by.mail"}), "ColumnNotFound", "has a field by.mail"),
        (ORDERS.model_copy(update={"along": ["customers"]}), "TableNotFound", "has no foreign key"),
        (meetings, "RuleNotReadable", "hand these over by hand"),
    )):  # fmt: skip
        ran = forgetter.export(asked, name=f"export-{number}")
        assert (ran.summary.reason, words in ran.summary.message) == (reason, True), ran.output[-2000:]
        assert [one for one in forgetter.objects() if "exports" in one.parts] == []
