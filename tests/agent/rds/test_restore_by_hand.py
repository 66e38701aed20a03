"""RESTORE.md of a backup of RDS: its commands make an instance of that very snapshot."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from agent.rds.conftest import Yard
from support.awscli import install
from support.awsrds import KEYS, PROD_SG, SUBNETS

pytestmark = pytest.mark.servers
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_its_commands_make_an_instance(yard: Yard, tmp_path: Path) -> None:
    yard.account.port = 5432
    yard.good()
    (document,) = yard.place.paths.volume.rglob("RESTORE.md")
    script = "\n".join(_BLOCK.findall(document.read_text()))
    program = install(tmp_path / "bin")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": f"{program}:{os.environ['PATH']}",
            "STORAGE": str(yard.place.paths.volume),
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
            "NEW": "orders-back",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "127.0.0.1\t5432"
    (snapshot,) = yard.snapshots()
    made = yard.account.asked("RestoreDBInstanceFromDBSnapshot")[-1]
    assert made["DBSnapshotIdentifier"] == snapshot["DBSnapshotArn"]
    assert made["VpcSecurityGroupIds.VpcSecurityGroupId.1"] == PROD_SG
    assert made["DBSubnetGroupName"] == SUBNETS
    assert yard.instances() == ["orders", "orders-back"]
