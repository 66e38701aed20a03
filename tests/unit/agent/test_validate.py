"""Validation says what a store cannot, before a backup relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.tasks.validate import check_store, count
from databosun.api.backuptasks import ValidateTask
from databosun.api.result import Outcome
from databosun.api.targets import Immutable
from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.layout import Layout
from databosun.storage.port import ObjectInfo, Undeleted
from databosun.storage.volume import VolumeStore
from support.agekeys import make_age_key
from support.agentrun import Workplace, backup_task

LAYOUT = Layout("", "shop")


def test_a_good_store_is_claimed_and_counted_and_left_clean(place: Workplace) -> None:
    place.run(backup_task())
    ran = place.run(ValidateTask(), database=None, secrets=[])
    assert (ran.code, ran.summary.reason) == (0, "Succeeded")
    assert ran.result.storage
    files = [path for path in (place.root / "volume" / "shop").rglob("*") if path.is_file()]
    assert ran.result.storage.owner == "cluster-one"
    assert ran.result.storage.objects == len(files) == 5
    assert ran.result.storage.bytes == sum(path.stat().st_size for path in files)


def test_an_adopted_folder_is_said_to_be(place: Workplace) -> None:
    place.run(ValidateTask())
    place.storage |= {"cluster_id": "cluster-two", "adopt_from": "cluster-one"}
    ran = place.run(ValidateTask())
    assert ran.result.storage
    assert (ran.result.storage.owner, ran.result.storage.adopted) == ("cluster-two", True)


class Overwrites(VolumeStore):
    def put(self, key: str, data: bytes, *, if_absent: bool = False, **more: Any) -> None:
        super().put(key, data, **more)


class Forgets(VolumeStore):
    def put(self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, **more: Any) -> None:
        super().put(key, data, **more)


class Garbles(VolumeStore):
    def get(self, key: str, *, limit: int) -> bytes:
        return super().get(key, limit=limit)[::-1]


class Hides(VolumeStore):
    def list(self, prefix: str, *, after: str | None = None) -> Any:
        return iter(())


class Keeps(VolumeStore):
    def delete(self, keys: Any) -> tuple[Undeleted, ...]:
        return tuple(Undeleted(key, f"no right to delete {key}") for key in keys)


class Pretends(VolumeStore):
    def delete(self, keys: Any) -> tuple[Undeleted, ...]:
        return ()


@pytest.mark.parametrize(
    ("kind", "fault", "said"),
    [
        (Overwrites, UserFault, "StorageNotConditional: .* ignores `If-None-Match"),
        (Forgets, WorldFault, "lost its user metadata"),
        (Garbles, WorldFault, "read back other than it was written"),
        (Hides, WorldFault, "is not listed"),
        (Keeps, UserFault, "StorageAccessDenied: no right to delete"),
        (Pretends, WorldFault, "still there after it was deleted"),
    ],
)
def test_a_store_that_cannot_is_found_out(
    tmp_path: Path, kind: type[VolumeStore], fault: type[Exception], said: str
) -> None:
    with pytest.raises(fault, match=said):
        check_store(kind(tmp_path), LAYOUT, "abcdef0123456789")


def test_a_folder_has_no_object_lock(place: Workplace) -> None:
    place.storage["immutable"] = Immutable(mode="Compliance", seconds=60)
    ran = place.run(ValidateTask())
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ObjectLockUnsupported")
    assert "drop spec.immutability" in ran.summary.message


def test_a_recipient_that_age_refuses_is_found_before_a_backup_needs_it(place: Workplace, tmp_path: Path) -> None:
    place.storage["age_recipients"] = [make_age_key(tmp_path).recipient, "age1nonsense"]
    ran = place.run(ValidateTask())
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "EncryptionRecipientInvalid")


def test_counting_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VolumeStore(tmp_path)
    store.put("a/b", b"xyz")
    (one,) = store.list("a")
    monkeypatch.setattr(VolumeStore, "list", lambda *_: iter([one] * 5000))
    clock = numbers(0.0, 25.0)
    assert count(store, "a", monotonic=lambda: next(clock)) == (3000, 9000, False)
    assert count(store, "a", seconds=1e9) == (5000, 15000, True)
    assert isinstance(one, ObjectInfo)
