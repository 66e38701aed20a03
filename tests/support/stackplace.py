"""A namespace of a test's own: Databases, BackupStorages, BackupPolicies and Backups in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from databosun.domain.sealing import digest_of
from support.clusterapi import Object
from support.stack import ACCESS_KEY, BUCKET, NAMESPACES, PASSWORD, SECRET_KEY, Stack
from support.waiting import eventually

GROUP = "databosun.io/v1alpha1"
NEVER = "0 0 29 2 *"
PATIENCE = 180.0
LABEL_FINISHED = "databosun.io/finished"
DRILL_RUNS = "restoredrillruns"


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace. `backups` is its storage, `orders-backup` the Secret of a role that may back up."""

    stack: Stack
    namespace: str

    # --- what a person applies

    def furnish(self) -> None:
        """The Secrets and the storage that most tests want."""
        self.stack.purge(self.keys())  # what earlier tests left would be found again
        self.stack.make_namespace(self.namespace)
        self.apply(
            secret("objects", accessKeyId=ACCESS_KEY, secretAccessKey=SECRET_KEY),
            secret("orders-backup", username="backup", password=PASSWORD),
            storage("backups", self.stack.endpoint),
        )

    def apply(self, *objects: Object) -> None:
        """Apply objects here."""
        self.stack.apply(*objects, namespace=self.namespace)

    def offer(self, name: str, *, major: int = 18, database: Object | None = None, **policy_spec: Any) -> None:
        """A Database and a BackupPolicy of that name."""
        host = self.stack.servers[major].host
        self.apply({**database_of(name, host), **(database or {})}, policy(name, **policy_spec))

    def back_up(self, name: str, of: str, **spec: Any) -> None:
        """Ask for a backup by hand."""
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
        finalizers = ["databosun.io/data"] if spec.get("deletionPolicy") == "Delete" else []
        refs = {"policyRef": {"name": of}, "databaseRef": {"name": of}, "notAfter": soon.replace("+00:00", "Z")}
        metadata = {"name": name, "finalizers": finalizers}
        self.apply({"apiVersion": GROUP, "kind": "Backup", "metadata": metadata, "spec": {**refs, **spec}})

    def run_now(self, of: str, token: str) -> str:
        """Ask for a run by annotation; the name of the Backup that answers."""
        before = {one["metadata"]["name"] for one in self.backups()}
        known = f"the policy {of} is known to its Database"
        self.wait(known, lambda: bool(self.status("databases", of).get("policies")))
        annotations = {"metadata": {"annotations": {"databosun.io/run-now": token}}}
        self.stack.api.merge("backuppolicies", self.namespace, of, annotations)
        found: list[str] = []

        def answered() -> bool:
            # By its name: a schedule's own time may come at any moment, too.
            names = {one["metadata"]["name"] for one in self.backups()}
            found[:] = [name for name in names - before if name.startswith(f"{of}-now-")]
            return bool(found)

        self.wait(f"run-now of {of} is answered", answered)
        assert len(found) == 1, found
        return found[0]

    # --- what the operator says

    def backups(self, of: str | None = None) -> list[Object]:
        """Backup objects, by name."""
        found = self.stack.api.list("backups", self.namespace)
        return [one for one in found if of is None or one["spec"]["databaseRef"]["name"] == of]

    def status(self, plural: str, name: str) -> Object:
        """The status of one object; empty where it has none."""
        found = self.stack.api.get(plural, self.namespace, name) or {}
        status: Object = found.get("status", {})
        return status

    def condition(self, plural: str, name: str, kind: str) -> Object:
        """One condition of an object; empty where it has none."""
        found = self.status(plural, name).get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def ready(self, plural: str, name: str) -> None:
        """Wait until it is."""
        what = f"{plural} {self.namespace}/{name} is ready"
        self.wait(what, lambda: self.condition(plural, name, "Ready").get("status") == "True")

    def ended(self, name: str, seconds: float = PATIENCE) -> Object:
        """Wait for a run's final verdict, its Jobs gone; its status."""
        found: list[Object] = []

        def finished() -> bool:
            found[:] = [self.stack.api.read("backups", self.namespace, name)]
            return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

        self.wait(f"Backup {self.namespace}/{name} has a verdict", finished, seconds)
        status: Object = found[0]["status"]
        return status

    def succeeded(self, name: str, seconds: float = PATIENCE) -> Object:
        """Wait for success, with a manifest in the bucket that is the very one in status."""
        status = self.ended(name, seconds)
        assert status["phase"] == "Succeeded", status.get("failure") or status
        key = next(key for key in self.keys() if key.endswith(f"/backups/{name}/manifest.json"))
        assert status["checksum"] == digest_of(self.stack.download(key))
        return status

    def failed(self, name: str, reason: str, *words: str, seconds: float = PATIENCE) -> Object:
        """Wait for a failure of that reason, its message with these words, and nothing taken for a backup."""
        status = self.ended(name, seconds)
        assert status["phase"] == "Failed", status
        failure = status["failure"]
        assert failure["reason"] == reason, failure
        assert all(word in failure["message"] for word in words), failure
        assert "checksum" not in status
        assert self.files(name, "manifest.json") == []
        conditions = {one["type"]: one["status"] for one in status["conditions"]}
        assert (conditions["Ready"], conditions["Stalled"]) == ("False", "True")
        assert f"{reason}" in self.events(name)
        return status

    def verdict(self, name: str, seconds: float = 300) -> Object:
        """Wait for the verdict of a drill; the run's status."""
        found: list[Object] = []

        def ended() -> bool:
            found[:] = [self.stack.api.read(DRILL_RUNS, self.namespace, name)]
            return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

        self.wait(f"the drill {self.namespace}/{name} has a verdict", ended, seconds)
        status: Object = found[0]["status"]
        return status

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait; where it takes too long, say what the namespace looks like."""
        try:
            eventually(what, condition, seconds, pause=0.2)
        except AssertionError as error:
            kinds = "bdb,bst,bpol,bbk,jobs,pods,events"
            found = self.stack.kubectl("get", kinds, "-n", self.namespace, "-o", "wide", check=False)
            error.add_note(f"{found}\n{self.stack.operator_log()}")
            raise

    def events(self, name: str) -> dict[str, str]:
        """Messages of the Events on an object of ours, by reason."""
        found = self.stack.api.list("events", self.namespace)
        return {one["reason"]: one["message"] for one in found if one["involvedObject"]["name"] == name}

    # --- what the agents do

    def jobs(self, run: str, task: str = "backup") -> list[Object]:
        """The Jobs of one Backup."""
        found = self.stack.api.list("jobs", self.namespace, f"databosun.io/task={task}")
        mark = f"Backup/{self.namespace}/{run}"
        return [one for one in found if one["metadata"]["annotations"]["databosun.io/for"] == mark]

    def pods(self, run: str, task: str = "backup") -> list[Object]:
        """The pods of one Backup."""
        found = self.stack.api.list("pods", self.namespace, f"databosun.io/task={task}")
        mark = f"Backup/{self.namespace}/{run}"
        return [one for one in found if one["metadata"]["annotations"]["databosun.io/for"] == mark]

    def running_pod(self, run: str) -> Object:
        """Wait until its agent runs; the pod."""
        found: list[Object] = []

        def runs() -> bool:
            found[:] = [one for one in self.pods(run) if one.get("status", {}).get("phase") == "Running"]
            return bool(found)

        self.wait(f"the agent of {run} runs", runs)
        return found[0]

    # --- what lies in the bucket

    def keys(self) -> list[str]:
        """All of this namespace's keys, whatever prefix a storage puts before them."""
        return [key for key in self.stack.keys("") if _namespace_of(key) == self.namespace]

    def files(self, run: str, name: str = "") -> list[str]:
        """The keys of one backup's folder, below it."""
        mark = f"/backups/{run}/"
        return [
            key.partition(mark)[2] for key in self.keys() if mark in key and key.partition(mark)[2].startswith(name)
        ]

    def document(self, run: str) -> str:
        """Its RESTORE.md."""
        (key,) = (key for key in self.keys() if key.endswith(f"/backups/{run}/RESTORE.md"))
        return self.stack.download(key).decode()

    def manifest(self, run: str) -> Object:
        """Its manifest."""
        (key,) = (key for key in self.keys() if key.endswith(f"/backups/{run}/manifest.json"))
        found: Object = json.loads(self.stack.download(key))
        return found


