"""Backups that the operator had taken restore by the very words of their RESTORE.md, with standard tools alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.agekeys import AgeKey, make_age_key
from support.pgsample import content
from support.pgserver import bin_dir, hand_over, open_folder
from support.restoredoc import followed
from support.stack import ACCESS_KEY, PASSWORD, SECRET_KEY
from support.stackplace import NEVER, Place, storage

pytestmark = pytest.mark.e2e

Content = dict[str, tuple[int, str]]
SCHEDULES = [
    {"name": "full", "type": "Full", "cron": NEVER},
    {"name": "incr", "type": "Incremental", "cron": NEVER},
]
LEDGER = "ledger"


@dataclass(slots=True)
class Taken:
    """Backups in the bucket, and what the servers held when they were taken."""

    place: Place
    key: AgeKey
    held: dict[str, dict[str, Content]] = field(default_factory=dict)

    def note(self, backup: str, major: int, *databases: str) -> None:
        """Remember what the server holds right now."""
        self.held[backup] = {}
        for name in databases:
            with self.place.stack.servers[major].connect(name) as connection:
                self.held[backup][name] = content(connection)

    def restore(self, backup: str, major: int) -> tuple[str, dict[str, Content]]:
        """Follow the document in an empty folder: what was said, and what the copy holds."""
        document = self.place.document(backup)
        assert PASSWORD not in document
        folder = open_folder("by-hand")
        try:
            shutil.copy(self.key.identity, folder / "age-identity.txt")
            hand_over(folder)
            with followed(document, folder, bin_dir(major), **_credentials(folder)) as copy:
                restored = {}
                for name in self.held[backup]:
                    with copy.connect(name) as connection:
                        restored[name] = content(connection)
                return copy.output, restored
        finally:
            shutil.rmtree(folder)


def _credentials(folder: Path) -> dict[str, str]:
    """What a person sets before the first command; the folder is their home."""
    system = ":".join(part for part in os.environ["PATH"].split(":") if not part.startswith("/root"))
    return {"PATH": system, "HOME": str(folder), "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@pytest.fixture(scope="module")
def taken(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    """One backup of each kind; the chain's ledger grows before each of its members."""
    taken = Taken(place, make_age_key(tmp_path_factory.mktemp("age")))
    server = place.stack.servers[18]
    encryption = {"age": {"recipients": [taken.key.recipient]}}
    place.apply(storage("sealed", place.stack.endpoint, s3={"prefix": "sealed"}, encryption=encryption))
    place.offer("plain", major=15)
    place.offer("dump", major=15, method="Logical", storageRef={"name": "sealed"})
    place.offer("chain", major=18, storageRef={"name": "sealed"}, schedules=SCHEDULES)
    taken.note("plain-1", 15, "shop", "postgres")
    taken.note("dump-1", 15, "shop", "postgres")
    place.back_up("plain-1", "plain")
    place.back_up("dump-1", "dump")
    server.sql(f"CREATE DATABASE {LEDGER}")
    server.sql("CREATE TABLE entries (i int, what text)", LEDGER)
    for number in (1, 2, 3):
        server.sql(f"INSERT INTO entries SELECT i, 'round {number}' FROM generate_series(1, 500) AS i", LEDGER)
        server.sql(f"UPDATE on_fast SET i = -i WHERE abs(i) < {10 * number}", "shop")
        taken.note(f"chain-{number}", 18, "shop", LEDGER)
        place.back_up(f"chain-{number}", "chain", type="Full" if number == 1 else "Incremental")
        place.succeeded(f"chain-{number}")
    yield taken
    server.sql(f"DROP DATABASE {LEDGER} (FORCE)")


def test_physical_plain_on_15(taken: Taken) -> None:
    taken.place.succeeded("plain-1")
    _, restored = taken.restore("plain-1", 15)
    assert restored == taken.held["plain-1"]
    assert restored["shop"]["public.customers"][0] == 2000


def test_physical_encrypted_on_18_with_a_tablespace(taken: Taken) -> None:
    manifest = taken.place.manifest("chain-1")
    names = [part["name"] for one in manifest["artefacts"] for part in one["parts"] if one.get("encryption")]
    assert names
    assert all(".age" in name for name in names)
    assert len(manifest["environment"]["tablespaces"]) == 1
    _, restored = taken.restore("chain-1", 18)
    assert restored == taken.held["chain-1"]
    assert restored["shop"]["public.on_fast"][0] == 3000
    assert restored[LEDGER]["public.entries"][0] == 500


def test_an_incremental_chain_on_18(taken: Taken) -> None:
    status = taken.place.status("backups", "chain-3")
    assert (status["type"], status["parent"], status["base"]) == ("Incremental", "chain-2", "chain-1")
    said, restored = taken.restore("chain-3", 18)
    assert "backup successfully verified" in said
    assert restored == taken.held["chain-3"]
    assert restored[LEDGER]["public.entries"][0] == 1500


def test_logical_encrypted_on_15(taken: Taken) -> None:
    taken.place.succeeded("dump-1")
    said, restored = taken.restore("dump-1", 15)
    assert "all tables equal" in said
    assert restored == taken.held["dump-1"]
