"""One person is erased from a real server: exactly the plan that was approved, and the key is seen nowhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.api.lifecycle import HoldOrder, LifecycleMode, MaskMethod, MaskOrder, RuleOrder
from databosun.api.result import Outcome
from databosun.api.v1alpha1.database import EngineName
from databosun.engines import registry
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from support.agentrun import backup_task
from support.erasing import KEY, PEOPLE, SUBJECT, Forgetter, erased, everywhere, rule
from support.recoveryyard import drilled

pytestmark = pytest.mark.servers
ERASED = {
    "customers": 500, "orders": 2000, "lines": 2000, "visits": 301, "letters": 402, "hers": 0, "lost": 0, "told": 0,
}  # fmt: skip


def refusals(forgetter: Forgetter, *rules: RuleOrder, **more: Any) -> tuple[str, str]:
    """Reason and message with which the plan of these rules is refused; nothing is touched, and no entry is made."""
    before = forgetter.counts()
    ran = forgetter.erase(list(rules), **more)
    assert ran.summary.outcome is Outcome.REFUSED, ran.output[-3000:]
    assert forgetter.counts() == before
    assert [one for one in forgetter.objects() if "_erasures" in one.parts] == []
    return ran.summary.reason, ran.summary.message


def test_a_look_counts_and_changes_nothing(forgetter: Forgetter) -> None:
    before = forgetter.counts()
    found = forgetter.look()
    assert forgetter.counts() == before
    counted = {one.rule: (one.counts.eligible, one.counts.children) for one in found.facts}
    assert counted == {
        "customers": (1, {"public.orders": 7, "public.lines": 7}),
        "letters": (2, {}),
    }
    assert (found.subject, found.outcomes, found.verified_at) == (forgetter.hashed, [], None)
    assert [one for one in forgetter.objects() if "orders" in one.parts or "_erasures" in one.parts] == []


def test_the_approved_plan_is_carried_out_and_nobody_else_is_touched(forgetter: Forgetter) -> None:
    ran = forgetter.erase()
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Erased"), ran.output[-3000:]
    assert forgetter.counts() == ERASED
    found = erased(ran)
    done = {one.name: (one.deleted, one.anonymized, one.children) for one in found.outcomes}
    assert done == {"customers": (1, 0, {"public.orders": 7, "public.lines": 7}), "letters": (0, 2, {})}
    assert found.verified_at is not None
    assert found.receipt is not None
    assert found.receipt.endswith("/orders/erasures/erase-1/result.json")
    assert found.audit_sha256 is not None
    entry = forgetter.entry()
    assert (entry["subject"], entry["database"], entry["dbname"]) == (forgetter.hashed, "orders", PEOPLE)
    again = forgetter.run(forgetter.task(everywhere(), mode=LifecycleMode.ENFORCE, approved=found.plan_hash))
    assert (again.summary.outcome, again.summary.reason) == (Outcome.SUCCEEDED, "AlreadyDone")
    assert erased(again).receipt_sha256 == found.receipt_sha256


def test_the_key_of_the_person_is_seen_nowhere(forgetter: Forgetter, tmp_path: Path) -> None:
    """Not in logs, results, requests and what is stored, in no form; nor in what the server shows and logs."""
    server = forgetter.yard.server
    server.sql("ALTER SYSTEM SET log_statement = 'all'")
    server.sql("ALTER SYSTEM SET log_parameter_max_length = 0")
    server.sql("SELECT pg_reload_conf()")
    log = server.folder / "log"
    begin = log.stat().st_size
    try:
        forgetter.yard.back_up(backup_task("orders-1"))
        erased(forgetter.erase())
        drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod()))
    finally:
        server.sql("ALTER SYSTEM RESET log_statement")
        server.sql("ALTER SYSTEM RESET log_parameter_max_length")
        server.sql("SELECT pg_reload_conf()")
    forms = [SUBJECT, SUBJECT.replace("@", "%40"), base64.b64encode(SUBJECT.encode()).decode(), KEY]
    said = [*forgetter.outputs, log.read_bytes()[begin:].decode(errors="replace")]
    stored = {str(path): path.read_bytes().decode(errors="replace") for path in forgetter.objects()}
    assert any("DELETE FROM ONLY" in text for text in said), "the server's log was looked at"
    assert len(stored) >= 6
    for form in forms:
        assert [text for text in said if form in text] == []
        assert [name for name, text in stored.items() if form in name or form in text] == []
    requests = [path.read_text() for path in forgetter.yard.folder.rglob("request.json")]
    assert len(requests) >= 2
    assert not any(form in text for form in forms for text in requests)


@pytest.mark.parametrize("method", ["take", "left"])
def test_an_attempt_that_was_lost_is_gone_on_from(
    forgetter: Forgetter, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is there before the first row goes, so that no restore meanwhile brings the person back."""
    plan = forgetter.look().plan_hash
    original = getattr(PostgreSQLRows, method)

    def lost(self: PostgreSQLRows, *arguments: Any) -> Any:
        assert forgetter.entry()["subject"] == forgetter.hashed
        original(self, *arguments)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(PostgreSQLRows, method, lost)
        first = forgetter.erase(approved=plan)
    assert first.summary.outcome is Outcome.FAILED
    assert first.summary.retryable
    second = forgetter.erase(approved=plan, attempt=2)
    assert second.summary.outcome is Outcome.SUCCEEDED, second.output[-3000:]
    assert forgetter.counts() == ERASED


