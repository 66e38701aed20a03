"""One backup through the whole agent, on a volume: what is written, in what order, and what never counts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.children import Children
from databosun.api.backuptasks import HoldTask, RecoverTask
from databosun.api.result import Finding, Outcome
from databosun.api.v1alpha1.backuppolicy import Hook, Hooks
from databosun.domain.errors import WorldFault
from databosun.domain.sealing import is_signed
from databosun.storage.volume import VolumeStore
from support.agekeys import make_age_key
from support.agentrun import PASSWORD, UID, Ran, Workplace, backup_task, child_of
from support.fakeengine import MEBIBYTE, FakeEngine
from support.pemkeys import pem_of

FULL, INCR = "orders-2603010300-a1b2c", "orders-2603010400-a1b2d"


def folder(place: Workplace, backup_id: str = FULL) -> Path:
    return place.root / "volume" / "shop" / "orders" / "backups" / backup_id


def manifest(place: Workplace, backup_id: str = FULL) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder(place, backup_id) / "manifest.json").read_bytes())
    return loaded


def succeeded(ran: Ran) -> Ran:
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    return ran


def refused(ran: Ran, reason: str, outcome: Outcome = Outcome.REFUSED) -> Ran:
    assert (ran.code, ran.summary.outcome, ran.summary.reason) == (1, outcome, reason), ran.summary
    return ran


def test_the_result_and_the_manifest_say_the_same(place: Workplace) -> None:
    ran = succeeded(place.run(backup_task()))
    done, written = ran.result.backup, manifest(place)
    assert done
    assert done.checksum == hashlib.sha256((folder(place) / "manifest.json").read_bytes()).hexdigest()
    assert (done.logical_bytes, done.stored_bytes) == (3 * MEBIBYTE, 3 * MEBIBYTE + 13)
    assert (written["logicalBytes"], written["storedBytes"]) == (done.logical_bytes, done.stored_bytes)
    assert written["database"] == {
        "namespace": "shop",
        "name": "orders",
        "uid": UID,
        "engine": "PostgreSQL",
        "engineVersion": "17.1",
        "systemIdentifier": "7312345678901234567",
    }
    assert (written["attempt"], written["image"], written["policy"]) == (1, "runner:17", "critical")
    assert set(ran.result.timings) == {"storage", "probe", "backup", "finish"}


def test_the_manifest_lists_every_object_with_its_digest(place: Workplace) -> None:
    succeeded(place.run(backup_task()))
    written = manifest(place)
    listed = {f"a1/{part['name']}": part for one in written["artefacts"] for part in one["parts"]}
    listed |= {one["name"]: one for one in written["files"]}
    here = folder(place)
    found = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    assert found == {*listed, "manifest.json"}
    for name, one in listed.items():
        data = (here / name).read_bytes()
        assert (one["bytes"], one["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_manifest_is_written_last(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    publish = VolumeStore.publish

    def watched(store: VolumeStore, key: str, *rest: Any) -> None:
        order.append(key.rpartition("/")[2])
        publish(store, key, *rest)

    monkeypatch.setattr(VolumeStore, "publish", watched)
    succeeded(place.run(backup_task(held="audit")))
    assert order == [
        "databosun.json",
        "base.tar.zst.0000",
        "backup_manifest",
        "RESTORE.md",
        "hold.json",
        "manifest.json",
    ]


def test_a_run_whose_manifest_is_there_is_never_repeated(place: Workplace) -> None:
    first = succeeded(place.run(backup_task()))
    engine = FakeEngine()
    hooks = Hooks(pre=[Hook(name="freeze", sql="select 1")])
    again = succeeded(place.run(backup_task(hooks=hooks), attempt=2, engine=engine))
    assert again.summary.reason == "AlreadyDone"
    assert again.result.backup == first.result.backup
    assert (engine.plans, engine.hooks) == ([], [])
    assert not (folder(place) / "a2").exists()


def test_the_manifest_of_another_database_is_no_result_of_ours(place: Workplace) -> None:
    succeeded(place.run(backup_task()))
    ran = refused(place.run(backup_task(database_uid="another"), attempt=2), "ForeignBackup")
    assert UID in ran.summary.message


def test_a_folder_that_another_attempt_wrote_to_is_left_to_it(place: Workplace) -> None:
    (folder(place) / "a1").mkdir(parents=True)
    (folder(place) / "a1" / "base.tar.zst.0000").write_bytes(b"of the first")
    ran = refused(place.run(backup_task()), "AttemptTaken", Outcome.FAILED)
    assert ran.summary.retryable
    assert (folder(place) / "a1" / "base.tar.zst.0000").read_bytes() == b"of the first"
    succeeded(place.run(backup_task(), attempt=2))
    assert manifest(place)["attempt"] == 2


def test_a_foreign_cluster_is_refused_before_the_engine_is_asked(place: Workplace) -> None:
    succeeded(place.run(backup_task()))
    place.storage["cluster_id"] = "cluster-two"
    engine = FakeEngine()
    ran = refused(place.run(backup_task(INCR), engine=engine), "StorageOwnedByAnother")
    assert "cluster-one" in ran.summary.message
    assert engine.plans == []


def test_an_incremental_gets_its_parent_s_own_manifest(place: Workplace) -> None:
    full = succeeded(place.run(backup_task(), engine=FakeEngine(plain={"backup_manifest": b"of the full"})))
    engine = FakeEngine()
    incr = succeeded(place.run(child_of(full, INCR), engine=engine))
    (plan,) = engine.plans
    assert plan.parent
    assert (plan.parent.id, plan.parent.engine_manifest, plan.parent.base) == (FULL, b"of the full", FULL)
    assert incr.result.backup
    assert (incr.result.backup.parent, incr.result.backup.base, incr.result.backup.chain_length) == (FULL, FULL, 1)
    assert full.result.backup
    assert manifest(place, INCR)["parentManifestSha256"] == full.result.backup.checksum


def forge_manifest(place: Workplace) -> None:
    path = folder(place) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":1 '))


def swap_engine_manifest(place: Workplace) -> None:
    (folder(place) / "a1" / "backup_manifest").write_bytes(b'{"files": []} ')


def remove_manifest(place: Workplace) -> None:
    (folder(place) / "manifest.json").unlink()


def remove_engine_manifest(place: Workplace) -> None:
    (folder(place) / "a1" / "backup_manifest").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (forge_manifest, "ManifestForged"),
        (swap_engine_manifest, "ManifestForged"),
        (remove_manifest, "ParentMissing"),
        (remove_engine_manifest, "ParentMissing"),
    ],
)
def test_nothing_is_built_on_a_parent_that_is_not_what_was_recorded(place: Workplace, damage: Any, reason: str) -> None:
    full = succeeded(place.run(backup_task()))
    damage(place)
    engine = FakeEngine()
    refused(place.run(child_of(full, INCR), engine=engine), reason)
    assert engine.plans == []
    assert not folder(place, INCR).exists()


def test_a_forged_grandparent_is_found_through_its_child(place: Workplace) -> None:
    full = succeeded(place.run(backup_task()))
    incr = succeeded(place.run(child_of(full, INCR)))
    forge_manifest(place)
    refused(place.run(child_of(incr, "orders-2603010500-a1b2e")), "ManifestForged")


@pytest.mark.parametrize(
    "engine",
    [FakeEngine(artefacts={}), FakeEngine(artefacts={"base.tar": 0}), FakeEngine(reported=0)],
    ids=["nothing", "empty", "says nothing"],
)
def test_an_engine_that_succeeds_with_nothing_has_failed(place: Workplace, engine: FakeEngine) -> None:
    refused(place.run(backup_task(), engine=engine), "EmptyBackup", Outcome.FAILED)
    assert not (folder(place) / "manifest.json").exists()


def test_the_engine_is_told_no_more_scratch_than_the_volume_s_limit(place: Workplace) -> None:
    """The file system below an emptyDir shows the node's disk; beyond the limit the kubelet evicts the pod."""
    engine = FakeEngine()
    succeeded(place.run(backup_task(), engine=engine, scratch_bytes=4096))
    assert engine.plans[0].scratch_bytes == 4096


