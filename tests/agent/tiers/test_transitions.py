"""Objects of old backups, on a server with classes of storage: whole chains are tagged, and rules of others survive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.moto_api import state_manager

from databosun.agent import readable
from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.api.backuptasks import HoldTask, ValidateTask
from databosun.api.drill import Level, Verdict
from databosun.api.lifecycle import ActionType, LifecycleMode, LifecycleOrder, LimitsOrder, RuleOrder
from databosun.api.lifecycleresult import LifecycleResult, RuleOutcome, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.restoretasks import BackupRef, DrillTask, RestoreTask
from databosun.api.result import Outcome
from databosun.api.tiering import Conflict, Kept, StorageClass, ThawOrder, TieringScope, TransitionOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.bucketrules import TAG
from support.agentrun import UID, Ran, Workplace, backup_task, child_of
from support.coldbucket import ACCESS_KEY, SECRET_KEY, ColdBucket, ColdServer, cold_server
from support.fakeengine import FakeEngine
from support.restoringengine import Restoring

pytestmark = pytest.mark.servers
STEPS = [
    TransitionOrder(days=30, storage_class=StorageClass.STANDARD_IA),
    TransitionOrder(days=90, storage_class=StorageClass.GLACIER),
]
ROOT = "prod/shop/orders/backups"
OWN = "databosun/cluster-one/shop/cold/"
FOREIGN: list[dict[str, Any]] = [
    {
        "ID": "logs",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "b"}]}},
        "Transitions": [{"Days": 7, "StorageClass": "GLACIER"}],
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
    {"ID": "old", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 3}},
    {"ID": "all", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
]


class Inspecting(Restoring):
    """An engine that is content with what it could read."""

    def inspect(self, _chain: Any, source: Any, _pulse: Any) -> str:
        for one in source.members:
            source.read_plain(one.manifest.id, "base.tar.zst")
        return "all of it"


class Yard:
    """A pod, a bucket, and backups in it: a full with a child, and the newest full."""

    def __init__(self, bucket: ColdBucket, folder: Path, refs: dict[str, BackupRef] | None = None) -> None:
        self.bucket = bucket
        self.place = Workplace(folder, s3=bucket.target)
        self.place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        self.refs = refs or {}
        self.runs = 0

    def fill(self) -> None:
        """Claim the bucket and take the backups."""
        claimed = self.place.run(ValidateTask())
        assert claimed.code == 0, claimed.output
        first = self.take(backup_task("orders-a"))
        self.take(child_of(first, "orders-b"))
        self.take(backup_task("orders-c"))

    def take(self, task: Any) -> Ran:
        ran = self.place.run(task, engine=FakeEngine(artefacts={"base.tar.zst": 4096}))
        done = ran.result.backup
        assert done is not None, ran.output
        self.refs[done.id] = BackupRef(id=done.id, database="orders", manifest_sha256=done.checksum)
        return ran

    def task(self, mode: LifecycleMode, approved: str | None, after: int, **more: Any) -> LifecycleTask:
        rule = RuleOrder(
            name="cold",
            action=ActionType.STORAGE_TRANSITION,
            transitions=more.pop("steps", STEPS),
            limits=LimitsOrder(max_rows_per_run=1, max_percent=1),
        )
        self.runs += 1
        return LifecycleTask(
            id=more.pop("id", f"cold-{self.runs}"),
            policy="cold",
            mode=mode,
            at=datetime.now(UTC) + timedelta(days=after),
            order=LifecycleOrder(database_uid=UID, storage="prod", rules=[rule]),
            approved=approved,
            **more,
        )

    def look(self, after: int = 100, **more: Any) -> LifecycleResult:
        """A dry run, so many days later."""
        return result_of(self.place.run(self.task(LifecycleMode.DRY_RUN, None, after, **more)))

    def enforce(self, after: int = 100, **more: Any) -> Ran:
        """A dry run, its approval, and the run."""
        approved = self.look(after, **more).plan_hash
        return self.place.run(self.task(LifecycleMode.ENFORCE, approved, after, **more))

    def carry_out(self, after: int = 100, **more: Any) -> RuleOutcome:
        (outcome,) = result_of(self.enforce(after, **more)).outcomes
        return outcome

    def taken(self, backup_id: str) -> datetime:
        """When a backup was complete, as its manifest says."""
        manifest = json.loads(self.bucket.store.get(f"{ROOT}/{backup_id}/manifest.json", limit=1 << 20))
        return datetime.fromisoformat(manifest["completedAt"])

    def tiers(self) -> dict[str, str]:
        """Our tag, by what lies below the folder of the backups."""
        tags = self.bucket.tags()
        assert all(key.startswith(f"{ROOT}/") for key in tags), tags
        return {key.removeprefix(f"{ROOT}/"): one[TAG] for key, one in tags.items() if TAG in one}

    def links(self) -> list[dict[str, Any]]:
        """The audit of the last run."""
        folder = f"prod/shop/orders/lifecycle/cold-{self.runs}/audit"
        store = self.bucket.store
        return [
            json.loads(store.get(one.key, limit=1 << 20)) for one in sorted(store.list(folder), key=lambda o: o.key)
        ]


def result_of(ran: Ran) -> LifecycleResult:
    assert ran.result.lifecycle is not None, ran.output[-4000:]
    return ran.result.lifecycle


@pytest.fixture(scope="module")
def server() -> Iterator[ColdServer]:
    with cold_server() as running:
        yield running


@pytest.fixture(scope="module")
def filled(server: ColdServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard = Yard(server.bucket(), tmp_path_factory.mktemp("filled"))
    yard.fill()
    return yard


@pytest.fixture
def yard(server: ColdServer, filled: Yard, tmp_path: Path) -> Yard:
    """A copy of the filled bucket for each test."""
    return Yard(server.bucket(filled.bucket), tmp_path, filled.refs)


def test_a_dry_run_shows_what_would_go_and_changes_nothing(yard: Yard, server: ColdServer) -> None:
    server.calls.clear()
    seen = yard.look()
    (facts,) = seen.facts
    assert facts.bucket is not None
    assert (facts.counts.rows, facts.counts.eligible, facts.counts.bytes) == (3, 2, 2 * 4096)
    assert facts.bucket.prefix == f"{ROOT}/"
    assert facts.bucket.moves == ["orders-a orders-b: 2 objects, 8.0KiB, to GLACIER"]
    assert facts.bucket.stays == ["orders-c: orders-c is the newest of its policy, and the next one may stand on it"]
    assert not [one for one in server.calls if not one.startswith(("GET", "HEAD"))]
    assert yard.look(29).facts[0].counts.eligible == 0
    assert yard.look(31).facts[0].bucket.moves == ["orders-a orders-b: 2 objects, 8.0KiB, to STANDARD_IA"]  # type: ignore[union-attr]


def test_a_chain_is_tagged_as_a_whole_and_its_small_objects_never(yard: Yard) -> None:
    outcome = yard.carry_out()
    assert (outcome.state, outcome.moved, outcome.remaining) == (RuleState.COMPLETED, 2, 0), outcome
    assert outcome.bucket_rules == [f"{OWN}STANDARD_IA", f"{OWN}GLACIER"]
    assert yard.tiers() == {
        "orders-a/a1/base.tar.zst.0000": "GLACIER",
        "orders-b/a1/base.tar.zst.0000": "GLACIER",
    }
    assert yard.bucket.rules() == [
        {
            "ID": f"{OWN}{step.storage_class}",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": f"{ROOT}/", "Tags": [{"Key": TAG, "Value": step.storage_class}]}},
            "Transitions": [{"Days": step.days, "StorageClass": step.storage_class}],
        }
        for step in STEPS
    ]
    taken = outcome.archived_until
    assert taken is not None
    assert taken == yard.taken("orders-b")
    assert [one["event"] for one in yard.links()] == ["Taken", "Granted", "Done", "Granted", "Done"]
    moved = yard.bucket.sweep()
    assert sorted(moved) == sorted(
        f"{ROOT}/{one}" for one in ("orders-a/a1/base.tar.zst.0000", "orders-b/a1/base.tar.zst.0000")
    )
    (facts,) = yard.look().facts
    assert facts.bucket is not None
    assert (facts.counts.eligible, facts.bucket.archived_until) == (0, taken)
    again = yard.carry_out()
    assert (again.state, again.moved) == (RuleState.COMPLETED, 0)


def test_a_chain_goes_on_step_by_step_and_never_back(yard: Yard) -> None:
    assert yard.carry_out(31).archived_until is None
    assert set(yard.tiers().values()) == {"STANDARD_IA"}
    yard.carry_out(91)
    assert set(yard.tiers().values()) == {"GLACIER"}
    assert yard.carry_out(31).moved == 0
    assert set(yard.tiers().values()) == {"GLACIER"}


def test_rules_and_tags_of_others_survive(yard: Yard) -> None:
    yard.bucket.set_rules(*FOREIGN)
    before = yard.bucket.rules()
    yard.bucket.tag(f"{ROOT}/orders-a/a1/base.tar.zst.0000", cost="data")
    yard.carry_out()
    after = yard.bucket.rules()
    assert after[: len(before)] == before
    assert [one["ID"] for one in after[len(before) :]] == [f"{OWN}STANDARD_IA", f"{OWN}GLACIER"]
    assert yard.bucket.tags()[f"{ROOT}/orders-a/a1/base.tar.zst.0000"] == {"cost": "data", TAG: "GLACIER"}
    (written,) = [one["bucketRules"] for one in yard.links() if "bucketRules" in one]
    assert written["before"] == before
    yard.carry_out(steps=STEPS[1:])
    assert [one["ID"] for one in yard.bucket.rules()] == ["logs", "old", "all", f"{OWN}GLACIER"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            {"Filter": {"Prefix": "prod/"}, "Expiration": {"Days": 365}},
            "deletes objects below prod/shop after 365 d, whatever stands on them: BackupPolicy daily keeps for 2604 d",
        ),
        ({"Filter": {"Prefix": ""}, "Transitions": [{"Days": 9, "StorageClass": "GLACIER"}]}, "one by one"),
        ({"Filter": {"Prefix": "prod/shop/_log/"}, "Expiration": {"Days": 9}}, "deletes objects below prod/shop"),
    ],
    ids=["expires", "archives", "expires the log"],
)
def test_a_rule_of_others_that_reaches_our_objects_refuses(yard: Yard, rule: dict[str, Any], said: str) -> None:
    yard.bucket.set_rules({"ID": "theirs", "Status": "Enabled", **rule})
    kept = TieringScope(kept=[Kept(policy="daily", days=2604, why="monthly: 84")])
    outcome = yard.carry_out(tiering=kept)
    assert outcome.state is RuleState.REFUSED
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.BUCKET_RULE_CONFLICT
    assert "rule theirs of the bucket" in outcome.failure.message
    assert said in outcome.failure.message
    assert [one["ID"] for one in yard.bucket.rules()] == ["theirs"]
    assert not yard.tiers()


def test_a_rule_of_others_under_our_id_is_refused_and_stays(yard: Yard) -> None:
    theirs = {"ID": f"{OWN}GLACIER", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}}
    yard.bucket.set_rules(theirs)
    outcome = yard.carry_out()
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.BUCKET_RULE_CONFLICT
    assert "has an ID of this policy's and is not of its making" in outcome.failure.message
    assert [one["ID"] for one in yard.bucket.rules()] == [f"{OWN}GLACIER"]
    assert not yard.tiers()


def test_what_the_library_would_lose_is_not_written_back(yard: Yard, server: ColdServer) -> None:
    yard.bucket.set_rules(*FOREIGN)
    server.garble.append((b"<ID>logs</ID>", b"<ID>logs</ID><Weather>rain</Weather>"))
    server.calls.clear()
    outcome = yard.carry_out()
    assert outcome.failure is not None
    assert "have Weather, which this release does not know and would lose" in outcome.failure.message
    assert not [one for one in server.calls if one.startswith("PUT") and "lifecycle" in one.partition("?")[2]]


def test_nothing_is_tagged_where_the_server_returns_other_rules_than_were_written(
    yard: Yard, server: ColdServer
) -> None:
    server.garble.append((b"<Days>90</Days>", b"<Days>9</Days>"))
    outcome = yard.carry_out()
    assert outcome.state is RuleState.FAILED
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.BUCKET_RULES_DIFFER
    assert f"rule {OWN}GLACIER is not as it was written" in outcome.failure.message
    assert not yard.tiers()


def test_a_rule_that_somebody_adds_meanwhile_is_not_lost(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Ledger.write

    def written(ledger: Ledger, rule: str, event: Event, **told: Any) -> int:
        if "bucketRules" in told:
            yard.bucket.set_rules(*FOREIGN)
        return write(ledger, rule, event, **told)

    monkeypatch.setattr(Ledger, "write", written)
    outcome = yard.carry_out()
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.BUCKET_RULE_CONFLICT
    assert "rule logs is there" in outcome.failure.message
    assert [one["ID"] for one in yard.bucket.rules()] == ["logs", "old", "all"]
    assert not yard.tiers()
    monkeypatch.undo()
    assert yard.carry_out().state is RuleState.COMPLETED
    assert [one["ID"] for one in yard.bucket.rules()][:3] == ["logs", "old", "all"]


def test_held_and_needed_chains_stay(yard: Yard) -> None:
    held = yard.place.run(HoldTask(database="orders", ids=["orders-b"], reason="case 7"))
    assert held.code == 0, held.output
    (facts,) = yard.look().facts
    assert facts.bucket is not None
    assert facts.bucket.stays[0] == "orders-a orders-b: a legal hold lies on orders-b"
    assert facts.counts.held == 1
    yard.place.run(HoldTask(database="orders", ids=["orders-b"], reason=None))
    (facts,) = yard.look(tiering=TieringScope(keep=["orders-a"])).facts
    assert facts.bucket is not None
    assert facts.bucket.stays[0].startswith("orders-a orders-b: orders-a is the newest proven one")
    assert yard.carry_out(tiering=TieringScope(keep=["orders-a"])).moved == 0
    assert not yard.tiers()


def test_what_policies_and_drills_ask_for_refuses(yard: Yard) -> None:
    broken = Conflict(reason=Reason.TRANSITION_CONFLICT, message="a drill would wait")
    ran = yard.enforce(tiering=TieringScope(conflicts=[broken]))
    assert ran.result.outcome is Outcome.REFUSED
    assert "rule cold: a drill would wait" in ran.summary.message
    assert not yard.bucket.rules()


def test_another_bucket_needs_another_approval(yard: Yard, server: ColdServer, tmp_path: Path) -> None:
    approved = yard.look().plan_hash
    other = Yard(server.bucket(yard.bucket), tmp_path / "other")
    assert other.look().plan_hash != approved
    ran = other.place.run(other.task(LifecycleMode.ENFORCE, approved, 100))
    assert ran.result.reason == Reason.PLAN_CHANGED
    assert not other.bucket.rules()


def test_a_hole_stops_it_all(yard: Yard, server: ColdServer) -> None:
    server.client.delete_object(Bucket=yard.bucket.name, Key=f"{ROOT}/orders-a/a1/base.tar.zst.0000")
    outcome = yard.carry_out()
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.RULE_NOT_READABLE
    assert "nothing is moved around a hole" in outcome.failure.message


def test_an_interrupted_run_is_gone_on_with(yard: Yard) -> None:
    passed = datetime.now(UTC) - timedelta(seconds=1)
    outcome = yard.carry_out(stop_at=passed)
    assert (outcome.state, outcome.moved, outcome.remaining) == (RuleState.LIMITED, 0, 2)
    assert yard.carry_out().moved == 2


def test_what_lies_in_an_archive_is_refused_before_a_byte_is_fetched(yard: Yard, server: ColdServer) -> None:
    yard.carry_out()
    yard.bucket.sweep()
    server.calls.clear()
    drilled = yard.place.run(DrillTask(id="cold", backup=yard.refs["orders-b"], level=Level.ARTIFACT))
    assert drilled.result.drill is not None
    assert (drilled.result.drill.verdict, drilled.result.reason) == (Verdict.REFUSED, "ObjectArchived")
    assert "2 of 4 volumes of orders-a orders-b lie in an archive class" in drilled.summary.message
    assert not [one for one in server.calls if one.startswith(("PUT", "POST", "DELETE"))]
    for key in (f"{ROOT}/orders-a/a1/base.tar.zst.0000", f"{ROOT}/orders-b/a1/base.tar.zst.0000"):
        server.client.restore_object(Bucket=yard.bucket.name, Key=key, RestoreRequest={"Days": 2})
    again = DrillTask(id="thawed", backup=yard.refs["orders-b"], level=Level.ARTIFACT)
    thawed = yard.place.run(again, engine=Inspecting())
    assert thawed.result.drill is not None
    assert thawed.result.drill.verdict is Verdict.PASSED, thawed.result


@pytest.fixture
def cold(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Its oldest chain lies in GLACIER, and a thaw is there when it was looked for three times."""
    yard.carry_out()
    yard.bucket.sweep()
    root = yard.place.root / "restore"
    root.mkdir()
    paths = replace(yard.place.paths, restore=root)
    monkeypatch.setattr(Workplace, "paths", property(lambda _: paths))
    monkeypatch.setattr(readable, "LOOK_EVERY", 0.02)
    state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 3})
    yield yard
    state_manager.unset_transition("s3::keyrestore")


