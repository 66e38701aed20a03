"""An AWS account with an instance whose endpoint is a real PostgreSQL, and agents that back it up and drill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from databosun.agent import main
from databosun.api.backuptasks import BackupTask, DeleteTask, ManagedLook, ProbeTask
from databosun.api.drill import Level
from databosun.api.request import Task
from databosun.api.restoretasks import BackupRef, DrillTask
from databosun.api.result import DeletedBackup, Outcome
from databosun.api.targets import CopyTarget, DatabaseTarget, DrillPlace, RDSTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.rds import cloud as api
from databosun.engines.rds.engine import RDS
from support.agentrun import CLUSTER, NAMESPACE, UID, Ran, Workplace, backup_task
from support.awsrds import DRILL_SG, GROUP, KEYS, OTHER_REGION, REGION, SUBNETS, Account, aws, production
from support.fakeengine import FakeEngine
from support.pgsample import BACKUP_ROLE, fill
from support.pgserver import PASSWORD, Server

PLACE = DrillPlace(parameter_group=GROUP, subnet_group=SUBNETS, security_group_ids=[DRILL_SG])


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client itself tries twice, not four times with growing pauses, and the deadline is looked at at once."""
    monkeypatch.setattr(api, "ATTEMPTS", 2)
    monkeypatch.setattr(main, "LOOK_SECONDS", 0.05)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Account]:
    """The API; every test has the account for itself."""
    with aws() as account:
        yield account


@pytest.fixture
def account(cloud: Account) -> Iterator[Account]:
    """An account with one instance."""
    cloud.reset()
    cloud.port = 1
    production(cloud)
    yield cloud
    cloud.hook = None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What every instance's endpoint leads to."""
    made = Server(15)
    made.init("--wal-segsize=4")
    made.configure()
    made.start()
    fill(made)
    yield made
    made.remove()


@dataclass
class Yard:
    """One Database of engine RDS, one store, and its agents."""

    account: Account
    place: Workplace
    rds: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place.secrets["cloud"] = {"accessKeyId": KEYS[0], "secretAccessKey": KEYS[1]}
        self.place.secrets["database"] = {"username": BACKUP_ROLE, "password": PASSWORD}

    def target(self) -> DatabaseTarget:
        """As the operator would say it."""
        rds = {
            "instance": "orders", "region": REGION, "engine": "PostgreSQL", "endpoint": self.account.endpoint,
            "has_credentials": True, "secret": "aws", "drill": PLACE, **self.rds,
        }  # fmt: skip
        given = {
            "namespace": NAMESPACE, "name": "orders", "uid": UID, "engine": EngineName.RDS, "hosts": [], "port": 5432,
            "tls": TLSMode.DISABLE, "rds": RDSTarget(**rds), **self.database,
        }  # fmt: skip
        return DatabaseTarget(**given)

    def late_once(self, action: str) -> Callable[[], datetime]:
        """A clock of an agent by which every deadline has passed once AWS was asked to do this."""
        return lambda: datetime.now(UTC) + timedelta(days=1 if self.account.asked(action) else 0)

    def run(self, task: Task, **more: Any) -> Ran:
        """One task of the agent. Its looks at AWS follow each other closely."""
        engine = cast("FakeEngine", RDS(every=0.001))
        ran = self.place.run(task, engine=engine, **{"database": self.target(), **more})
        assert KEYS[1] not in ran.output
        assert PASSWORD not in ran.output
        return ran

    def back_up(self, name: str = "orders-1", **more: Any) -> Ran:
        """One backup, to whatever end."""
        task: BackupTask = backup_task(name, method=Method.AUTO)
        return self.run(task, **more)

    def good(self, name: str = "orders-1", **more: Any) -> BackupRef:
        """One that succeeds."""
        ran = self.back_up(name, **more)
        assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
        assert ran.result.backup
        return BackupRef(
            id=name, database="orders", manifest_sha256=ran.result.backup.checksum, attempt=ran.result.backup.attempt
        )

    def drill(self, ref: BackupRef, **more: Any) -> Ran:
        """One drill, to whatever end."""
        request = {key: more.pop(key) for key in ("attempt", "clock") if key in more}
        return self.run(DrillTask(**{"id": "drill-1", "backup": ref, "level": Level.RESTORE, **more}), **request)

    def delete(self, *names: str, **more: Any) -> dict[str, DeletedBackup]:
        """What became of each."""
        ran = self.run(DeleteTask(database="orders", ids=list(names)), **more)
        assert ran.result.deleted is not None, ran.output[-3000:]
        return {one.id: one for one in ran.result.deleted}

    def look(self, *backups: str, active: tuple[str, ...] = ()) -> Ran:
        """A look at the database."""
        managed = ManagedLook(cluster_id=CLUSTER, backups=list(backups), active=list(active))
        return self.run(ProbeTask(methods=[Method.AUTO], managed=managed), storage=None)

    def snapshots(self, region: str = REGION) -> list[dict[str, Any]]:
        """Those that somebody made; AWS's own stand beside them."""
        client = self.account.client(region)
        found: list[dict[str, Any]] = client.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        return found

    def instances(self) -> list[str]:
        """Names."""
        found = self.account.client().describe_db_instances()["DBInstances"]
        return sorted(one["DBInstanceIdentifier"] for one in found)


@pytest.fixture
def yard(account: Account, tmp_path: Path) -> Yard:
    """With an account, and nothing that answers SQL."""
    return Yard(account, Workplace(tmp_path / "pod"))


@pytest.fixture
def served(yard: Yard, server: Server) -> Yard:
    """With a real PostgreSQL behind every endpoint."""
    yard.account.port = server.port
    return yard


@pytest.fixture
def copying(yard: Yard) -> Yard:
    """Whose snapshots are copied to another region."""
    yard.rds["copy_to"] = CopyTarget(region=OTHER_REGION)
    return yard
