"""Columns are overwritten in place: once, the same everywhere, and nothing else of the row."""

from __future__ import annotations

import hashlib
import hmac
import uuid

import pytest

from databosun.api.lifecycle import ActionType, Granularity, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from support.lifecycling import HASH_KEY, NOW, Keeper, rule

pytestmark = pytest.mark.servers

PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, handle varchar(20), token uuid, phone text, born date,
    seen timestamptz, income numeric(12, 2), age smallint, city text, note text, masked_at timestamptz,
    created_at timestamptz NOT NULL);
INSERT INTO people SELECT i, 'person' || i || '@example.org', 'h' || i % 300, md5(i::text)::uuid,
    '+49 30 ' || 100000 + i,
    date '1970-01-01' + i, timestamptz '2026-02-14 13:14:15Z', i * 10.37, i % 90, 'Berlin', NULL,
    NULL, timestamptz '2026-03-01 12:00Z' - (i % 200) * interval '1 day' - interval '1 hour'
FROM generate_series(1, 1500) AS i;
CREATE TABLE letters (id int PRIMARY KEY, sender text, masked_at timestamptz, created_at timestamptz NOT NULL);
INSERT INTO letters SELECT id + 7, email, NULL, created_at FROM people WHERE id % 3 = 0;
GRANT SELECT, UPDATE ON people, letters TO keeper;
"""
M = MaskMethod
MASKS = [
    MaskOrder(column="email", method=M.HASH),
    MaskOrder(column="handle", method=M.HASH),
    MaskOrder(column="token", method=M.HASH),
    MaskOrder(column="phone", method=M.PARTIAL, keep_first=3, keep_last=2),
    MaskOrder(column="born", method=M.GENERALIZE, to=Granularity.YEAR),
    MaskOrder(column="seen", method=M.GENERALIZE, to=Granularity.MONTH),
    MaskOrder(column="income", method=M.GENERALIZE, step=1000),
    MaskOrder(column="age", method=M.GENERALIZE, step=10),
    MaskOrder(column="city", method=M.FIXED, value="it's: \\ gone"),
    MaskOrder(column="note", method=M.NULL),
]
OLD = {"action": ActionType.ANONYMIZE, "where": None, "mark_column": "masked_at"}


def digest(value: str) -> bytes:
    """What the same key gives for a value."""
    return hmac.digest(HASH_KEY.encode(), value.encode(), hashlib.sha256)


def test_every_method_does_what_it_says_once(any_keeper: Keeper) -> None:
    any_keeper.sql(PEOPLE)
    old = {int(row[0]) for row in any_keeper.sql("SELECT id FROM people WHERE created_at < '2025-12-01 12:00Z'")}
    one = min(old)
    people = rule("people", table="public.people", masks=MASKS, **OLD)
    small = {"rows": 20, "target_milliseconds": 1, "pause_milliseconds": 0}
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'people'"
    ((scanned,),) = any_keeper.sql(scans)
    done = any_keeper.carry_out(people, batch=small)["people"]
    assert done.failure is None
    assert (done.state, done.anonymized, done.remaining) == (RuleState.COMPLETED, len(old), 0)
    assert any_keeper.sql(scans)[0][0] - scanned < done.batches, "a batch read the whole table"
    columns = "email, handle, token::text, phone, born::text, seen, income, age, city, note, masked_at"
    row = any_keeper.sql(f"SELECT {columns} FROM people WHERE id = {one}")[0]
    token = str(uuid.UUID(hashlib.md5(str(one).encode()).hexdigest()))  # noqa: S324 - what the server filled in
    phone = f"+49 30 {100000 + one}"
    assert row[0] == digest(f"person{one}@example.org").hex()[:32]
    assert row[1] == digest(f"h{one % 300}").hex()[:20]
    made, found = digest(token).hex()[:32], uuid.UUID(row[2])
    assert (found.hex[:12], found.hex[13:16], found.hex[17:]) == (made[:12], made[13:16], made[17:])
    assert (found.version, found.variant) == (8, uuid.RFC_4122)
    assert row[3] == phone[:3] + "*" * (len(phone) - 5) + phone[-2:]
    assert row[4].endswith("-01-01")
    assert (row[5].day, row[5].hour, int(row[6]) % 1000, row[7] % 10) == (1, 0, 0, 0)
    assert row[8:] == ("it's: \\ gone", None, NOW)
    untouched = any_keeper.sql("SELECT count(*) FROM people WHERE email LIKE '%@example.org' AND masked_at IS NULL")
    assert untouched == [(1500 - len(old),)]
    before = any_keeper.sql("SELECT * FROM people ORDER BY id")
    assert any_keeper.carry_out(people)["people"].anonymized == 0
    assert any_keeper.sql("SELECT * FROM people ORDER BY id") == before


def test_one_value_becomes_one_hash_in_every_table(keeper: Keeper) -> None:
    keeper.sql(PEOPLE)
    joined = "SELECT count(*) FROM letters AS l JOIN people AS p ON p.email = l.sender"
    before = keeper.sql(joined)
    keeper.carry_out(
        rule("people", table="public.people", masks=[MaskOrder(column="email", method=M.HASH)], **OLD),
        rule("letters", table="public.letters", masks=[MaskOrder(column="sender", method=M.HASH)], **OLD),
    )
    assert keeper.sql(joined) == before
    assert before > [(0,)]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MaskOrder(column="age", method=M.HASH), "MaskDoesNotFit"),
        (MaskOrder(column="city", method=M.GENERALIZE, step=3), "MaskDoesNotFit"),
        (MaskOrder(column="age", method=M.PARTIAL), "MaskDoesNotFit"),
        (MaskOrder(column="email", method=M.FIXED, value="x"), "MaskDoesNotFit"),
        (MaskOrder(column="id", method=M.NULL), "KeyNotMaskable"),
        (MaskOrder(column="created_at", method=M.NULL), "MaskDoesNotFit"),
    ],
)
def test_a_method_that_does_not_fit_changes_nothing(keeper: Keeper, mask: MaskOrder, reason: str) -> None:
    keeper.sql(PEOPLE)
    before = keeper.sql("SELECT * FROM people ORDER BY id")
    done = keeper.carry_out(rule("people", table="public.people", masks=[mask], **OLD))["people"]
    assert done.failure is not None
    assert done.failure.reason == reason
    assert keeper.sql("SELECT * FROM people ORDER BY id") == before


def test_without_a_key_nothing_is_hashed(keeper: Keeper) -> None:
    keeper.sql(PEOPLE)
    del keeper.place.secrets["hash"]
    mask = MaskOrder(column="email", method=M.HASH)
    done = keeper.carry_out(rule("people", table="public.people", masks=[mask], **OLD))["people"]
    assert done.failure is not None
    assert "key" in done.failure.message
    assert keeper.sql("SELECT count(*) FROM people WHERE masked_at IS NOT NULL") == [(0,)]


def test_a_check_of_the_table_stops_the_rule_for_good(keeper: Keeper) -> None:
    keeper.sql(PEOPLE + "ALTER TABLE people ADD CHECK (email LIKE '%@%')")
    mask = MaskOrder(column="email", method=M.HASH)
    done = keeper.carry_out(rule("people", table="public.people", masks=[mask], **OLD))["people"]
    assert done.failure is not None
    assert (done.failure.sqlstate, done.failure.retryable) == ("23514", False)
    assert keeper.sql("SELECT count(*) FROM people WHERE masked_at IS NOT NULL") == [(0,)]


def test_triggers_at_update_are_refused_unless_listed(keeper: Keeper) -> None:
    keeper.sql(
        PEOPLE + "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER keeping AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note()"
    )
    masks = [MaskOrder(column="city", method=M.FIXED, value="x")]
    done = keeper.carry_out(
        rule("people", table="public.people", masks=masks, **OLD),
        rule("listed", table="public.people", masks=masks, triggers=["keeping"], **OLD),
    )
    assert done["people"].failure is not None
    assert done["people"].failure.reason == "TriggerNotAllowed"
    assert done["listed"].state is RuleState.COMPLETED
