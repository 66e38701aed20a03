"""Columns are overwritten in place on MariaDB and MySQL: once, the same everywhere, and nothing else of the row."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from databosun.api.lifecycle import ActionType, Granularity, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from support.mysqllifecycling import MariaKeeper
from support.rulekeeping import HASH_KEY, NOW, rule

pytestmark = pytest.mark.servers

PEOPLE = (
    "CREATE TABLE people (id INT PRIMARY KEY, email VARCHAR(100) UNIQUE, handle VARCHAR(20) CHARACTER SET latin1, phone"
    " TEXT, born DATE, seen TIMESTAMP NULL, income DECIMAL(12, 2), age SMALLINT, owed BIGINT, city VARCHAR(40), note"
    " TEXT, masked_at DATETIME(3), created_at DATETIME NOT NULL, changed_at TIMESTAMP NOT NULL DEFAULT"
    " '2026-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP)"
)
FILL = (
    "INSERT INTO people (id, email, handle, phone, born, seen, income, age, owed, city, created_at)"
    " SELECT seq, CONCAT('person', seq, '@example.org'), CONCAT('hé', seq % 300), CONCAT('+49 30 ', 100000 + seq),"
    " DATE '1970-01-01' + INTERVAL seq DAY, '2026-02-14 13:14:15', seq * 10.37, seq % 90, -99999999 - CAST(seq AS"
    " SIGNED), 'Berlin',"
    " TIMESTAMP '2026-03-01 12:00:00' - INTERVAL (seq % 200) DAY - INTERVAL 1 HOUR FROM {numbers}"
)
M = MaskMethod
MASKS = [
    MaskOrder(column="email", method=M.HASH),
    MaskOrder(column="handle", method=M.HASH),
    MaskOrder(column="phone", method=M.PARTIAL, keep_first=3, keep_last=2),
    MaskOrder(column="born", method=M.GENERALIZE, to=Granularity.YEAR),
    MaskOrder(column="seen", method=M.GENERALIZE, to=Granularity.MONTH),
    MaskOrder(column="income", method=M.GENERALIZE, step=1000),
    MaskOrder(column="age", method=M.GENERALIZE, step=10),
    MaskOrder(column="owed", method=M.GENERALIZE, step=100_000_000),
    MaskOrder(column="city", method=M.FIXED, value="it's: \\ gone"),
    MaskOrder(column="note", method=M.NULL),
]
OLD = {"action": ActionType.ANONYMIZE, "where": None, "mark_column": "masked_at"}


def digest(value: str) -> str:
    """What the same key gives for a value, on every engine."""
    return hmac.digest(HASH_KEY.encode(), value.encode(), hashlib.sha256).hex()


@pytest.fixture
def people(either: MariaKeeper) -> MariaKeeper:
    """With a table of theirs."""
    either.sql(PEOPLE)
    either.run_whole(FILL.replace("{numbers}", either.numbers(1500)))
    return either


def test_every_method_does_what_it_says_once(people: MariaKeeper) -> None:
    old = {int(row[0]) for row in people.sql("SELECT id FROM people WHERE created_at < '2025-12-01 12:00:00'")}
    one = min(old)
    asked = rule("people", table="people", masks=MASKS, **OLD)
    fast = {"rows": 50, "target_milliseconds": 20, "pause_milliseconds": 0}
    done = people.carry_out(asked, batch=fast)["people"]
    assert (done.failure, done.state, done.anonymized, done.remaining) == (None, RuleState.COMPLETED, len(old), 0)
    columns = "email, handle, phone, born, seen, income, age, owed, city, note, masked_at, changed_at"
    row = people.sql(f"SELECT {columns} FROM people WHERE id = {one}")[0]
    phone = f"+49 30 {100000 + one}"
    assert row[0] == digest(f"person{one}@example.org")[:32]
    assert row[1] == digest(f"hé{one % 300}")[:20]
    assert row[2] == phone[:3] + "*" * (len(phone) - 5) + phone[-2:]
    assert f"{row[3]:%m-%d}" == "01-01"
    assert (row[4].day, row[4].hour, int(row[5]) % 1000, row[6] % 10) == (1, 0, 0, 0)
    assert row[7] == -200_000_000
    assert row[8:10] == ("it's: \\ gone", None)
    assert row[10] == NOW.replace(tzinfo=None)
    assert f"{row[11]}" == "2026-01-01 00:00:00"  # the server would have written the instant of the change
    untouched = people.sql("SELECT COUNT(*) FROM people WHERE email LIKE '%@example.org' AND masked_at IS NULL")
    assert untouched == [(1500 - len(old),)]
    before = people.sql("SELECT * FROM people ORDER BY id")
    assert people.carry_out(asked)["people"].anonymized == 0
    assert people.sql("SELECT * FROM people ORDER BY id") == before


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MaskOrder(column="age", method=M.HASH), "MaskDoesNotFit"),
        (MaskOrder(column="city", method=M.GENERALIZE, step=3), "MaskDoesNotFit"),
        (MaskOrder(column="age", method=M.PARTIAL), "MaskDoesNotFit"),
        (MaskOrder(column="email", method=M.FIXED, value="x"), "MaskDoesNotFit"),
        (MaskOrder(column="id", method=M.NULL), "KeyNotMaskable"),
        (MaskOrder(column="created_at", method=M.NULL), "MaskDoesNotFit"),
        (MaskOrder(column="handle", method=M.FIXED, value="x" * 21), "DatabaseError"),  # and is not cut short
        (MaskOrder(column="age", method=M.FIXED, value="old"), "DatabaseError"),
    ],
)
def test_a_method_that_does_not_fit_changes_nothing(people: MariaKeeper, mask: MaskOrder, reason: str) -> None:
    before = people.sql("SELECT * FROM people ORDER BY id")
    done = people.carry_out(rule("people", table="people", masks=[mask], **OLD))["people"]
    assert done.failure is not None
    assert (done.failure.reason, done.failure.retryable) == (reason, False)
    assert people.sql("SELECT * FROM people ORDER BY id") == before


def test_without_a_key_nothing_is_hashed(people: MariaKeeper) -> None:
    del people.place.secrets["hash"]
    mask = MaskOrder(column="email", method=M.HASH)
    done = people.carry_out(rule("people", table="people", masks=[mask], **OLD))["people"]
    assert done.failure is not None
    assert "key" in done.failure.message
    assert people.sql("SELECT COUNT(*) FROM people WHERE masked_at IS NOT NULL") == [(0,)]


def test_triggers_at_update_are_refused_unless_listed(people: MariaKeeper) -> None:
    people.sql("CREATE TABLE log (id INT)")
    people.sql("CREATE TRIGGER keeping AFTER UPDATE ON people FOR EACH ROW INSERT INTO log VALUES (OLD.id)")
    people.sql("GRANT SELECT, SHOW VIEW ON *.* TO keeper@'%'")
    masks = [MaskOrder(column="city", method=M.FIXED, value="x")]
    done = people.carry_out(
        rule("people", table="people", masks=masks, **OLD),
        rule("listed", table="people", masks=masks, triggers=["keeping"], **OLD),
    )
    assert done["people"].failure is not None
    assert done["people"].failure.reason == "TriggerNotAllowed"
    assert done["listed"].state is RuleState.COMPLETED
    assert people.sql("SELECT COUNT(*) FROM log") == [(done["listed"].anonymized,)]
