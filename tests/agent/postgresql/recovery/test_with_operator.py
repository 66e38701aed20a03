"""The operator's orders carried out by real agents on a real server: what one says the other understands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.api.backuptasks import BackupTask
from databosun.api.request import Request
from databosun.api.restoretasks import DrillTask, RestoreTask
from databosun.api.result import Result
from support.agekeys import make_age_key
from support.objects import conditions, database, drill, drill_run, policy, restore, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, all_done, runs_done
from support.operatorseeds import soon
from support.recoveryyard import Yard

pytestmark = pytest.mark.servers


def carried_out_in(yard: Yard) -> Callable[[Request], Result | None]:
    """Agents that do in earnest what they are told; the cluster's clock is the test's, so no order is compared with
    theirs."""

    def script(request: Request) -> Result | None:
        job = request.job
        if isinstance(job, BackupTask):
            return yard.back_up(job).result
        if isinstance(job, DrillTask):
            job = job.model_copy(update={"ordered_at": None})
        elif not isinstance(job, RestoreTask):
            return None
        identities = {use.use for use in request.secrets if use.use.startswith("age-")}
        assert identities == {"age-0"}
        return yard.pod().run(job, database=request.database).result

    return script


@pytest.fixture
def yard(yard_of: Callable[..., Yard], workplace: Path) -> Yard:
    return yard_of(18, key=make_age_key(workplace))


async def test_a_backup_is_taken_drilled_and_restored(yard: Yard) -> None:
    rig = Rig(None)
    rig.agents.script = carried_out_in(yard)
    drive = Driver(rig)
    assert yard.key is not None
    age = {"recipients": [yard.key.recipient], "identitySecretRefs": [{"name": "age", "key": "identity"}]}
    rows = {"name": "rows", "type": "RowCount", "database": "shop", "table": "customers", "min": 2000, "max": 2000}
    try:
        await rig.create(storage(encryption={"age": age}), database(), policy(cron=soon(rig)))
        await drive.until(all_done(rig, "Succeeded"))
        await rig.create(drill(cron=soon(rig), level="Deep", checks=[rows], negativeControl={"everyNRuns": 1}))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
        (run,) = await rig.objects("RestoreDrillRun")
        (backup,) = await rig.objects("Backup")
        found = {one["name"]: one["result"] for one in run["status"]["checks"]}
        assert found["rows"] == found["negative-control"] == "Passed"
        assert (run["status"]["levelReached"], run["status"]["proven"]) == ("Deep", True)
        assert run["status"]["rto"]["milliseconds"] > 0
        assert backup["status"]["proven"]["run"] == run["metadata"]["name"]
        assert conditions(await rig.get("Database", "orders"))["Proven"] == ("True", "DrillPassed")

        await rig.create(restore("back", rig.clock.now() + HOUR, checks=[rows]))
        await drive.until(runs_done(rig, "Restore", "Succeeded"))
        status = (await rig.get("Restore", "back"))["status"]
        assert status["backup"] == backup["metadata"]["name"]
        assert status["handOver"]
        assert status["record"]["uri"].endswith("restores/back/result.json")
    finally:
        await rig.close()


async def test_a_wrong_check_and_a_damaged_backup_each_fail_by_their_own_reason(yard: Yard) -> None:
    rig = Rig(None)
    rig.agents.script = carried_out_in(yard)
    drive = Driver(rig)
    assert yard.key is not None
    age = {"recipients": [yard.key.recipient], "identitySecretRefs": [{"name": "age", "key": "identity"}]}
    many = {"name": "rows", "type": "RowCount", "database": "shop", "table": "customers", "min": 2001}
    try:
        await rig.create(storage(encryption={"age": age}), database(), policy(cron=soon(rig)))
        await drive.until(all_done(rig, "Succeeded"))
        await rig.create(drill_run("emptied", rig.clock.now() + HOUR, checks=[many]))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Failed"))
        (backup,) = await rig.objects("Backup")
        for path in yard.place.paths.volume.rglob("manifest.json"):
            path.write_text(path.read_text().replace('"attempt"', ' "attempt"', 1))
        await rig.create(drill_run("forged", rig.clock.now() + HOUR))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Failed", "Failed"))
        reasons = {
            body["metadata"]["name"]: body["status"]["failure"]["reason"]
            for body in await rig.objects("RestoreDrillRun")
        }
        assert reasons == {"emptied": "RowCountWrong", "forged": "ManifestForged"}
        assert "proven" not in backup["status"]
        assert conditions(await rig.get("Database", "orders"))["Proven"] == ("False", "DrillFailed")
    finally:
        await rig.close()
