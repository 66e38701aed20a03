"""Evidence can be checked with files alone, and nobody changes it unnoticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.verify import Beside, main, verify
from databosun.api.evidence import Evidence, JointEvidence
from databosun.domain.sealing import canonical, digest_of
from databosun.storage.manifest import seal
from support.evidence import failover
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
    right, wrong = verify(data, public_key=PUBLIC, beside=Beside(MANIFEST, before))
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
    assert verify(data, public_key=PUBLIC, beside=Beside(manifest=b"another"))[1]
    assert verify(data, public_key=PUBLIC, beside=Beside(previous=seal(evidence(run="drill-1"), KEY)))[1]
    assert verify(seal(evidence(), KEY), beside=Beside(previous=b"x"))[1]


def test_a_failover_test_is_verified_too() -> None:
    data = seal(json.loads(failover().data), KEY)
    right, wrong = verify(data, public_key=PUBLIC)
    assert not wrong
    assert "failover test orders-moved" in right[0]
    assert "Passed (Passed), database shop/orders" in right[0]
    assert verify(data.replace(b'"lost":0', b'"lost":9'), public_key=PUBLIC)[1]
    assert verify(data, beside=Beside(previous=b"x"))[1]
    assert "no evidence of a failover test" in verify(b'{"kind": "Failover"}')[1][0]


def test_something_else_is_no_evidence() -> None:
    assert verify(MANIFEST)[1]
    assert verify(b"[]")[1]
    assert verify(b"no JSON")[1]


def joint(*members: bytes, **more: Any) -> dict[str, Any]:
    """A record of a joint drill of these members."""
    values: dict[str, Any] = {
        "run": "all-1",
        "attempt": 1,
        "cluster": "c",
        "storage": "prod",
        "namespace": "shop",
        "started_at": "2026-03-01T03:00:00Z",
        "completed_at": "2026-03-01T03:09:00Z",
        "verdict": "Passed",
        "reason": "Passed",
        "message": "all were restored",
        "groups": [{"started_at": "2026-03-01T03:00:00Z", "seconds": 90.0}],
        "members": [
            {
                "database": f"d{number}",
                "group": 1,
                "run": json.loads(member)["run"],
                "verdict": "Passed",
                "reason": "Passed",
                "evidence_sha256": digest_of(member),
            }
            for number, member in enumerate(members)
        ],
        "databosun_version": "0.1.0",
        **more,
    }
    return JointEvidence.model_validate(values).dump()


def test_a_joint_drill_vouches_for_the_evidence_of_each_member() -> None:
    one, two = seal(evidence(run="a"), KEY), seal(evidence(run="b"), KEY)
    data = seal(joint(one, two), KEY)
    right, wrong = verify(data, public_key=PUBLIC, beside=Beside(members=(one, two)))
    assert wrong == []
    assert "databases d0, d1" in right[0]
    changed = seal(evidence(run="b", verdict="Failed"), KEY)
    assert verify(data, public_key=PUBLIC, beside=Beside(members=(one, changed)))[1]
    assert verify(data, beside=Beside(members=(seal(evidence(run="c"), KEY),)))[1]
    assert verify(data, beside=Beside(members=(data,)))[1]
    assert verify(one, beside=Beside(members=(two,)))[1]
    assert verify(data.replace(b'"verdict":"Passed"', b'"verdict":"Failed"', 1), public_key=PUBLIC)[1]


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


@pytest.mark.parametrize(("kind", "name"), [("drill", "evidence"), ("joint", "joint-evidence")])
def test_the_published_schema_is_todays(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A change of it needs a new version, or another optional field: print it with --schema."""
    published = Path(__file__).resolve().parents[3] / f"docs/reference/{name}-1.schema.json"
    assert main(["--schema", kind]) == 0
    assert capsys.readouterr().out == published.read_text()


def test_it_is_a_command_of_databosun(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_bytes(seal(evidence(), None))
    done = subprocess.run(
        [sys.executable, "-m", "databosun", "verify-evidence", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not signed" in done.stdout