def test_a_rule_that_fails_leaves_the_entry_and_another_attempt_ends_it(
    forgetter: Forgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = forgetter.look().plan_hash
    forgetter.yard.server.sql("REVOKE UPDATE ON letters_old FROM eraser; REVOKE DELETE ON orders FROM eraser", PEOPLE)
    written: list[Event] = []
    original = Ledger.write

    def write(self: Ledger, name: str, event: Event, *rest: Any, **more: Any) -> int:
        written.append(event)
        return original(self, name, event, *rest, **more)

    monkeypatch.setattr(Ledger, "write", write)
    ran = forgetter.erase(approved=plan)
    assert ran.summary.outcome is not Outcome.SUCCEEDED
    assert erased(ran).verified_at is None
    forgetter.yard.server.sql("GRANT UPDATE ON letters_old TO eraser; GRANT DELETE ON orders TO eraser", PEOPLE)
    again = forgetter.erase(approved=plan, attempt=2)
    assert again.summary.outcome is Outcome.SUCCEEDED, again.output[-3000:]
    assert forgetter.counts() == ERASED


def test_somebody_who_is_not_there_is_erased_from_what_is_restored_all_the_same(forgetter: Forgetter) -> None:
    """The application deleted her before; backups still hold her."""
    forgetter.yard.back_up(backup_task("orders-1"))
    forgetter.yard.server.sql(
        "DELETE FROM lines WHERE what = 'hers'; DELETE FROM customers WHERE id = 1815;"
        "DELETE FROM letters WHERE id > 1000",
        PEOPLE,
    )
    ran = forgetter.erase()
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    drill = drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod()))
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.observed is not None
    assert "1 people found" in again.observed


def test_a_plan_that_is_not_the_approved_one_is_not_carried_out(forgetter: Forgetter) -> None:
    """Another subject in the Secret is another plan, and so is another trigger on the table."""
    plan = forgetter.look().plan_hash
    forgetter.subject = "person1@example.org"
    reason, message = refusals(forgetter, *everywhere(), approved=plan)
    assert (reason, plan in message) == ("PlanChanged", True)
    forgetter.subject = SUBJECT
    assert refusals(forgetter, *everywhere(), approved=plan, uid="another")[0] == "PlanChanged"


