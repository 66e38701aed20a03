"""One person is erased from a real MariaDB or MySQL: exactly the plan that was approved; the key is seen nowhere."""

from __future__ import annotations

import base64

import pytest

from databosun.api.lifecycle import ForeignKeys, HoldOrder, LifecycleMode, MaskMethod, MaskOrder, RuleOrder
from databosun.api.result import Outcome
from support.erasing import KEY, PEOPLE, SUBJECT, erased, rule
from support.recoveryyard import drilled
from support.sqlerasing import LEFT, SqlForgetter

pytestmark = pytest.mark.servers


def refusal(forgetter: SqlForgetter, *rules: RuleOrder, holds: tuple[HoldOrder, ...] = ()) -> tuple[str, str]:
    """Reason and message with which the plan of these rules is refused; nothing is touched, and no entry is made."""
    before = forgetter.counts()
    ran = forgetter.erase(list(rules), holds=list(holds))
    assert ran.summary.outcome is Outcome.REFUSED, ran.output[-3000:]
    assert forgetter.counts() == before
    assert [one for one in forgetter.objects() if "_erasures" in one.parts] == []
    return ran.summary.reason, ran.summary.message


def repeated(forgetter: SqlForgetter) -> str:
    """What a drill of the only backup says that it erased again."""
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod()))
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    return str(again.observed)


def test_the_approved_plan_is_carried_out_and_nobody_else_is_touched(forgetter: SqlForgetter) -> None:
    found = forgetter.look()
    assert {one.rule: (one.counts.eligible, one.counts.children) for one in found.facts} == {
        "customers": (1, {"people.orders": 7, "people.lines": 7}),
        "letters": (2, {}),
    }
    assert [one for one in forgetter.objects() if "_erasures" in one.parts] == []
    ran = forgetter.erase()
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Erased"), ran.output[-3000:]
    assert forgetter.counts() == LEFT
    found = erased(ran)
    assert {one.name: (one.deleted, one.anonymized, one.children) for one in found.outcomes} == {
        "customers": (1, 0, {"people.orders": 7, "people.lines": 7}),
        "letters": (0, 2, {}),
    }
    entry = forgetter.entry()
    assert (entry["subject"], entry["database"], entry["dbname"]) == (forgetter.hashed, "orders", PEOPLE)
    task = forgetter.task(forgetter.everywhere(), mode=LifecycleMode.ENFORCE, approved=found.plan_hash)
    assert forgetter.run(task).summary.reason == "AlreadyDone"


def test_the_key_of_the_person_is_seen_nowhere(forgetter: SqlForgetter) -> None:
    """Not in logs, results, requests and what is stored, in no form. A server that logs all statements with their
    values logs the key where it is told, and nowhere else, also where it is part of a primary key."""
    server = forgetter.server
    server.sql(
        f"CREATE TABLE members (email CHAR(99) PRIMARY KEY, id INT);\nINSERT INTO members VALUES ('{SUBJECT}', 0);\n"
        "INSERT INTO members SELECT email, id FROM customers WHERE id < 100;\nCREATE TABLE badges (id INT PRIMARY KEY,"
        " email CHAR(99), FOREIGN KEY (email) REFERENCES members (email));\n"
        "INSERT INTO badges SELECT id, email FROM members",
        PEOPLE,
    )
    forgetter.yard.back_up()
    members = rule("members", "members", "email", cascades=["badges"], foreign_keys=ForeignKeys.CHILDREN_FIRST)
    log = server.folder / "general"
    server.sql(
        f"SET GLOBAL general_log_file = '{log}';\nSET GLOBAL general_log = ON;\n"
        "UPDATE performance_schema.setup_consumers SET ENABLED = 'YES' WHERE NAME = 'events_statements_history_long'"
    )
    try:
        erased(forgetter.erase([members]))
    finally:
        server.sql("SET GLOBAL general_log = OFF")
    assert repeated(forgetter).endswith("1 rows of people.badges, 1 rows of people.members; none left")
    lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if SUBJECT in line]
    assert len(telling) == 2
    assert all("Execute" in line and "SET @databosun_subject = " in line for line in telling)
    assert any("DELETE" in line and "databosun_subject" in line for line in lines)
    shown = server.sql("SELECT SQL_TEXT, DIGEST_TEXT FROM performance_schema.events_statements_history_long")
    assert ("SET @databosun_subject = ?" in str(shown), SUBJECT in str(shown)) == (bool(shown), False)
    stored = {str(path): path.read_bytes().decode(errors="replace") for path in forgetter.objects()}
    requests = [path.read_text() for path in forgetter.yard.folder.rglob("request.json")]
    assert len(stored) >= 6
    assert len(requests) >= 2
    for form in (SUBJECT, SUBJECT.replace("@", "%40"), base64.b64encode(SUBJECT.encode()).decode(), KEY):
        assert not any(form in text for text in (*forgetter.outputs, *requests))
        assert [name for name, text in stored.items() if form in name or form in text] == []


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [("INT", "42", "seq + 1000"), ("BIGINT UNSIGNED", "18446744073709551615", "seq + 1000"),
     ("INT(8) ZEROFILL", "42", "seq + 1000"), ("DECIMAL(10, 2)", "42.50", "seq + 1000"),
     ("VARCHAR(40)", "42", "CONCAT(42, CHAR(96 + seq % 20 USING utf8mb4), seq)"),
     ("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "\u00dc 'quoted' \\ \" %s @x", "CONCAT('o', seq)"),
     ("TEXT CHARACTER SET utf16", "\u0416\u9580\U0001f600", "CONCAT('o', seq)"),
     ("CHAR(36) CHARACTER SET ascii", "6f1c1d6e-9b1f-4c57-8f3d-0a8f0c2f9f10", "UUID()"),
     ("BINARY(16)", "6F1C1D6E9B1F4C578F3D0A8F0C2F9F10", "UNHEX(MD5(seq))")],
)  # fmt: skip
def test_keys_of_every_type_are_found_at_the_source_and_in_a_copy(
    forgetter: SqlForgetter, kind: str, value: str, other: str
) -> None:
    """Among rows that are nearly the same, and without one."""
    server = forgetter.server
    numbered = "(SELECT id AS seq FROM orders WHERE id <= 500) AS numbers"
    if "MD5" in other and type(forgetter.yard).__name__ == "MySQLYard":
        other = "UNHEX(LEFT(SHA2(seq, 256), 32))"
    server.sql(
        f"CREATE TABLE keyed (id INT PRIMARY KEY, k {kind}, KEY (id));\n"
        f"INSERT INTO keyed SELECT seq, {other} FROM {numbered};\nINSERT INTO keyed VALUES (1001, NULL)",
        PEOPLE,
    )
    connection = server.connect(PEOPLE)
    with connection.cursor() as cursor:
        given = bytes.fromhex(value) if kind.startswith("BINARY") else value
        cursor.execute("INSERT INTO keyed VALUES (0, %s)", (given,))
    connection.close()
    forgetter.subject = value
    forgetter.yard.back_up()
    ran = forgetter.erase([rule("keyed", "keyed", "k")])
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    assert server.sql("SELECT COUNT(*), COUNT(k), MIN(id) FROM keyed", PEOPLE) == [(501, 500, 1)]
    assert repeated(forgetter) == "1 erasures repeated, 1 people found: 1 rows of people.keyed; none left"