@pytest.mark.parametrize(("previous", "suspicious"), [(None, False), (15 * MEBIBYTE, False), (15 * MEBIBYTE + 1, True)])
def test_a_fifth_of_the_previous_size_is_worth_a_look(
    place: Workplace, previous: int | None, *, suspicious: bool
) -> None:
    done = succeeded(place.run(backup_task(previous_bytes=previous))).result.backup
    assert done
    assert bool(done.size_suspicious) is suspicious


@pytest.mark.parametrize("held", [None, "", "audit of 2026"])
def test_a_hold_lies_beside_the_backup_from_the_start(place: Workplace, held: str | None) -> None:
    succeeded(place.run(backup_task(held=held)))
    path = folder(place) / "hold.json"
    assert path.exists() is (held is not None)
    if held is not None:
        assert json.loads(path.read_text())["reason"] == held


def test_holds_are_written_and_removed(place: Workplace) -> None:
    succeeded(place.run(backup_task()))
    ran = succeeded(place.run(HoldTask(database="orders", ids=[FULL, "orders-never"], reason="audit")))
    assert ran.result.held == [FULL]
    assert (folder(place) / "hold.json").exists()
    assert not folder(place, "orders-never").exists()
    succeeded(place.run(HoldTask(database="orders", ids=[FULL], reason=None)))
    assert not (folder(place) / "hold.json").exists()


