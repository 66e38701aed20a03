"""The catalog lists every backup exactly once, whatever the size of a page, and changes nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.tasks import catalog
from databosun.api.backuptasks import CatalogTask
from databosun.api.drill import Level
from databosun.api.result import CatalogPage, CatalogProof
from databosun.api.v1alpha1.backup import ObjectCount
from databosun.storage.manifest import seal
from support.agentrun import Workplace, backup_task
from support.evidence import START, document
from support.fakeengine import FakeEngine
from support.pemkeys import pem_of

# In a bucket `a-b/` sorts before `a/`: pages must not depend on the store's order.
EXPECTED = ["a/a-1", "a/a-2", "a/a-3", "a-b/a-b-1", "a-b/a-b-2", "b/b-1"]


@pytest.fixture
def full(place: Workplace) -> Workplace:
    for name in EXPECTED:
        database, backup_id = name.split("/")
        target = place.request(CatalogTask()).database
        assert target
        place.run(backup_task(backup_id), database=target.model_copy(update={"name": database}))
    return place


def page(place: Workplace, **more: Any) -> CatalogPage:
    found = place.run(CatalogTask(**more), database=None).result.catalog
    assert found is not None
    return found


def all_pages(place: Workplace, limit: int) -> list[list[str]]:
    pages, after = [], None
    while True:
        found = page(place, limit=limit, after=after)
        pages.append([f"{entry.database}/{entry.id}" for entry in found.entries])
        after = found.next
        if after is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 500])
def test_every_backup_is_listed_once(full: Workplace, limit: int) -> None:
    pages = all_pages(full, limit)
    assert [name for one in pages for name in one] == EXPECTED
    assert [len(one) for one in pages[:-1]] == [limit] * (len(pages) - 1)


def test_an_entry_carries_what_a_backup_object_shows(full: Workplace) -> None:
    entry = page(full, limit=1).entries[0]
    path = full.root / "volume" / "shop" / "a" / "backups" / "a-1" / "manifest.json"
    written = json.loads(path.read_bytes())
    assert entry.manifest["location"] == path.parent.as_uri()
    assert entry.manifest["objectCount"] == 1
    for name in (
        "id",
        "type",
        "method",
        "position",
        "completedAt",
        "logicalBytes",
        "storedBytes",
        "database",
        "policyUid",
    ):
        assert entry.manifest[name] == written[name]
    assert "artefacts" not in entry.manifest


def test_pages_end_before_the_result_is_too_long(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = tuple(ObjectCount(name=f"public.{'t' * 80}{number}", rows=1) for number in range(2000))
    for number in range(4):
        place.run(backup_task(f"orders-{number}"), engine=FakeEngine(objects=objects))
    monkeypatch.setattr(catalog, "PAGE_BYTES", 16_000)
    pages = all_pages(place, 500)
    assert [name for one in pages for name in one] == [f"orders/orders-{number}" for number in range(4)]
    assert len(pages) > 1
    assert page(place).entries[0].manifest["objectCount"] == 2000


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema": 9}', b"\xff\xfe"])
def test_what_is_no_manifest_is_passed_over_with_a_warning(full: Workplace, data: bytes) -> None:
    path = full.root / "volume" / "shop" / "a" / "backups" / "a-2" / "manifest.json"
    path.write_bytes(data)
    ran = full.run(CatalogTask())
    assert ran.result.catalog
    assert [entry.id for entry in ran.result.catalog.entries] == ["a-1", "a-3", "a-b-1", "a-b-2", "b-1"]
    assert any(line["event"] == "not a backup" and "a-2" in line["key"] for line in ran.lines)


def test_folders_of_other_people_are_passed_over(full: Workplace) -> None:
    for name in ("My Stuff/backups/x", "a/backups/Old Ones", "_own/backups/x", "a/backups/.hidden"):
        path = full.root / "volume" / "shop" / name / "manifest.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")
    assert [name for one in all_pages(full, 500) for name in one] == EXPECTED


def test_only_a_signed_manifest_is_verified(place: Workplace) -> None:
    place.run(backup_task("orders-unsigned"))
    private, public = pem_of(Ed25519PrivateKey.generate())
    place.secrets["signing"] = {"key": private.decode()}
    place.storage |= {"signed": True, "public_key": public}
    place.run(backup_task("orders-signed"))
    assert {entry.id: entry.verified for entry in page(place).entries} == {
        "orders-signed": True,
        "orders-unsigned": False,
    }


def test_what_was_proven_is_read_from_signed_evidence_alone(place: Workplace) -> None:
    """The deepest look counts, then the newest; nothing unsigned, of another manifest, or moved does."""
    key = Ed25519PrivateKey.generate()
    private, public = pem_of(key)
    place.secrets["signing"] = {"key": private.decode()}
    place.storage |= {"signed": True, "public_key": public}
    place.run(backup_task("orders-1"))
    place.run(backup_task("orders-2"))
    digest = page(place).entries[0].manifest_sha256

    def write(run: str, *, by: Ed25519PrivateKey | None = key, under: str | None = None, **more: Any) -> None:
        path = place.root / "volume" / "shop" / "orders" / "drills" / (under or run) / "evidence.json"
        path.parent.mkdir(parents=True)
        about = {"backup": "orders-1", "backup_manifest_sha256": digest, **more}
        path.write_bytes(seal(document(run, **{"at": START, **about}), by))

    assert [entry.proof for entry in page(place).entries] == [None, None]
    write("unsigned", by=None)
    write("foreign", by=Ed25519PrivateKey.generate())
    write("moved", under="elsewhere")
    write("other-manifest", backup_manifest_sha256="b" * 64)
    write("failed", verdict="Failed")
    (place.root / "volume" / "shop" / "orders" / "drills" / "broken").mkdir()
    (place.root / "volume" / "shop" / "orders" / "drills" / "broken" / "evidence.json").write_bytes(b"{}")
    assert [entry.proof for entry in page(place).entries] == [None, None]
    write("early", level_reached="Restore")
    write("late", level_reached="Restore", at=START + timedelta(days=1))
    found = page(place).entries
    assert found[0].proof == CatalogProof(level=Level.RESTORE, at=START + timedelta(days=1), run="late")
    assert found[1].proof is None
    write("deep", at=START - timedelta(days=9))
    assert (proof := page(place).entries[0].proof) is not None
    assert proof.run == "deep"


def test_another_cluster_may_read(full: Workplace) -> None:
    full.storage["cluster_id"] = "cluster-two"
    assert len(page(full).entries) == len(EXPECTED)


def test_an_empty_store_has_an_empty_catalog(place: Workplace) -> None:
    assert page(place) == CatalogPage(entries=[], next=None)
    assert list(Path(place.root / "volume").iterdir()) == []
