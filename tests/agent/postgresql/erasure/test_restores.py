"""A restore after an erasure does not bring the person back: by a drill, into a volume, into a running server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from databosun.api.drill import CheckOutcome, Level, Verdict
from databosun.api.lifecycle import RuleOrder
from databosun.api.restoretasks import KnownErasure, RestoreTask
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import Method
from support.agentrun import Ran, backup_task
from support.bridging import Far, bridged
from support.erasing import KEY, PEOPLE, SUBJECT, TRIGGER, Forgetter, counts, erased, everywhere, rule
from support.pgserver import Server, hand_over
from support.recoverypod import RecoveryPod
from support.recoveryyard import check, drilled

pytestmark = pytest.mark.servers

NONE_LEFT = {
    "customers": 500, "orders": 2000, "lines": 2000, "visits": 301, "letters": 402, "hers": 0, "lost": 0, "told": 0,
}  # fmt: skip


def allowing_the_trigger() -> list[RuleOrder]:
    """The rules, of which one may set off what tells."""
    customers, letters = everywhere()
    return [customers.model_copy(update={"triggers": ["telling"]}), letters]


def asked() -> list[object]:
    """What the user's own checks ask of the copy: that nobody of that name is in it."""
    query = f"SELECT count(*) FROM customers WHERE email = '{SUBJECT}'"
    return [check("nobody", "Query", query=query, operator="=", value="0", database=PEOPLE)]


@contextmanager
def started(forgetter: Forgetter, pod: RecoveryPod) -> Iterator[Server]:
    """A server on the restored directory."""
    server = Server(forgetter.yard.server.major)
    elsewhere = server.folder / "mounted-elsewhere"
    pod.restored.rename(elsewhere)
    server.data = elsewhere / "data"
    server.configure()
    hand_over(elsewhere)
    server.start()
    try:
        yield server
    finally:
        server.remove()


def restore(forgetter: Forgetter, pod: RecoveryPod, backup: str = "orders-1", **more: object) -> Ran:
    """Into the pod's volume."""
    task = RestoreTask(**{"id": "restore-1", "candidates": [forgetter.yard.refs[backup]], **more})
    ran = pod.run(task)
    forgetter.outputs.append(ran.output)
    return ran


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize("major", [15, 18])
def test_a_drill_of_an_older_backup_does_not_bring_the_person_back(
    forgetter_of: Callable[[int], Forgetter], major: int, method: Method
) -> None:
    """And its own checks of what was backed up hold, since they come before."""
    forgetter = forgetter_of(major)
    forgetter.yard.server.sql(TRIGGER, PEOPLE)
    forgetter.yard.back_up(backup_task("orders-1", method=method))
    before = drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod(), run="drill-0", checks=asked()))
    assert (before.verdict, before.reason) == (Verdict.FAILED, "CheckFailed"), "the backup holds her"
    assert [one for one in before.checks if one.name == "erasures"] == []
    done = forgetter.erase(allowing_the_trigger())
    assert erased(done).verified_at is not None, done.output[-3000:]
    drill = drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod(), level=Level.APPLICATION, checks=asked()))
    assert drill.verdict is Verdict.PASSED, drill.message
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.outcome is CheckOutcome.PASSED
    assert again.observed == (
        "1 erasures repeated, 1 people found: 1 rows of public.customers, 2 rows of public.letters, 7 rows of"
        " public.lines, 7 rows of public.orders; none left"
    )
    names = [one.name for one in drill.checks]
    assert names.index("erasures") < names.index("nobody")
    assert drill.proven


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
def test_a_volume_restored_from_an_older_backup_holds_everybody_but_the_person(
    forgetter: Forgetter, method: Method
) -> None:
    """What followed her by foreign keys is gone too, nothing refers to nobody, and no trigger told of it."""
    forgetter.yard.server.sql(TRIGGER, PEOPLE)
    forgetter.yard.back_up(backup_task("orders-1", method=method))
    erased(forgetter.erase(allowing_the_trigger()))
    pod = forgetter.pod()
    ran = restore(forgetter, pod)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
    with started(forgetter, pod) as server:
        assert counts(server) == NONE_LEFT
        assert server.sql("SELECT customer FROM visits WHERE id = 1815", PEOPLE) == [(None,)]
        assert server.sql("SELECT email, body FROM letters WHERE id = 1815", PEOPLE) == [
            ("erased@example.invalid", None)
        ]
        with pytest.raises(Exception, match="violates foreign key"):
            server.sql("INSERT INTO orders VALUES (99999, 99999, 'x')", PEOPLE)