def restore(yard: Yard, thaw: ThawOrder | None, **more: Any) -> Ran:
    task = RestoreTask(id="back", candidates=[yard.refs["orders-b"], yard.refs["orders-a"]], claim="new", thaw=thaw)
    ends = more.pop("deadline", datetime.now(UTC) + timedelta(hours=24))
    return yard.place.run(task, engine=Inspecting(), deadline=ends, **more)


def test_a_restore_is_refused_unless_it_asks_for_a_thaw(cold: Yard, server: ColdServer) -> None:
    server.calls.clear()
    ran = restore(cold, None)
    assert (ran.result.outcome, ran.result.reason) == (Outcome.REFUSED, "ObjectArchived")
    assert "a Restore with spec.thaw thaws them" in ran.summary.message
    assert not [one for one in server.calls if one.startswith(("PUT", "POST", "DELETE"))]
    assert not list(cold.place.paths.restore.iterdir())


def test_what_is_asked_for_is_thawed_and_waited_for(cold: Yard, server: ColdServer) -> None:
    server.calls.clear()
    ran = restore(cold, ThawOrder(days=2))
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    assert ran.result.restore is not None
    assert ran.result.restore.notes[0].startswith("2 volumes were thawed first (Standard), which took ")
    asked = [one for one in server.calls if one.startswith("POST") and "restore" in one.partition("?")[2]]
    assert len(asked) == 2
    waited = [one["stage"] for one in ran.lines if str(one.get("stage", "")).startswith("waiting for the thaw")]
    assert "waiting for the thaw of 2 of 2 volumes" in waited
    assert (cold.place.paths.restore / "data" / "from").read_text() == "orders-b"


def test_a_thaw_that_cannot_end_in_time_or_at_that_speed_is_not_begun(cold: Yard, server: ColdServer) -> None:
    server.calls.clear()
    ran = restore(cold, ThawOrder(), deadline=datetime.now(UTC) + timedelta(hours=4))
    assert (ran.result.outcome, ran.result.reason) == (Outcome.REFUSED, "ObjectArchived")
    assert "a thaw (Standard) takes up to 5h, and this attempt ends in 3h5" in ran.summary.message
    assert "raise spec.deadline" in ran.summary.message
    assert not [one for one in server.calls if one.startswith("POST")]
    assert not list(cold.place.paths.restore.iterdir())