def test_a_key_is_compared_to_the_letter_and_what_a_collation_takes_for_it_is_told(forgetter: SqlForgetter) -> None:
    """At the source and in a copy the same rows go, for each way to write the key a request."""
    server = forgetter.server
    server.sql(
        "CREATE TABLE keyed (id INT PRIMARY KEY, k VARCHAR(80) COLLATE utf8mb4_general_ci);\n"
        "INSERT INTO keyed VALUES (1, 'ada@example.org'), (2, 'Ada@Example.org'), (3, '\u00e1da@example.org'),"
        " (4, 'ada@example.org '), (5, 'other@example.org'), (6, NULL), (7, 'ada@example.org')",
        PEOPLE,
    )
    forgetter.yard.back_up()
    forgetter.subject = "ada@example.org"
    keyed = [rule("keyed", "keyed", "k")]
    (facts,) = forgetter.look(keyed).facts
    assert (facts.counts.eligible, facts.counts.alike) == (2, 3)
    erased(forgetter.erase(keyed))
    assert server.sql("SELECT id FROM keyed ORDER BY id", PEOPLE) == [(2,), (3,), (4,), (5,), (6,)]
    assert repeated(forgetter) == "1 erasures repeated, 1 people found: 2 rows of people.keyed; none left"
    forgetter.subject = "Ada@Example.org"
    erased(forgetter.erase(keyed, name="erase-2"))
    assert server.sql("SELECT id FROM keyed ORDER BY id", PEOPLE) == [(3,), (4,), (5,), (6,)]
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod(), id="drill-2"))
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.observed == "2 erasures repeated, 2 people found: 3 rows of people.keyed; none left"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT", "4200000000"), ("INT", "042"), ("INT UNSIGNED", "-1"), ("BIGINT", "1e3"), ("BINARY(4)", "ada"),
     ("DECIMAL(10, 2)", "ada"), ("DOUBLE", "1"), ("DATE", "2024-01-01"), ("ENUM('a')", "a")],
)  # fmt: skip
def test_a_key_that_cannot_be_of_the_columns_type_is_refused_by_name_alone(
    forgetter: SqlForgetter, kind: str, value: str
) -> None:
    forgetter.server.sql(f"CREATE TABLE keyed (id INT PRIMARY KEY, k {kind})", PEOPLE)
    forgetter.subject = value
    reason, message = refusal(forgetter, rule("keyed", "keyed", "k"))
    assert (reason, "people.keyed.k is of type" in message) == ("RuleNotReadable", True)
    assert value not in message.replace(kind.lower(), "") or value in ("1", "a")


def test_what_would_leave_the_person_is_refused(forgetter: SqlForgetter) -> None:
    customers, letters = forgetter.everywhere()
    body = [MaskOrder(column="body", method=MaskMethod.NULL)]
    assert refusal(forgetter, letters.model_copy(update={"masks": body}))[0] == "SubjectStays"
    hold = HoldOrder(name="case-7", table="letters", where="sent < '2025-01-01'", reason="case 7")
    reason, message = refusal(forgetter, customers, letters, holds=(hold,))
    assert (reason, "1 rows of the subject are under a hold" in message) == ("BlockedByHold", True)
    assert refusal(forgetter, rule("x", "customers", "email"))[0] == "CascadeNotAllowed"
    assert refusal(forgetter, rule("x", "customers", "mail"))[0] == "ColumnNotFound"


def test_a_table_that_keeps_what_is_deleted_from_it_is_refused(mariadb: SqlForgetter) -> None:
    """The person would stay in its history, where nobody looks."""
    mariadb.server.sql("ALTER TABLE orders ADD SYSTEM VERSIONING", PEOPLE)
    reason, message = refusal(mariadb, *mariadb.everywhere())
    assert (reason, "keeps what is deleted from it" in message) == ("NotATable", True)