def test_a_restore_into_a_running_server_brings_nobody_back(
    forgetter: Forgetter, people_servers: Callable[[int], Server]
) -> None:
    forgetter.yard.back_up(backup_task("orders-1"))
    erased(forgetter.erase())
    far = Far(forgetter.yard, people_servers(18))
    pod = far.pod()
    pod.secrets["erasure"] = {"key": KEY}
    ran = far.run("orders-1", pod=pod, databases=(PEOPLE,), replace=True)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
    found = bridged(ran)
    assert "erasures" in [one.name for one in found.checks]
    assert forgetter.counts() == NONE_LEFT
    for one in found.placed:
        if one.before:
            forgetter.yard.server.sql(f'DROP DATABASE "{one.before}"')


def test_what_was_staged_before_an_erasure_is_not_put_in_place_after_it(
    forgetter: Forgetter, people_servers: Callable[[int], Server]
) -> None:
    forgetter.yard.back_up(backup_task("orders-1"))
    far = Far(forgetter.yard, people_servers(18))
    staged = far.run("orders-1", databases=(PEOPLE,), replace=True, stage_first=True)
    assert bridged(staged).staged, staged.output[-3000:]
    erased(forgetter.erase())
    ran = far.run("orders-1", databases=(PEOPLE,), replace=True, mode="Promote")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "NotPromoted"), ran.output[-3000:]
    assert "erase-1" in ran.summary.message
    gone = far.run("orders-1", databases=(PEOPLE,), replace=True, mode="Discard")
    assert gone.summary.outcome is Outcome.REFUSED
    assert forgetter.counts()["hers"] == 0


def test_without_the_key_a_restore_is_refused_before_anything_is_fetched(forgetter: Forgetter) -> None:
    forgetter.yard.back_up(backup_task("orders-1"))
    erased(forgetter.erase())
    none = forgetter.yard.pod()
    ran = restore(forgetter, none)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "ErasureKeyMissing")
    assert "1 people were erased since backup orders-1 (erase-1)" in ran.summary.message
    assert "spec.erasure.keySecretRef of BackupStorage prod" in ran.summary.message
    assert list(none.restored.iterdir()) == []
    empty = restore(forgetter, forgetter.pod(key=""))
    assert (empty.summary.outcome, empty.summary.reason) == (Outcome.REFUSED, "ErasureKeyMissing")
    assert "Secret shop/secret-erasure" in empty.summary.message
    other = restore(forgetter, forgetter.pod(key="0" * 64))
    assert (other.summary.outcome, other.summary.reason) == (Outcome.REFUSED, "ErasureKeyWrong")
    drill = drilled(forgetter.yard.drill("orders-1"))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "ErasureKeyMissing")


def test_a_person_may_ask_to_leave_erasures_out_and_is_told_what_that_means(forgetter: Forgetter) -> None:
    forgetter.yard.back_up(backup_task("orders-1"))
    erased(forgetter.erase())
    pod = forgetter.yard.pod()
    ran = restore(forgetter, pod, erasures=False)
    assert ran.result.restore is not None, ran.output[-3000:]
    (note,) = [one for one in ran.result.restore.notes if "erasures" in one]
    assert "1 people who were erased since may be in the restored data (erase-1)" in note
    with started(forgetter, pod) as server:
        assert counts(server)["hers"] == 17


