"""The names in the bucket: what is built is parsed, and nothing strange is built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.storage.layout import BackupId, Kind, Layout, Located
from databosun.storage.names import artefact_name, stored_name, volume_name

LAYOUT = Layout("prod", "shop")
FOLDER = LAYOUT.backup("orders", "orders-2603010300-a1b2c")

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
artefacts = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}\.tar(\.zst)?", fullmatch=True)


def test_the_names_are_those_of_the_contract() -> None:
    assert LAYOUT.owner == "prod/shop/databosun.json"
    assert FOLDER.manifest == "prod/shop/orders/backups/orders-2603010300-a1b2c/manifest.json"
    assert FOLDER.restore_doc == "prod/shop/orders/backups/orders-2603010300-a1b2c/RESTORE.md"
    assert FOLDER.hold == "prod/shop/orders/backups/orders-2603010300-a1b2c/hold.json"
    stored = volume_name(stored_name("base.tar.zst", encrypted=True), 0)
    assert FOLDER.stored(1, stored) == f"{FOLDER.root}/a1/base.tar.zst.age.0000"
    assert LAYOUT.log("PostgreSQL", "73123") == "prod/shop/_log/postgresql/73123"


@pytest.mark.parametrize("prefix", ["", "/", "prod", "prod/", "/a/b"])
def test_no_name_begins_or_ends_with_a_slash(prefix: str) -> None:
    root = Layout(prefix, "shop").root
    assert root == root.strip("/")
    assert root.endswith("shop")


@given(
    database=names,
    backup_id=names,
    attempt=st.integers(1, 99),
    name=artefacts,
    volume=st.integers(0, 20_000),
    encrypted=st.booleans(),
)
def test_what_is_built_is_parsed(
    database: str, backup_id: str, attempt: int, name: str, volume: int, encrypted: bool
) -> None:
    folder = LAYOUT.backup(database, backup_id)
    key = folder.stored(attempt, volume_name(stored_name(name, encrypted=encrypted), volume))
    assert LAYOUT.parse(key) == Located(Kind.ARTEFACT, database, BackupId(backup_id), attempt, name, volume)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("prod/shop/databosun.json", Kind.OWNER),
        ("prod/shop/_check/abc", Kind.CHECK),
        ("prod/shop/_log/postgresql/1/000000010000000000000001", Kind.LOG),
        (FOLDER.manifest, Kind.MANIFEST),
        (FOLDER.restore_doc, Kind.RESTORE_DOC),
        (FOLDER.hold, Kind.HOLD),
        (f"{FOLDER.root}/a1/backup_manifest", Kind.ARTEFACT),
        (f"{FOLDER.root}/a0/x", Kind.OTHER),
        (f"{FOLDER.root}/notes.txt", Kind.OTHER),
        ("prod/shop/orders/drills/r1/evidence.json", Kind.OTHER),
        ("prod/shop/_orders/backups/x/manifest.json", Kind.OTHER),
    ],
)
def test_a_key_is_what_its_place_says(key: str, kind: Kind) -> None:
    assert LAYOUT.parse(key).kind is kind


def test_a_key_of_another_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie below prod/shop/"):
        LAYOUT.parse("prod/shopping/databosun.json")


@pytest.mark.parametrize("name", ["", "../x", "a//b", "/a", "a/", ".hidden", "a b", "a\nb", "a/../b"])
def test_strange_artefact_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of an artefact"):
        artefact_name(name)


@pytest.mark.parametrize("name", ["", "_log", "a/b", "..", "Orders", "-a"])
def test_strange_database_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a database"):
        LAYOUT.backup(name, "x")


def test_a_relative_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="relative part"):
        Layout("a/../b", "shop")
