"""Records are handed over to the byte, each once, whatever the size of a page, and nothing is changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.tasks import records
from databosun.api.recordtasks import ReadRecords
from databosun.api.restoretasks import InquireTask
from databosun.api.v1alpha1.inquiry import MAX_CONTENT, RecordsFound
from databosun.domain.recordpage import unpack
from support.agentrun import Workplace
from support.evidence import Chain, failover

# In a bucket `a-b/` sorts before `a/`: pages must not depend on the store's order.
DATABASES = ["a", "a-b", "b"]


@pytest.fixture
def full(place: Workplace) -> Workplace:
    for name in DATABASES:
        chain = Chain(namespace="shop", database=name)
        for _ in range(3):
            chain.drill(message=f"{name}: größer, 漢字 and \\ud83d\\ude00 {os.urandom(40).hex()}")
        for one in [*chain.found, failover(f"{name}-moved", database=name)]:
            path = place.root / "volume" / one.where.removeprefix("s3://backups/")
            path.parent.mkdir(parents=True)
            path.write_bytes(one.data)
    return place


def ask(place: Workplace, **more: Any) -> RecordsFound:
    ran = place.run(InquireTask(records=ReadRecords(**more)), database=None)
    assert ran.result.records is not None, ran.result
    return ran.result.records


def stored(place: Workplace) -> list[tuple[str, bytes]]:
    found = [
        path for name in DATABASES for path in sorted((place.root / "volume" / "shop" / name).glob("*/*/evidence.json"))
    ]
    return [(f"file://{path}", path.read_bytes()) for path in found]


@pytest.mark.parametrize("size", [100, 1500, 3000, 180 * 1024])
def test_every_record_is_handed_over_once_and_to_the_byte(
    full: Workplace, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(records, "PAGE_BYTES", size)
    got: list[tuple[str, bytes]] = []
    after: str | None = None
    for _ in range(20):
        page = ask(full, after=after)
        pairs = unpack(page.content)
        assert len(pairs) == page.count
        got += pairs
        after = page.next
        if after is None:
            break
    assert got == stored(full)


def test_the_largest_page_fits_its_field(place: Workplace) -> None:
    folder = place.root / "volume" / "shop" / "a" / "drills"
    for number in range(40):
        path = folder / f"r-{number:02}" / "evidence.json"
        path.parent.mkdir(parents=True)
        path.write_text(os.urandom(8000).hex())
    page = ask(place)
    assert page.next is not None
    assert len(page.content) <= MAX_CONTENT
    assert page.count > 10


def test_drills_of_many_databases_are_handed_over_too(full: Workplace) -> None:
    path = full.root / "volume" / "shop" / "_drills" / "whole" / "evidence.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    pairs = unpack(ask(full).content)
    assert pairs == [(f"file://{path}", b"{}"), *stored(full)]
    after = "shop/_drills/whole/evidence.json"
    assert unpack(ask(full, after=after).content) == stored(full)


def test_what_is_no_text_is_left_out_and_counted(full: Workplace) -> None:
    path = full.root / "volume" / "shop" / "b" / "drills" / "spoilt" / "evidence.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe")
    page = ask(full)
    assert (page.count, page.skipped) == (12, 1)


def test_only_one_database_and_only_what_is_young_enough(full: Workplace) -> None:
    assert {pair[0].split("/")[-4] for pair in unpack(ask(full, database="a-b").content)} == {"a-b"}
    old = full.root / "volume" / "shop" / "a" / "drills" / "a-01" / "evidence.json"
    os.utime(old, (0, 0))
    assert ask(full, since=datetime(2020, 1, 1, tzinfo=UTC)).count == 11


def test_nothing_is_changed(full: Workplace) -> None:
    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (full.root / "volume").rglob("*") if path.is_file()}

    before = everything()
    ask(full)
    assert everything() == before


def test_the_record_of_a_restore_is_handed_over_by_its_name(full: Workplace) -> None:
    path = full.root / "volume" / "shop" / "a" / "restores" / "mine" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"kind":"Restore"}')
    assert unpack(ask(full, database="a", restore="mine").content) == [(f"file://{path}", b'{"kind":"Restore"}')]
    for missing in ({"database": "a", "restore": "other"}, {"restore": "mine"}, {"database": "..", "restore": "mine"}):
        ran = full.run(InquireTask(records=ReadRecords(**missing)), database=None)
        assert ran.result.records is None
        assert ran.result.reason == "BadRequest"


@pytest.mark.parametrize("content", ["", "!", "AAAA", "eJw="])
def test_what_is_no_page_is_an_error(content: str) -> None:
    with pytest.raises((ValueError, EOFError)):
        unpack(content)