def test_findings_that_block_the_method_are_said_with_their_cure(place: Workplace) -> None:
    finding = Finding(
        reason="NoReplication", message="no REPLICATION", fix="ALTER ROLE x REPLICATION;", blocks=["Physical"]
    )
    other = Finding(reason="Other", message="for logical backups only", blocks=["Logical"])
    engine = FakeEngine(findings=[other, finding])
    ran = refused(place.run(backup_task(), engine=engine), "NoReplication")
    assert "ALTER ROLE x REPLICATION;" in ran.summary.message
    assert "logical" not in ran.summary.message
    assert engine.plans == []


def test_a_database_out_of_reach_is_tried_again(place: Workplace) -> None:
    ran = refused(place.run(backup_task(), engine=FakeEngine(reachable=False)), "DatabaseUnreachable", Outcome.FAILED)
    assert ran.summary.retryable


def hooks(**more: Any) -> Hooks:
    pre = Hook(name="pre", exec=["sh", "-c", "echo pre said no >&2; exit 1"], **more)
    return Hooks(pre=[Hook(name="first", sql="select 1"), pre], post=[Hook(name="last", sql="select 2")])


def test_a_failed_hook_ends_the_run_before_the_engine_starts(place: Workplace) -> None:
    engine = FakeEngine()
    ran = refused(place.run(backup_task(hooks=hooks()), engine=engine), "HookFailed", Outcome.FAILED)
    assert "pre said no" in ran.summary.message
    assert (engine.plans, engine.hooks) == ([], ["first"])


def test_a_hook_that_may_fail_is_noted(place: Workplace) -> None:
    engine = FakeEngine()
    ran = succeeded(place.run(backup_task(hooks=hooks(on_error="Continue")), engine=engine))
    assert engine.hooks == ["first", "last"]
    assert ran.result.backup
    assert any(note.startswith("HookFailed: pre") for note in ran.result.backup.notes)


def test_a_hook_that_hangs_is_ended(place: Workplace) -> None:
    hanging = Hooks(pre=[Hook(name="hang", exec=["sleep", "600"], timeout="100ms")])
    ran = refused(place.run(backup_task(hooks=hanging)), "HookFailed", Outcome.FAILED)
    assert "sleep was still running after 100ms" in ran.summary.message


def test_post_hooks_run_after_a_failure_too(place: Workplace) -> None:
    def trap(_name: str, _done: int) -> None:
        raise WorldFault("Broken", "in the middle")

    engine = FakeEngine(trap=trap)
    refused(
        place.run(backup_task(hooks=Hooks(post=[Hook(name="thaw", sql="x")])), engine=engine), "Broken", Outcome.FAILED
    )
    assert engine.hooks == ["thaw"]


def test_no_secret_is_in_anything_that_is_left_behind(place: Workplace) -> None:
    place.secrets["storage-key"] = {"key": "another-Secret-value"}
    engine = FakeEngine(settings={"primary_conninfo": f"password={PASSWORD} another-Secret-value"})
    ran = succeeded(place.run(backup_task(held=f"because of {PASSWORD}"), engine=engine))
    left = [ran.output.encode(), ran.termination]
    left += [path.read_bytes() for path in (place.root / "volume").rglob("*") if path.is_file()]
    for secret in (PASSWORD, "another-Secret-value"):
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret)[1:-1])[1:-1]):
            assert not any(form.encode() in data for data in left)
    assert b"[redacted]" in (folder(place) / "manifest.json").read_bytes()


