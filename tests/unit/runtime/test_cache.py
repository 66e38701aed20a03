"""What the watches told: stale news is ignored, indexes follow, finished runs are found by their owners."""

from __future__ import annotations

from typing import Any

from databosun.runtime.cache import Cache, FinishedIndex, FinishedRun, finished_run, trim
from databosun.runtime.queue import Key

POLICY = Key("BackupPolicy", "shop", "nightly")


def body(name: str = "nightly", version: int = 1, uid: str = "u1", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec, "status": {}}


def cache() -> Cache:
    return Cache({"BackupPolicy": lambda seen: [f"storage:{seen['spec'].get('storage')}"]})


def test_what_is_new_is_news_and_what_is_known_is_not() -> None:
    known = cache()
    assert known.put("BackupPolicy", body(version=5))
    assert not known.put("BackupPolicy", body(version=5))
    assert not known.put("BackupPolicy", body(version=4, storage="old"))
    assert known.put("BackupPolicy", body(version=6))
    assert known.version(POLICY) == ("u1", 6)


def test_versions_are_numbers_not_texts() -> None:
    known = cache()
    known.put("BackupPolicy", body(version=9))
    assert known.put("BackupPolicy", body(version=10))


def test_an_object_created_anew_replaces_the_one_before_and_late_news_of_that_one_is_ignored() -> None:
    known = cache()
    known.put("BackupPolicy", body(version=5, uid="old", storage="a"))
    assert known.put("BackupPolicy", body(version=9, uid="new", storage="b"))
    assert known.key_of("old") is None
    assert known.key_of("new") == POLICY
    assert not known.put("BackupPolicy", body(version=7, uid="old", storage="a"))
    assert known.version(POLICY) == ("new", 9)
    assert known.referring("BackupPolicy", "shop", "storage:a") == ()


def test_the_index_follows_changes_and_drops() -> None:
    known = cache()
    known.put("BackupPolicy", body(version=1, storage="a"))
    known.put("BackupPolicy", body("weekly", version=2, uid="u2", storage="a"))
    assert [key.name for key in known.referring("BackupPolicy", "shop", "storage:a")] == ["nightly", "weekly"]
    known.put("BackupPolicy", body(version=3, storage="b"))
    assert [key.name for key in known.referring("BackupPolicy", "shop", "storage:a")] == ["weekly"]
    assert known.drop(POLICY)
    assert not known.drop(POLICY)
    assert known.referring("BackupPolicy", "shop", "storage:b") == ()
    assert known.keys("BackupPolicy") == known.keys("BackupPolicy", "shop") == [Key("BackupPolicy", "shop", "weekly")]
    assert known.referring("BackupPolicy", "elsewhere", "storage:a") == ()
    assert (len(known), known.get(POLICY), known.version(POLICY)) == (1, None, None)


def test_only_what_decisions_read_is_kept() -> None:
    seen = body(storage="a")
    seen["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"databosun.io/run-now": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "labels": {"team": "shop"},
        "finalizers": ["databosun.io/data"],
    }
    known = cache()
    known.put("BackupPolicy", seen)
    kept = known.get(POLICY)
    assert kept == trim(seen)
    assert kept["metadata"]["annotations"] == {"databosun.io/run-now": "1"}
    assert kept["metadata"]["finalizers"] == ["databosun.io/data"]
    assert "managedFields" not in kept["metadata"]


def test_what_is_given_out_can_be_changed_without_changing_what_is_kept() -> None:
    known = cache()
    known.put("BackupPolicy", body(storage="a"))
    out = known.get(POLICY)
    assert out is not None
    out["spec"]["storage"] = "b"
    assert known.get(POLICY) == trim(body(storage="a"))


# --- finished runs


def metadata(name: str, version: int = 1, *, uid: str = "u", created: int = 1, **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": f"2026-03-{created:02d}T00:00:00Z",
        "labels": {f"databosun.io/{key.replace('_', '-')}": value for key, value in labels.items()},
    }


def run(name: str, version: int = 1, **more: Any) -> FinishedRun:
    labels = {"finished": "Succeeded", "database_uid": "d1", "policy_uid": "p1"} | more
    found = finished_run(metadata(name, version, **labels))
    assert found is not None
    return found


def test_a_run_is_finished_by_its_label() -> None:
    assert finished_run(metadata("a")) is None
    assert run("a").succeeded
    assert not run("a", finished="Failed").succeeded
    assert run("a", hold="true").held
    deleting = metadata("a", finished="Failed") | {"deletionTimestamp": "2026-03-01T00:00:00Z"}
    found = finished_run(deleting)
    assert found is not None
    assert found.deleting
    assert (found.database_uid, found.policy_uid, found.schedule) == ("", "", "")


def test_finished_runs_are_found_by_database_and_policy_oldest_first() -> None:
    index = FinishedIndex()
    for name, created, more in (("b", 2, {}), ("a", 3, {}), ("c", 1, {"policy_uid": "p2"})):
        assert index.put(run(name, created=created, **more))
    assert [one.name for one in index.of_database("d1")] == ["c", "b", "a"]
    assert [one.name for one in index.of_policy("p1")] == ["b", "a"]
    assert len(index.all()) == 3


def test_stale_news_of_a_finished_run_is_ignored_and_a_changed_label_moves_it() -> None:
    index = FinishedIndex()
    index.put(run("a", 5))
    assert not index.put(run("a", 5))
    assert not index.put(run("a", 4, hold="true"))
    assert index.put(run("a", 6, database_uid="d2", policy_uid="p2"))
    assert (index.of_database("d1"), index.of_policy("p1")) == ([], [])
    assert [one.name for one in index.of_database("d2")] == ["a"]


def test_a_run_created_anew_replaces_the_one_before_and_late_news_of_that_one_is_ignored() -> None:
    index = FinishedIndex()
    index.put(run("a", 5, uid="old"))
    assert index.put(run("a", 9, uid="new"))
    assert not index.put(run("a", 7, uid="old"))
    found = index.get("shop", "a")
    assert found is not None
    assert found.uid == "new"


def test_a_run_that_is_gone_leaves_nothing() -> None:
    index = FinishedIndex()
    index.put(run("a"))
    assert index.drop("shop", "a") == run("a")
    assert index.drop("shop", "a") is None
    assert (index.get("shop", "a"), index.all(), index.of_database("d1"), index.of_policy("p1")) == (None, [], [], [])
