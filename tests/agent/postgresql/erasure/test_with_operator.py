"""From an ErasureRequest to a drill that brings nobody back: the operator's orders, carried out by real agents."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from databosun.api.backuptasks import BackupTask
from databosun.api.lifecycletasks import EraseTask
from databosun.api.request import Request
from databosun.api.restoretasks import DrillTask
from databosun.api.result import Result
from support.erasing import PEOPLE, SUBJECT, Forgetter
from support.objects import approval_of, conditions, database, drill_run, erasure, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, all_done, runs_done
from support.operatorseeds import soon

pytestmark = pytest.mark.servers
RULE = {
    "name": "customers", "table": "public.customers", "column": "email", "action": {"type": "Delete"},
    "allow": {"cascades": ["orders", "lines", "visits"]}, "foreignKeys": "ChildrenFirst",
}  # fmt: skip
LETTERS = {
    "name": "letters", "table": "public.letters", "column": "email",
    "action": {"type": "Anonymize", "columns": [
        {"name": "email", "method": "Fixed", "value": "-"}, {"name": "body", "method": "Null"},
    ]},
}  # fmt: skip
NOBODY = {
    "name": "nobody", "type": "Query", "database": PEOPLE, "operator": "==", "value": "0",
    "query": f"SELECT count(*) FROM customers WHERE email = '{SUBJECT}'",
}  # fmt: skip


def carried_out_by(forgetter: Forgetter) -> Callable[[Request], Result | None]:
    """Agents in earnest. A drill is given the key that people are found by only where its Job mounts one."""

    def script(request: Request) -> Result | None:
        job = request.job
        if isinstance(job, BackupTask):
            return forgetter.yard.back_up(job).result
        if isinstance(job, EraseTask):
            assert {"subject", "erasure"} <= {use.use for use in request.secrets}
            return forgetter.run(job, attempt=request.attempt).result
        if isinstance(job, DrillTask):
            keyed = "erasure" in {use.use for use in request.secrets}
            pod = forgetter.pod() if keyed else forgetter.yard.pod()
            return pod.run(job.model_copy(update={"ordered_at": None}), database=request.database).result
        return None

    return script


async def test_a_restore_after_an_erasure_does_not_bring_the_person_back_and_a_drill_shows_it(
    forgetter: Forgetter,
) -> None:
    rig = Rig(None)
    rig.agents.script = carried_out_by(forgetter)
    drive = Driver(rig)
    key = forgetter.yard.key
    assert key is not None
    age = {"recipients": [key.recipient], "identitySecretRefs": [{"name": "age", "key": "identity"}]}
    keyed = {"keySecretRef": {"name": "erasure", "key": "key"}}
    try:
        await rig.create(storage(encryption={"age": age}, erasure=keyed), database(), policy(cron=soon(rig)))
        await drive.until(all_done(rig, "Succeeded"))
        await rig.create(drill_run("before", rig.clock.now() + HOUR, checks=[NOBODY]))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Failed"))

        await rig.create(erasure("erase-ada", rig.clock.now() + HOUR, database=PEOPLE, rules=[RULE, LETTERS]))

        async def waits() -> bool:
            return bool((await rig.get("ErasureRequest", "erase-ada"))["status"].get("phase") == "AwaitingApproval")

        await drive.until(waits)
        body = await rig.get("ErasureRequest", "erase-ada")
        assert body["status"]["plan"]["rows"] == 3
        assert forgetter.counts()["hers"] == 17
        await rig.create(approval_of(body, rig.clock.now() + HOUR, body["status"]["plan"]["hash"]))
        await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))
        status = (await rig.get("ErasureRequest", "erase-ada"))["status"]
        assert (status["processed"], status["subject"], status["remains"]["backups"]) == (17, forgetter.hashed, 1)
        assert forgetter.counts()["hers"] == 0

        await rig.create(drill_run("after", rig.clock.now() + HOUR, checks=[NOBODY]))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Failed", "Passed"))
        after = (await rig.get("RestoreDrillRun", "after"))["status"]
        results = {one["name"]: one["result"] for one in after["checks"]}
        assert results["erasures"] == results["nobody"] == "Passed"
        assert conditions(await rig.get("Database", "orders"))["Proven"] == ("True", "DrillPassed")

        await rig.edit("BackupStorage", "prod", lambda body: body["spec"].pop("erasure"))
        await rig.create(drill_run("keyless", rig.clock.now() + HOUR))
        await drive.until(runs_done(rig, "RestoreDrillRun", "Failed", "Passed", "Refused"))
        refused = (await rig.get("RestoreDrillRun", "keyless"))["status"]
        assert refused["failure"]["reason"] == "ErasureKeyMissing"
        assert SUBJECT not in str(await rig.everything()).replace(str(NOBODY["query"]), "")
    finally:
        await rig.close()
