"""Archivers on an API server: the Deployment is one that it takes, is changed in place, and goes with its slot."""

from __future__ import annotations

from typing import Any

from databosun.domain.plan import FINALIZER_SLOT
from databosun.kube.resources import Object
from support.archiversim import SYSTEM
from support.objects import conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import MINUTE, Driver

NAME = f"archiver-{SYSTEM}"


async def _archiving(rig: Rig) -> bool:
    body = await rig.get("Database", "orders")
    return conditions(body).get("ContinuousHealthy") == ("True", "Archiving") and not await rig.objects("Job")


def _lag(body: Object) -> Any:
    (annotation,) = (
        text
        for name, text in body["spec"]["template"]["metadata"]["annotations"].items()
        if name == "databosun.io/request"
    )
    return annotation.partition('"maxLagSeconds":')[2].partition(",")[0]


async def test_an_archiver_is_made_changed_and_ended(rig: Rig) -> None:
    drive = Driver(rig)
    template = {"nodeSelector": {"disk": "fast"}, "labels": {"team": "shop"}}
    continuous = {"enabled": True, "maxLag": "1m"}
    await rig.create(storage(), database(), policy(continuous=continuous, podTemplate=template))
    await drive.until(lambda: _archiving(rig))
    made = await rig.get("Deployment", NAME)
    assert _lag(made) == "60.0"
    pod = made["spec"]["template"]
    assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Database"

    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["continuous"].update(maxLag="2m"))
    await drive.idle(2 * MINUTE)
    changed = await rig.get("Deployment", NAME)
    assert _lag(changed) == "120.0"
    assert changed["metadata"]["uid"] == made["metadata"]["uid"], "changed in place"
    await drive.until(lambda: _archiving(rig))

    await rig.delete("BackupPolicy", "nightly")

    async def over() -> bool:
        body = await rig.get("Database", "orders")
        return "archiver" not in body["status"] and not await rig.objects("Job")

    await drive.until(over)
    assert not await rig.objects("Deployment")
    assert rig.agents.archivers.source.slots == set()
    assert FINALIZER_SLOT not in (await rig.get("Database", "orders"))["metadata"].get("finalizers", [])


async def test_what_the_api_server_refuses_is_the_archivers_health_and_backups_go_on(rig: Rig) -> None:
    """A selector of another making under the same name: no update of ours is taken."""
    drive = Driver(rig)
    labels = {"mine": "yes"}
    container = {"name": "x", "image": "x"}
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    await rig.create(foreign)
    await rig.create(storage(), database(), policy(continuous={"enabled": True, "maxLag": "1m"}, cron="*/10 * * * *"))
    await drive.idle(15 * MINUTE)
    body = await rig.get("Database", "orders")
    assert conditions(body)["ContinuousHealthy"] == ("False", "NameTaken")
    assert conditions(body)["Ready"][0] == "True"
    phases = {one["status"]["phase"] for one in await rig.objects("Backup")}
    assert phases == {"Succeeded"}, "one or two slots are due in a quarter of an hour, whenever it begins"
    assert (await rig.get("Deployment", NAME))["metadata"].get("labels", {}) == {}
