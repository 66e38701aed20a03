"""The chart's policies and roles in a real API server, under names and in namespaces of one test run."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chart.rendering import Manifest, Rendered
from support.cluster import Cluster
from support.waiting import eventually

LABEL = "databosun-chart-test"
BACKUPS, APPROVALS, POLICIES = (f"{kind}.databosun.io" for kind in ("backups", "approvals", "backuppolicies"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to a person."""

    done: bool
    said: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """A cluster with the policies; they bind only namespaces that `space` makes."""

    cluster: Cluster
    run: str

    def role(self, name: str) -> str:
        """What the chart's ClusterRole is called in this run."""
        return f"{name}-{self.run}"

    def bring(self, crds: Iterable[Manifest]) -> None:
        """Make our kinds known, and wait until the API server serves them."""
        items = list(crds)
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=as_list(items))
        names = [one["metadata"]["name"] for one in items]
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", *names)

    @contextmanager
    def space(self, name: str) -> Iterator[Space]:
        """A namespace that the policies bind, deleted afterwards."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: self.run}}}
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(body))
        try:
            yield Space(self, name)
        finally:
            self.cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@dataclass(frozen=True, slots=True)
class Space:
    """One namespace in which people act."""

    guarded: Guarded
    namespace: str

    @property
    def environment(self) -> dict[str, str]:
        """That of a shell which uses the cluster."""
        return dict(self.guarded.cluster.environment)

    def admin(self, *arguments: str, input: Any = None) -> str:
        """kubectl as an administrator; must succeed."""
        text = None if input is None else json.dumps(input)
        return self.guarded.cluster.kubectl("--namespace", self.namespace, *arguments, input=text).stdout

    def person(self, user: str, *arguments: str, input: Any = None, groups: tuple[str, ...] = ()) -> Answer:
        """kubectl as somebody else."""
        text = None if input is None else json.dumps(input)
        who = ["--as", user, *(f"--as-group={group}" for group in ("system:authenticated", *groups))]
        done = self.guarded.cluster.kubectl("--namespace", self.namespace, *who, *arguments, input=text, check=False)
        return Answer(done.returncode == 0, done.stdout + done.stderr)

    def let(self, user: str, *roles: str) -> None:
        """Bind ClusterRoles to a user here, and wait until the API server knows: the last one's is asked for."""
        for role in roles:
            name = f"{user}-{role}"
            self.admin("create", "rolebinding", name, f"--clusterrole={role}", f"--user={user}")

    def may(self, user: str, verb: str, resource: str) -> bool:
        """What RBAC says."""
        return self.person(user, "auth", "can-i", verb, resource).done

    def backup(self, name: str, *, labels: dict[str, str] | None = None, hold: dict[str, str] | None = None) -> str:
        """Create a Backup with labels, and with status.hold where that is given; returns its name."""
        metadata = {"name": name, "labels": labels or {}}
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
        spec = {"databaseRef": {"name": "orders"}, "policyRef": {"name": "nightly"}, "notAfter": soon}
        self.admin("create", "-f", "-", input=_object("Backup", metadata, spec))
        if hold is not None:
            patch = json.dumps({"status": {"hold": hold}})
            self.admin("patch", BACKUPS, name, "--subresource=status", "--type=merge", "-p", patch)
        return name

    def policy(self, name: str, *, hold: bool) -> str:
        """Create a BackupPolicy; returns its name."""
        spec = {
            "databaseRef": {"name": "orders"},
            "storageRef": {"name": "prod"},
            "preset": "Production",
            "legalHold": hold,
        }
        self.admin("create", "-f", "-", input=_object("BackupPolicy", {"name": name}, spec))
        return name

    def example(self) -> None:
        """One object of each kind, named as in the documentation."""
        connection = {"host": "orders-rw", "credentialsSecretRef": {"name": "orders-backup"}}
        database = _object("Database", {"name": "orders"}, {"engine": "PostgreSQL", "connection": connection})
        storage = _object("BackupStorage", {"name": "prod"}, {"volume": {"claimName": "backups"}})
        self.admin("create", "-f", "-", input=database)
        self.admin("create", "-f", "-", input=storage)
        self.policy("nightly", hold=False)
        self.backup("orders-1")
        drilled = {"databaseRef": {"name": "orders"}}
        late = {**drilled, "notAfter": "2099-01-01T00:00:00Z"}
        self.admin("create", "-f", "-", input=_object("RestoreDrill", {"name": "orders"}, drilled))
        self.admin("create", "-f", "-", input=_object("RestoreDrillRun", {"name": "orders-1"}, late))
        test = {
            **drilled,
            "probe": {"credentialsSecretRef": {"name": "probe"}},
            "evidence": {"storageRef": {"name": "prod"}},
        }
        self.admin("create", "-f", "-", input=_object("FailoverTest", {"name": "orders"}, test))
        self.admin(
            "create",
            "-f",
            "-",
            input=_object("FailoverTestRun", {"name": "orders-1"}, {**late, "testRef": {"name": "orders"}}),
        )
        rule = {
            "name": "old", "target": {"table": "public.orders"}, "action": {"type": "Delete"},
            "match": {"column": "created_at", "olderThan": "365d"},
        }  # fmt: skip
        old = {**drilled, "storageRef": {"name": "prod"}, "schedule": {"cron": "30 1 * * *"}, "rules": [rule]}
        self.admin("create", "-f", "-", input=_object("LifecyclePolicy", {"name": "old-orders"}, old))

    def there(self, resource: str, name: str) -> bool:
        """Whether the object is there."""
        return bool(self.admin("get", resource, name, "--ignore-not-found", "-o", "name").strip())


def approval(name: str, approved_by: str) -> Manifest:
    """An Approval in somebody's name."""
    spec = {
        "ref": {"kind": "BackupPolicy", "name": "nightly"},
        "planHash": "5d41402abc4b2a76",
        "approvedBy": approved_by,
        "notAfter": "2099-01-01T00:00:00Z",
    }
    return _object("Approval", {"name": name}, spec)


def as_list(items: Iterable[Manifest]) -> str:
    """Several manifests as kubectl reads them at once."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _object(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": "databosun.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def for_one_run(rendered: Rendered, run: str) -> list[Manifest]:
    """The policies, their bindings and the roles for people, renamed, and bound to namespaces of this run."""
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    made = [copy.deepcopy(one) for kind in kinds for one in rendered.all(kind)]
    made += [copy.deepcopy(one) for one in rendered.all("ClusterRole") if one["metadata"]["name"].count("-") == 1]
    for one in made:
        one["metadata"]["name"] += f"-{run}"
        if one["kind"] == "ValidatingAdmissionPolicyBinding":
            one["spec"]["policyName"] += f"-{run}"
            one["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {LABEL: run}}}
    return made


def wait_until_guarded(space: Space) -> None:
    """Return once all three policies are at work: the API server learns of them a moment after they were made."""
    body = approval("forged", "somebody-else")
    space.backup("probe", labels={"databosun.io/hold": "true"})
    space.policy("probe", hold=True)

    def refused(*arguments: str, input: Any = None) -> bool:
        return not space.person("admin", *arguments, "--dry-run=server", input=input, groups=("system:masters",)).done

    eventually("a forged Approval is refused", lambda: refused("create", "-f", "-", input=body))
    eventually("a held Backup stays", lambda: refused("delete", BACKUPS, "probe"))