def test_what_would_leave_the_person_is_refused(forgetter: Forgetter) -> None:
    customers, letters = everywhere()
    body = [MaskOrder(column="body", method=MaskMethod.NULL)]
    stays = letters.model_copy(update={"masks": body})
    assert refusals(forgetter, stays)[0] == "SubjectStays"
    hold = HoldOrder(name="case-7", table="public.letters", where="sent < '2025-01-01'", reason="case 7")
    reason, message = refusals(forgetter, customers, letters, holds=[hold])
    assert (reason, "1 rows of the subject are under a hold" in message) == ("BlockedByHold", True)
    few = customers.limits.model_copy(update={"max_rows_per_run": 1})
    assert refusals(forgetter, letters.model_copy(update={"limits": few}))[0] == "PlanGrew"
    assert refusals(forgetter, rule("x", "public.customers", "mail"))[0] == "ColumnNotFound"
    assert refusals(forgetter, rule("x", "public.customers", "email"))[0] == "CascadeNotAllowed"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "42"), ("bigint", "-7"), ("uuid", "6f1c1d6e-9b1f-4c57-8f3d-0a8f0c2f9f10"),
     ("text", "Ü 'quoted' \\ $1 %s"), ("varchar(80)", "42"), ("numeric", "42.50")],
)  # fmt: skip
def test_keys_of_every_type_are_found_at_the_source_and_in_a_copy(forgetter: Forgetter, kind: str, value: str) -> None:
    server = forgetter.yard.server
    quoted = value.replace("'", "''")
    other = {"uuid": "gen_random_uuid()", "text": "'o' || i", "varchar(80)": "'o' || i"}.get(kind, "i + 1000")
    server.sql(
        f"CREATE TABLE keyed (id int PRIMARY KEY, k {kind});"
        f"INSERT INTO keyed SELECT i, {other} FROM generate_series(1, 2000) AS i; INSERT INTO keyed VALUES"
        f" (0, '{quoted}'); CREATE INDEX ON keyed (k); ANALYZE keyed; GRANT SELECT, UPDATE, DELETE ON keyed TO eraser",
        PEOPLE,
    )
    forgetter.subject = value
    forgetter.yard.back_up(backup_task("orders-1"))
    ran = forgetter.erase([rule("keyed", "public.keyed", "k")])
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    assert server.sql("SELECT count(*) FROM keyed WHERE id = 0", PEOPLE) == [(0,)]
    assert server.sql("SELECT count(*) FROM keyed", PEOPLE) == [(2000,)]
    drill = drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod()))
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.observed == "1 erasures repeated, 1 people found: 1 rows of public.keyed; none left"


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", "4200000000"), ("integer", "042"), ("uuid", "Ada"), ("bigint", "1e3")]
)
def test_a_key_that_cannot_be_of_the_columns_type_is_refused_by_name_alone(
    forgetter: Forgetter, kind: str, value: str
) -> None:
    forgetter.yard.server.sql(
        f"CREATE TABLE keyed (id int PRIMARY KEY, k {kind}); GRANT SELECT, UPDATE, DELETE ON keyed TO eraser", PEOPLE
    )
    forgetter.subject = value
    reason, message = refusals(forgetter, rule("keyed", "public.keyed", "k"))
    assert (reason, "public.keyed.k is of type" in message, value in message) == ("RuleNotReadable", True, False)


def test_a_key_to_hash_with_that_could_be_guessed_is_refused(forgetter: Forgetter) -> None:
    plan = forgetter.look().plan_hash
    forgetter.key = "too short"
    assert refusals(forgetter, *everywhere(), approved=plan)[0] == "ErasureKeyWeak"
    forgetter.key = ""
    reason, message = refusals(forgetter, *everywhere(), approved=plan)
    assert (reason, "Secret shop/secret-erasure" in message) == ("ErasureKeyMissing", True)


def test_nobody_is_erased_where_no_restore_could_repeat_it(
    forgetter: Forgetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine may have rules for its data, and no way to find people in what is restored."""
    plan = forgetter.look().plan_hash
    monkeypatch.delitem(registry._ERASINGS, EngineName.POSTGRESQL)
    reason, message = refusals(forgetter, *everywhere(), approved=plan)
    assert (reason, "cannot erase again from what is restored" in message) == ("UnsupportedEngine", True)


def test_a_name_that_was_used_before_is_refused(forgetter: Forgetter) -> None:
    erased(forgetter.erase())
    ran = forgetter.run(forgetter.task(everywhere(), mode=LifecycleMode.ENFORCE, approved="0" * 32, uid="another"))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "NameTaken")