def test_a_demanded_signature_is_made_and_checked(place: Workplace) -> None:
    key = Ed25519PrivateKey.generate()
    private, public = pem_of(key)
    place.secrets["signing"] = {"key": private.decode()}
    place.storage |= {"signed": True, "public_key": public}
    succeeded(place.run(backup_task()))
    data = (folder(place) / "manifest.json").read_bytes()
    assert is_signed(data, key.public_key())
    succeeded(place.run(RecoverTask(database="orders", id=FULL)))
    (folder(place) / "manifest.json").write_bytes(data.replace(b'"attempt":1', b'"attempt":2'))
    refused(place.run(RecoverTask(database="orders", id=FULL)), "SignatureInvalid")
    refused(place.run(backup_task(), attempt=2), "SignatureInvalid")


def test_a_signing_key_that_is_no_pair_is_refused_before_anything_is_done(place: Workplace) -> None:
    private, _ = pem_of(Ed25519PrivateKey.generate())
    _, public = pem_of(Ed25519PrivateKey.generate())
    place.secrets["signing"] = {"key": private.decode()}
    place.storage |= {"signed": True, "public_key": public}
    refused(place.run(backup_task()), "SigningKeyInvalid")
    assert not list((place.root / "volume").iterdir())


def test_encrypted_backups_name_their_recipients(place: Workplace, tmp_path: Path) -> None:
    key = make_age_key(tmp_path)
    place.storage["age_recipients"] = [key.recipient]
    succeeded(place.run(backup_task()))
    by_role = {one["role"]: one for one in manifest(place)["artefacts"]}
    assert by_role["Data"]["encryption"] == {"recipients": [key.recipient]}
    assert "encryption" not in by_role["EngineManifest"]


def test_a_run_is_recovered_from_its_manifest_alone(place: Workplace) -> None:
    first = succeeded(place.run(backup_task()))
    ran = succeeded(place.run(RecoverTask(database="orders", id=FULL), database=None))
    assert ran.result.backup == first.result.backup
    gone = refused(place.run(RecoverTask(database="orders", id=INCR), database=None), "NoResult", Outcome.FAILED)
    assert gone.summary.retryable


def test_a_manifest_that_was_moved_is_no_result(place: Workplace) -> None:
    succeeded(place.run(backup_task(FULL)))
    folder(place, INCR).mkdir()
    (folder(place, INCR) / "manifest.json").write_bytes((folder(place) / "manifest.json").read_bytes())
    refused(place.run(RecoverTask(database="orders", id=INCR)), "ForeignBackup")
    refused(place.run(backup_task(INCR)), "ForeignBackup")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Children]:
    """The running agent's, through which a test reaches its stop."""
    holder: list[Children] = []
    made = Children.__init__

    def watched(children: Children, *rest: Any) -> None:
        holder.append(children)
        made(children, *rest)

    monkeypatch.setattr(Children, "__init__", watched)
    return holder


def test_after_a_stop_no_manifest_is_written(place: Workplace, children: list[Children]) -> None:
    """Told to stop once all data is stored: the backup would be whole, but the operator may have started another."""

    class Stopping(FakeEngine):
        def restore_instructions(self, doc: Any) -> str:
            children[0]._stop.set("Interrupted", "told to")
            return "x"

    ran = refused(place.run(backup_task(), engine=Stopping()), "Interrupted", Outcome.FAILED)
    assert ran.summary.retryable
    assert not (folder(place) / "manifest.json").exists()


@pytest.mark.parametrize(("reason", "retryable"), [("Interrupted", True), ("DeadlineExceeded", False)])
def test_what_breaks_because_of_a_stop_is_not_the_verdict(
    place: Workplace, children: list[Children], reason: str, *, retryable: bool
) -> None:
    def trap(_name: str, done: int) -> None:
        if done:
            children[0]._stop.set(reason, "told to")
            raise ZeroDivisionError

    ran = refused(place.run(backup_task(), engine=FakeEngine(trap=trap)), reason, Outcome.FAILED)
    assert (ran.summary.retryable, ran.summary.message) == (retryable, "told to")
