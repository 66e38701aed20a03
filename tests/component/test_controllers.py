"""The controllers against a real API server: what a user applies becomes backups, verdicts and conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from support.cluster import Cluster
from support.operator import Rig, conditions, database, policy, storage

pytestmark = pytest.mark.api


@pytest_asyncio.fixture
async def rig(kinds: Cluster, namespace: str) -> AsyncIterator[Rig]:
    made = Rig(kinds.kubeconfig, namespace)
    yield made
    await made.close()


async def test_a_due_slot_becomes_a_backup_and_the_status_says_so(rig: Rig) -> None:
    await rig.create(storage(), database(), policy(cron="*/10 * * * *"))
    process = await rig.start()

    async def protected() -> bool:
        return conditions(await rig.get("Database", "orders")).get("Protected", ("", ""))[0] == "True"

    await rig.run(process, protected, limit=timedelta(minutes=30))
    (found,) = await rig.objects("Backup")
    print(found, [str(one) for one in process.writes], conditions(await rig.get("BackupPolicy", "nightly")))
    assert found["status"]["phase"] == "Succeeded"
