"""RESTORE.md of a bucket: its commands, run as they stand, fetch, check, decrypt and join a chain."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from databosun.api.result import Outcome
from support.agekeys import make_age_key
from support.agentrun import Workplace, backup_task, child_of
from support.awscli import install
from support.fakeengine import FakeEngine, stream_of
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

pytestmark = pytest.mark.servers
FULL, INCR = "orders-a", "orders-b"
ARTEFACTS = {"base.tar.zst": 3_000_000, "dump/3456.dat.zst": 10}


@pytest.mark.parametrize("encrypted", [False, True])
def test_followed_to_the_letter_it_brings_every_artefact_back(
    weed: Seaweed, tmp_path: Path, *, encrypted: bool
) -> None:
    bucket = weed.bucket()
    place = Workplace(tmp_path / "pod", s3=weed.target(bucket))
    place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    key = make_age_key(tmp_path)
    if encrypted:
        place.storage["age_recipients"] = [key.recipient]
    full = place.run(backup_task(FULL), engine=FakeEngine(artefacts=ARTEFACTS))
    incr = place.run(child_of(full, INCR), engine=FakeEngine(artefacts=ARTEFACTS))
    assert incr.summary.outcome is Outcome.SUCCEEDED
    document = f"prod/shop/orders/backups/{INCR}/RESTORE.md"
    text = weed.client.get_object(Bucket=bucket, Key=document)["Body"].read().decode()
    work = tmp_path / "work"
    work.mkdir()
    (work / "follow.sh").write_text("\n".join(re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)))
    env = {
        "PATH": f"{install(tmp_path / 'bin')}:{os.environ['PATH']}",
        "HOME": str(work),
        "AGE_IDENTITY": str(key.identity),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    done = subprocess.run(["bash", "follow.sh"], cwd=work, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for backup_id in (FULL, INCR):
        for name, size in ARTEFACTS.items():
            assert (work / backup_id / name).read_bytes() == b"".join(stream_of(name, size))