def test_a_backup_from_after_the_erasure_needs_no_key_and_keeps_who_came_back(forgetter: Forgetter) -> None:
    erased(forgetter.erase())
    (done,) = [one for one in forgetter.objects() if one.name == "done.json"]
    text = json.loads(done.read_bytes())
    text["verifiedAt"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    done.write_text(json.dumps(text))
    forgetter.yard.server.sql(f"INSERT INTO customers VALUES (1815, '{SUBJECT}', 'Ada')", PEOPLE)
    forgetter.yard.back_up(backup_task("orders-1"))
    pod = forgetter.yard.pod()
    ran = restore(forgetter, pod)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    with started(forgetter, pod) as server:
        assert counts(server)["hers"] == 1


def test_a_table_that_lost_the_column_since_makes_the_restore_fail_and_one_that_is_missing_is_told(
    forgetter: Forgetter,
) -> None:
    server = forgetter.yard.server
    server.sql("ALTER TABLE customers RENAME email TO address; ALTER TABLE letters RENAME TO mail", PEOPLE)
    forgetter.yard.back_up(backup_task("orders-1"))
    server.sql("ALTER TABLE mail RENAME TO letters", PEOPLE)
    letters = [rule("letters", "public.letters", "email")]
    erased(forgetter.erase(letters))
    missing = restore(forgetter, forgetter.pod())
    assert missing.result.restore is not None, missing.output[-3000:]
    (note,) = [one for one in missing.result.restore.notes if "erasures" in one]
    assert note == "erasures found nothing to work on where the copy has no erase-1: table public.letters"
    server.sql("ALTER TABLE customers RENAME address TO email", PEOPLE)
    customers = [rule("customers", "public.customers", "email", cascades=["orders", "lines", "visits"],
                      foreign_keys="ChildrenFirst")]  # fmt: skip
    erased(forgetter.erase(customers, name="erase-2"))
    pod = forgetter.pod()
    ran = restore(forgetter, pod, id="restore-2")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ErasureNotRepeatable"), ran.output[-3000:]
    assert "public.customers of the restored data has no column email" in ran.summary.message
    assert list(pod.restored.iterdir()) == []


def test_an_entry_that_the_cluster_knows_of_and_the_ledger_lost_stops_the_restore(forgetter: Forgetter) -> None:
    """Of a backup that is older; of one that is younger it does not matter."""
    forgetter.yard.back_up(backup_task("orders-1"))
    verified = erased(forgetter.erase()).verified_at
    assert verified is not None
    for one in forgetter.objects():
        if "_erasures" in one.parts:
            one.unlink()
    known = [KnownErasure(id="erase-1", verified_at=verified)]
    ran = restore(forgetter, forgetter.pod(), erased=known)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "ErasureUnknown"), ran.output[-3000:]
    assert "ErasureRequests erase-1 were carried out after backup orders-1" in ran.summary.message
    drill = drilled(forgetter.yard.drill("orders-1", pod=forgetter.pod(), erased=known))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "ErasureUnknown")
    before = [KnownErasure(id="erase-1", verified_at=verified - timedelta(days=1))]
    ran = restore(forgetter, forgetter.pod(), erased=before)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]


def test_a_ledger_that_was_tampered_with_stops_the_restore(forgetter: Forgetter) -> None:
    forgetter.yard.back_up(backup_task("orders-1"))
    erased(forgetter.erase())
    (entry,) = [one for one in forgetter.objects() if one.name == "entry.json"]
    text = json.loads(entry.read_bytes())
    entry.write_text(json.dumps({**text, "subject": "0" * 64}))
    ran = restore(forgetter, forgetter.pod())
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "EvidenceInvalid"), ran.output[-3000:]
    assert "is not of the entry beside it" in ran.summary.message
