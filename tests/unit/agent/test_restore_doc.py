"""RESTORE.md: its commands, run as they stand, bring back the engine's artefacts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from databosun.agent import pipeline
from databosun.api.result import Outcome
from support.agekeys import AgeKey, make_age_key
from support.agentrun import Workplace, backup_task, child_of
from support.fakeengine import FakeEngine, stream_of

FULL, INCR = "orders-a", "orders-b"
ARTEFACTS = {"base.tar.zst": 3_000_000, "dump/3456.dat": 10, "dump/deep/toc.dat": 1_500_000}


def follow(document: str, folder: Path, place: Workplace, key: AgeKey | None) -> subprocess.CompletedProcess[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    script = folder / "follow.sh"
    script.write_text("\n".join(blocks))
    env = {"PATH": os.environ["PATH"], "STORAGE": str(place.root / "volume"), "HOME": str(folder)}
    if key:
        env["AGE_IDENTITY"] = str(key.identity)
    return subprocess.run(["bash", script.name], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("encrypted", [False, True])
def test_followed_to_the_letter_it_brings_every_artefact_of_the_chain_back(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    key = make_age_key(tmp_path) if encrypted else None
    if key:
        place.storage["age_recipients"] = [key.recipient]
    monkeypatch.setattr(pipeline.Lane, "__init__", _with_small_volumes(pipeline.Lane))
    full = place.run(backup_task(FULL), engine=FakeEngine(artefacts=ARTEFACTS))
    incr = place.run(child_of(full, INCR), engine=FakeEngine(artefacts=ARTEFACTS))
    assert incr.summary.outcome is Outcome.SUCCEEDED
    backup = place.root / "volume" / "shop" / "orders" / "backups" / INCR
    assert len([path for path in (backup / "a1").iterdir() if path.name.startswith("base.tar.zst")]) == 4 - (
        not encrypted
    )
    work = tmp_path / "work"
    work.mkdir()
    done = follow((backup / "RESTORE.md").read_text(), work, place, key)
    assert done.returncode == 0, done.stderr
    for backup_id in (FULL, INCR):
        for name, size in ARTEFACTS.items():
            assert (work / backup_id / name).read_bytes() == b"".join(stream_of(name, size))
        assert (work / backup_id / "backup_manifest").read_bytes() == b'{"files": []}'


def _with_small_volumes(lane: type[pipeline.Lane]) -> object:
    made = lane.__init__

    def small(self: pipeline.Lane, **values: object) -> None:
        made(self, **{**values, "volume_bytes": 1_000_000})  # type: ignore[arg-type]  # the values of its own fields

    return small


def test_a_damaged_volume_stops_the_restore(place: Workplace, tmp_path: Path) -> None:
    place.run(backup_task(FULL))
    backup = place.root / "volume" / "shop" / "orders" / "backups" / FULL
    path = backup / "a1" / "base.tar.zst.0000"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    done = follow((backup / "RESTORE.md").read_text(), tmp_path, place, None)
    assert done.returncode != 0
    assert "base.tar.zst.0000" in done.stdout + done.stderr
    assert not (tmp_path / FULL / "base.tar.zst").exists()


def test_it_says_what_it_is_and_holds_the_engine_s_part(place: Workplace) -> None:
    place.run(backup_task(FULL))
    text = (place.root / "volume" / "shop" / "orders" / "backups" / FULL / "RESTORE.md").read_text()
    assert text.startswith(f"# Restore {FULL} by hand")
    assert f"Chain of 1, this one is {FULL}." in text
    assert "PostgreSQL 17.1" in text
    assert "age" not in re.findall(r"\w+", text)