def _namespace_of(key: str) -> str | None:
    """Behind it stands the name of a Database, which may be that of another namespace."""
    parts = key.split("/")[:2]
    return next((part for part in parts if part.startswith("e2e-") or part in NAMESPACES.values()), None)


def ask_for_drill(place: Place, name: str, of: str, **spec: Any) -> None:
    """Ask for a drill by hand."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"databaseRef": {"name": of}, "level": "Restore", "notAfter": soon, **spec}
    place.apply({"apiVersion": GROUP, "kind": "RestoreDrillRun", "metadata": {"name": name}, "spec": given})


def secret(name: str, **values: str) -> Object:
    """A Secret."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def storage(name: str, endpoint: str, **spec: Any) -> Object:
    """A BackupStorage in the shared bucket."""
    s3 = {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "forcePathStyle": True,
        "credentialsSecretRef": {"name": "objects"},
    }
    spec = {"s3": {**s3, **spec.pop("s3", {})}, "maxConcurrentRuns": 3, **spec}
    return {"apiVersion": GROUP, "kind": "BackupStorage", "metadata": {"name": name}, "spec": spec}


def database_of(name: str, host: str, **spec: Any) -> Object:
    """A Database."""
    connection = {
        "host": host,
        "credentialsSecretRef": {"name": "orders-backup"},
        "tls": {"mode": "Disable"},
        **spec.pop("connection", {}),
    }
    spec = {"engine": "PostgreSQL", "connection": connection, **spec}
    return {"apiVersion": GROUP, "kind": "Database", "metadata": {"name": name}, "spec": spec}


def policy(name: str, **spec: Any) -> Object:
    """A BackupPolicy that starts nothing by itself, tries twice, and keeps everything."""
    given = {
        "databaseRef": {"name": name},
        "storageRef": {"name": "backups"},
        "method": "Physical",
        "schedules": [{"name": "full", "type": "Full", "cron": NEVER}],
        "retries": 1,
        "deadline": "4m",
        "startDeadline": "2m",
        **spec,
    }
    return {"apiVersion": GROUP, "kind": "BackupPolicy", "metadata": {"name": name}, "spec": given}
