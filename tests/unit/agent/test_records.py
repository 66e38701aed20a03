"""The record of a run speaks for that run alone: not for another of its name, and not from another's place."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.verify import Beside, verify
from databosun.api.backuptasks import RecoverTask
from databosun.api.drill import Level, PointKind, RecoveryPoint, Verdict
from databosun.api.recordtasks import JointGroup, JointMember, JointTask
from databosun.api.restoretasks import BackupRef, DrillTask, RestoreTask
from databosun.api.result import Outcome
from databosun.domain.sealing import digest_of
from support.agentrun import Ran, Workplace, backup_task
from support.restoringengine import Restoring

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)


@pytest.fixture
def refs(place: Workplace) -> dict[str, BackupRef]:
    found = {}
    for name in ("orders-a", "orders-b"):
        backup = place.run(backup_task(name)).result.backup
        assert backup is not None
        found[name] = BackupRef(id=name, database="orders", manifest_sha256=backup.checksum)
    return found


def drill(place: Workplace, ref: BackupRef, run: str = "mine") -> Ran:
    return place.run(DrillTask(id=run, backup=ref, level=Level.ARTIFACT), engine=Restoring())


def evidence(place: Workplace, run: str) -> Path:
    return place.paths.volume / "shop" / "orders" / "drills" / run / "evidence.json"


def restore(place: Workplace, *refs: BackupRef, engine: Restoring | None = None, **more: Any) -> Ran:
    task = RestoreTask(**{"id": "mine", "candidates": list(refs), "claim": "new", **more})
    return place.run(task, engine=engine or Restoring())


@pytest.fixture
def target(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = place.root / "restore"
    root.mkdir()
    found = place.paths
    paths = type(found)(found.request, found.secrets, found.scratch, found.termination, found.volume, root)
    monkeypatch.setattr(Workplace, "paths", property(lambda _: paths))
    return root


def test_a_drill_of_another_backup_does_not_pass_by_the_evidence_of_an_earlier_one(
    place: Workplace, refs: dict[str, BackupRef]
) -> None:
    first = drill(place, refs["orders-a"]).result
    assert first.drill is not None
    assert first.drill.verdict is Verdict.PASSED
    again = drill(place, refs["orders-a"]).result
    assert again.reason == "AlreadyDone"
    assert again.drill is not None
    assert again.drill.completed_at is not None
    other = drill(place, refs["orders-b"]).result
    assert (other.outcome, other.reason, other.drill) == (Outcome.REFUSED, "NameTaken", None)
    assert "orders-a" in other.message


@pytest.mark.parametrize("task", ["drill", "recover"])
def test_evidence_that_was_copied_to_another_run_is_not_believed(
    place: Workplace, refs: dict[str, BackupRef], task: str
) -> None:
    drill(place, refs["orders-a"], "before")
    planted = evidence(place, "mine")
    planted.parent.mkdir(parents=True)
    planted.write_bytes(evidence(place, "before").read_bytes())
    recover = RecoverTask(database="orders", id="mine", durable="evidence")
    found = (drill(place, refs["orders-a"]) if task == "drill" else place.run(recover)).result
    assert (found.outcome is Outcome.SUCCEEDED, found.reason, found.drill) == (False, "EvidenceInvalid", None)


def test_a_restore_that_is_applied_again_is_not_repeated(
    place: Workplace, refs: dict[str, BackupRef], target: Path
) -> None:
    assert restore(place, refs["orders-a"]).result.outcome is Outcome.SUCCEEDED
    (target / "data" / "written").touch()
    again = restore(place, refs["orders-b"], refs["orders-a"]).result
    assert again.reason == "AlreadyDone"
    assert (target / "data" / "written").exists()


@pytest.mark.parametrize("what", ["backup", "claim", "point", "volume"])
def test_another_restore_of_the_same_name_is_not_taken_for_done(
    place: Workplace, refs: dict[str, BackupRef], target: Path, what: str
) -> None:
    assert restore(place, refs["orders-a"]).result.outcome is Outcome.SUCCEEDED
    more: dict[str, Any] = {"claim": {"claim": "newer"}, "point": {"until": RecoveryPoint(kind=PointKind.LATEST)}}.get(
        what, {}
    )
    if what == "volume":
        (target / "data").rename(target.parent / "gone")
    found = restore(place, refs["orders-b" if what == "backup" else "orders-a"], **more).result
    assert (found.outcome, found.reason, found.restore) == (Outcome.REFUSED, "NameTaken", None)


def test_a_record_that_was_copied_to_another_restore_is_not_believed(
    place: Workplace, refs: dict[str, BackupRef], target: Path
) -> None:
    assert restore(place, refs["orders-a"]).result.outcome is Outcome.SUCCEEDED
    records = place.paths.volume / "shop" / "orders" / "restores"
    (records / "yours").mkdir()
    (records / "yours" / "result.json").write_bytes((records / "mine" / "result.json").read_bytes())
    found = restore(place, refs["orders-a"], id="yours").result
    assert (found.outcome is Outcome.SUCCEEDED, found.reason) == (False, "EvidenceInvalid")


def test_what_came_into_the_volume_meanwhile_is_left_where_it_is(
    place: Workplace, refs: dict[str, BackupRef], target: Path
) -> None:
    def other() -> None:
        (target / "data").mkdir()
        (target / "data" / "of-somebody-else").touch()

    found = restore(place, refs["orders-a"], engine=Restoring(meanwhile=other)).result
    assert found.reason == "TargetNotEmpty"
    assert [path.name for path in target.iterdir()] == ["data"]
    assert (target / "data" / "of-somebody-else").exists()


def joint(place: Workplace, *drilled: Ran, run: str = "all", **changed: Any) -> Ran:
    """Write down what drills of the same database under other names came to, as if they were many."""
    members = [
        JointMember(
            **{
                "database": "orders",
                "run": one.id,
                "verdict": one.verdict,
                "reason": one.reason,
                "evidence_sha256": one.evidence_sha256,
                **changed,
            }
        )
        for one in (ran.result.drill for ran in drilled)
        if one is not None
    ]
    return place.run(JointTask(id=run, drill="disaster", groups=[JointGroup(started_at=NOW, members=members)]))


def test_the_evidence_of_many_holds_the_digest_of_each(place: Workplace, refs: dict[str, BackupRef]) -> None:
    one, two = drill(place, refs["orders-a"], "one"), drill(place, refs["orders-b"], "two")
    found = joint(place, one, two).result.joint
    assert found is not None
    assert found.verdict is Verdict.PASSED
    path = place.paths.volume / "shop" / "_drills" / "all" / "evidence.json"
    record = path.read_bytes()
    assert digest_of(record) == found.evidence_sha256
    beside = Beside(members=[evidence(place, name).read_bytes() for name in ("one", "two")])
    assert verify(record, beside=beside)[1] == []
    assert [member["evidenceRead"] for member in json.loads(record)["members"]] == [True, True]
    again = joint(place, one, two).result
    assert (again.reason, again.joint) == ("AlreadyDone", found)
    assert path.read_bytes() == record
    recovered = place.run(RecoverTask(database="", id="all", durable="joint")).result.joint
    assert recovered == found


@pytest.mark.parametrize("how", ["gone", "changed", "another verdict"])
def test_evidence_that_is_not_what_a_member_wrote_is_written_into_no_record(
    place: Workplace, refs: dict[str, BackupRef], how: str
) -> None:
    one = drill(place, refs["orders-a"], "one")
    path = evidence(place, "one")
    if how == "gone":
        path.unlink()
    if how == "changed":
        path.write_bytes(path.read_bytes().replace(b"Passed", b"Failed", 1))
    changed = {"verdict": Verdict.FAILED} if how == "another verdict" else {}
    found = joint(place, one, **changed).result
    assert (found.outcome, found.reason, found.joint) == (Outcome.FAILED, "EvidenceInvalid", None)
    assert not (place.paths.volume / "shop" / "_drills").exists()


def test_a_name_that_a_drill_of_other_databases_bore_is_not_used_again(
    place: Workplace, refs: dict[str, BackupRef]
) -> None:
    one, two = drill(place, refs["orders-a"], "one"), drill(place, refs["orders-b"], "two")
    assert joint(place, one, two).result.outcome is Outcome.SUCCEEDED
    other = joint(place, one).result
    assert (other.outcome, other.reason) == (Outcome.REFUSED, "NameTaken")
