"""Evidence can be checked with files alone, and nobody changes it unnoticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.verify import main, verify
from databosun.api.evidence import Evidence
from databosun.domain.sealing import canonical, digest_of
from databosun.storage.manifest import seal
from support.pemkeys import pem_of

KEY = Ed25519PrivateKey.generate()
PUBLIC = pem_of(KEY)[1]
MANIFEST = b'{"schema":1}'


def evidence(**more: Any) -> dict[str, Any]:
    """A record."""
    values: dict[str, Any] = {
        "run": "drill-2",
        "attempt": 1,
        "cluster": "c",
        "storage": "prod",
        "backup": "orders-1",
        "backup_manifest_sha256": digest_of(MANIFEST),
        "verified": True,
        "started_at": "2026-03-01T03:00:00Z",
        "completed_at": "2026-03-01T03:01:00Z",
        "verdict": "Passed",
        "reason": "Passed",
        "message": "5 checks",
        "level_asked": "Deep",
        "level_reached": "Deep",
        "proven": True,
        "until": {"kind": "None"},
        "measured_on": {"storage": "s3", "cpus": 2, "arch": "x86_64", "path": "here"},
        "databosun_version": "0.1.0",
        **more,
    }
    return Evidence.model_validate(values).dump()


def test_what_was_written_is_right() -> None:
    before = seal(evidence(run="drill-1"), KEY)
    data = seal(evidence(previous={"run": "drill-1", "sha256": digest_of(before)}), KEY)
    right, wrong = verify(data, public_key=PUBLIC, manifest=MANIFEST, previous=before)
    assert wrong == []
    assert len(right) == 4
    assert digest_of(data) in right[0]


@pytest.mark.parametrize("change", ["verdict", "spaces", "unsigned", "other key"])
def test_a_change_is_found(change: str) -> None:
    data = seal(evidence(verdict="Failed"), Ed25519PrivateKey.generate() if change == "other key" else KEY)
    if change == "verdict":
        data = data.replace(b'"verdict":"Failed"', b'"verdict":"Passed"')
    if change == "spaces":
        data = json.dumps(json.loads(data), indent=1).encode()
    if change == "unsigned":
        data = canonical({key: value for key, value in json.loads(data).items() if key != "signature"})
    _, wrong = verify(data, public_key=PUBLIC)
    assert wrong


def test_another_manifest_and_a_missing_link_are_found() -> None:
    data = seal(evidence(previous={"run": "drill-1", "sha256": "0" * 64}), KEY)
    assert verify(data, public_key=PUBLIC, manifest=b"another")[1]
    assert verify(data, public_key=PUBLIC, previous=seal(evidence(run="drill-1"), KEY))[1]
    assert verify(seal(evidence(), KEY), previous=b"x")[1]


def test_something_else_is_no_evidence() -> None:
    assert verify(MANIFEST)[1]


def test_the_command_says_it_and_exits_accordingly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, key = tmp_path / "evidence.json", tmp_path / "public.pem"
    file.write_bytes(seal(evidence(), KEY))
    key.write_text(PUBLIC)
    assert main([str(file), "--public-key", str(key)]) == 0
    assert "signed with" in capsys.readouterr().out
    file.write_bytes(file.read_bytes().replace(b"Passed", b"Failed", 1))
    assert main([str(file), "--public-key", str(key)]) == 1
    assert "WRONG" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2


def test_the_published_schema_is_todays(capsys: pytest.CaptureFixture[str]) -> None:
    """A change of it needs a new version, or another optional field: print it with --schema."""
    published = Path(__file__).resolve().parents[3] / "docs/reference/evidence-1.schema.json"
    assert main(["--schema"]) == 0
    assert capsys.readouterr().out == published.read_text()


def test_it_is_a_command_of_databosun(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_bytes(seal(evidence(), None))
    done = subprocess.run(
        [sys.executable, "-m", "databosun", "verify-evidence", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not signed" in done.stdout
