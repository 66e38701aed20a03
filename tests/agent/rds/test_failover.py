"""RDS and Aurora that fail over: the API by moto, a real PostgreSQL at the endpoint. No AWS was ever met.

moto swaps the writer of a cluster by itself. The zones of an instance, and what the name of its endpoint leads to, are
swapped here once the server is back.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.failovers import drive
from databosun.api.failover import FailoverMode, FailoverStep, FailoverVerdict, ProviderTarget
from databosun.api.targets import DatabaseTarget, RDSTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.errors import WorldFault
from databosun.domain.ledger import Fate
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverFault, Operator, ProbeError, Site
from databosun.engines.rds.failover import provider as rds_provider
from databosun.engines.rds.failover.guards import within
from databosun.engines.rds.failover.provider import FAILOVER, RDSProvider
from databosun.engines.registry import load_writers
from support.agentrun import NAMESPACE, UID, Workplace
from support.awsrds import KEYS, REGION, Account, Refusal, clustered
from support.failoverjob import RUN, FailoverJob
from support.pgserver import Server
from support.waiting import eventually

pytestmark = pytest.mark.servers

WRITER, PASSWORD = "prober", "pr0bes: it"
CLUSTER = "orders-cluster"
ZONES = ("eu-central-1a", "eu-central-1b")
NAME = "orders.rds.test"
_ZONE = re.compile(rb"<AvailabilityZone>[^<]*</AvailabilityZone>")


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """What endpoints lead to: at one address, and after a failover at another one."""
    made = Server(15)
    made.init("--wal-segsize=4")
    made.configure()
    made.start()
    made.sql(f"CREATE ROLE {WRITER} LOGIN PASSWORD '{PASSWORD}'")
    made.sql(f"GRANT CREATE ON DATABASE postgres TO {WRITER}")
    yield made
    made.remove()


@dataclass
class Cloud:
    """An account whose instance, or cluster, fails over. `told`: replacements in what it describes."""

    account: Account
    server: Server
    folder: Path
    cluster: bool = False
    moved: threading.Event = field(default_factory=threading.Event)
    told: dict[bytes, bytes] = field(default_factory=dict)
    multi_az: bool = True
    moves: bool = True

    def resolve(self, host: str, port: int, **_: Any) -> tuple[str, ...]:
        """As a resolver without a cache does."""
        if host[-2:] in ("-1", "-2", "-3"):  # an instance of a cluster
            return (f"127.0.0.{host[-1]}",)
        return ("127.0.0.2" if self.moved.is_set() else "127.0.0.1",)

    def asked(self, asked: Mapping[str, str]) -> None:
        """What AWS does when it is told to."""
        order = asked.get("ForceFailover") == "true" or asked["Action"] == "FailoverDBCluster"
        if order and self.moves:
            threading.Thread(target=self._fail_over, daemon=True).start()

    def _fail_over(self) -> None:
        self.stand_at("127.0.0.2")
        self.moved.set()

    def stand_at(self, address: str) -> None:
        """The server is gone, and answers at this address alone once it is back."""
        self.server.stop("immediate")
        self.server.configure(listen_addresses=f"'{address}'")
        self.server.start()

    def changed(self, asked: Mapping[str, str], body: bytes) -> bytes:
        """What moto says, with what it has not."""
        if asked["Action"] == "DescribeDBInstances" and not self.cluster:
            first, second = ZONES[::-1] if self.moved.is_set() else ZONES
            zones = f"<AvailabilityZone>{first}</AvailabilityZone>"
            zones += f"<SecondaryAvailabilityZone>{second}</SecondaryAvailabilityZone>" if self.multi_az else ""
            body = _ZONE.sub(zones.encode(), body)
            if not self.multi_az:
                body = body.replace(b"<MultiAZ>true</MultiAZ>", b"<MultiAZ>false</MultiAZ>")
        elif asked["Action"] == "DescribeDBInstances":
            name = asked["DBInstanceIdentifier"].encode()
            body = body.replace(f"<Address>{NAME}</Address>".encode(), b"<Address>" + name + b"</Address>")
        elif asked["Action"] == "DescribeDBClusters":
            body = re.sub(rb"<Port>\d+</Port>", f"<Port>{self.server.port}</Port>".encode(), body)
        elif asked["Action"] == "DescribeEvents":
            at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
            event = f"<Event><Message>Multi-AZ instance failover completed</Message><Date>{at}</Date></Event>"
            body = re.sub(rb"<Events ?/>|<Events>.*</Events>", f"<Events>{event}</Events>".encode(), body)
        for old, new in self.told.items():
            body = body.replace(old, new)
        return body

    @property
    def target(self) -> DatabaseTarget:
        """As the agent is told."""
        name = {"cluster": CLUSTER} if self.cluster else {"instance": "orders"}
        rds = RDSTarget(
            region=REGION, engine="PostgreSQL", endpoint=self.account.endpoint, has_credentials=True, secret="aws",
            **name,
        )  # fmt: skip
        return DatabaseTarget(
            namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.RDS, hosts=[], port=5432,
            tls=TLSMode.DISABLE, rds=rds,
        )  # fmt: skip

    def job(self, mode: FailoverMode = FailoverMode.FORCED_FAILOVER) -> FailoverJob:
        """A test of it."""
        login = {"username": WRITER, "password": PASSWORD}
        cloud = {"accessKeyId": KEYS[0], "secretAccessKey": KEYS[1]}
        place = Workplace(self.folder / "pod", secrets={"database": login, "cloud": cloud})
        return FailoverJob(place, self.target, ProviderTarget(provider="RDS"), mode)

    def provider(self) -> Any:
        """Opened by a context manager."""
        target = Target(self.target, Credentials(WRITER, PASSWORD, cloud=KEYS))
        until = datetime.now(UTC) + timedelta(hours=1)
        given: dict[str, Any] = {"run": RUN, "table": "databosun_probe", "until": until, "writers": load_writers}
        site = Site(target, Operator(target.credentials), ProviderTarget(provider="RDS"), **given)
        return FAILOVER.open(site, FailoverMode.FORCED_FAILOVER)

    def leftovers(self) -> list[tuple[Any, ...]]:
        """Schemas of the probe."""
        return self.server.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'databosun_probe%'")


@pytest.fixture
def cloud(
    account: Account, database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Cloud]]:
    """With an instance; with a cluster of so many instances where that is asked for."""

    def make(instances: int = 0) -> Cloud:
        made = Cloud(account, database, tmp_path, cluster=instances > 0)
        account.host, account.port = NAME, database.port
        if instances:
            clustered(account, name=CLUSTER)
            for number in range(2, instances + 1):
                account.client().create_db_instance(
                    DBInstanceIdentifier=f"{CLUSTER}-{number}", DBClusterIdentifier=CLUSTER,
                    Engine="aurora-postgresql", DBInstanceClass="db.r6g.large",
                )  # fmt: skip
            account.calls.clear()
        account.hook, account.change = made.asked, made.changed
        monkeypatch.setattr(rds_provider, "resolve", made.resolve)
        yards.append(made)
        return made

    monkeypatch.setattr(drive, "BASELINE_SECONDS", 2.0)
    monkeypatch.setattr(drive, "AFTER_SECONDS", 2.0)
    monkeypatch.setattr(rds_provider, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(rds_provider, "PROMOTION_SECONDS", 300.0)
    yards = list[Cloud]()
    yield make
    account.host, account.change = "127.0.0.1", None
    if any(one.moved.is_set() for one in yards):
        yards[0].stand_at("127.0.0.1")


def test_an_instance_fails_over_to_its_standby(cloud: Callable[..., Cloud]) -> None:
    yard = cloud()
    job = yard.job()
    plan = job.plan()
    assert (plan.primary, plan.candidate) == ZONES
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, found.model_dump_json()
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.split_brain, found.settled) == (0, 0, [], True)
    (order,) = yard.account.asked("RebootDBInstance")
    assert order["ForceFailover"] == "true"
    assert found.topology_after
    assert found.topology_after.primary == ZONES[1]
    assert all(one.first_success_seconds for one in found.clients)
    history, _, claims = job.ledger()
    assert measured.acknowledged == sum(one.fate is Fate.ACKNOWLEDGED for one in history) > 0
    assert {one.node for one in history if one.node} == set(ZONES)
    assert {one.node for one in claims} == set(ZONES), "the standby's address, once it is known"
    assert any("failover completed" in one for one in found.notes)
    assert yard.leftovers() == []


def test_a_cluster_fails_over_to_the_reader_of_the_plan(cloud: Callable[..., Cloud]) -> None:
    yard = cloud(instances=3)
    job = yard.job()
    plan = job.plan()
    assert (plan.primary, plan.candidate) == (f"{CLUSTER}-1", f"{CLUSTER}-2")
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, found.model_dump_json()
    (order,) = yard.account.asked("FailoverDBCluster")
    assert order["TargetDBInstanceIdentifier"] == plan.candidate
    assert found.topology_after
    assert found.topology_after.primary == plan.candidate
    history, _, _ = job.ledger()
    assert {one.node for one in history if one.node} == {plan.primary, plan.candidate}
    assert yard.leftovers() == []


@pytest.mark.parametrize(
    ("instances", "told", "guard", "observed"),
    [
        (0, {b"<MultiAZ>true</MultiAZ>": b"<MultiAZ>false</MultiAZ>"}, "multiAZ", "Single-AZ"),
        (1, {}, "multiAZ", "1 instances"),
        (0, {b"Status>available<": b"Status>backing-up<"}, "instanceAvailable", "orders is backing-up"),
        (2, {b"<DBInstanceStatus>available<": b"<DBInstanceStatus>maintenance<"}, "instanceAvailable",
         f"{CLUSTER}-1 is maintenance, {CLUSTER}-2 is maintenance"),
        (0, {b"in-sync": b"pending-reboot"}, "nothingPending", "pending-reboot"),
        (0, {b"</DBInstance>": b"<PendingModifiedValues><DBInstanceClass>db.m5.large</DBInstanceClass>"
                               b"</PendingModifiedValues></DBInstance>"}, "nothingPending", "orders: DBInstanceClass"),
        (2, {b"<DBClusterParameterGroupStatus>in-sync<": b"<DBClusterParameterGroupStatus>pending-reboot<"},
         "nothingPending", "cluster parameter group is pending-reboot"),
    ],
)  # fmt: skip
def test_what_a_restart_would_harm_or_bring_about_is_refused(
    cloud: Callable[..., Cloud], instances: int, told: dict[bytes, bytes], guard: str, observed: str
) -> None:
    yard = cloud(instances=instances)
    with yard.provider() as provider:
        assert guard in _failing(provider) or told
        yard.told = told
        assert observed in _failing(provider)[guard]
        assert yard.account.asked("RebootDBInstance") == yard.account.asked("FailoverDBCluster") == []


def test_an_open_window_of_aws_is_refused(cloud: Callable[..., Cloud]) -> None:
    yard = cloud()
    now = datetime.now(UTC)
    window = f"{now - timedelta(minutes=5):%H:%M}-{now + timedelta(minutes=5):%H:%M}"
    yard.account.client().modify_db_instance(DBInstanceIdentifier="orders", PreferredBackupWindow=window)
    with yard.provider() as provider:
        assert window in _failing(provider)["outsideMaintenance"]


@pytest.mark.parametrize(
    ("window", "at", "inside"),
    [
        ("03:00-04:00", "2026-03-02T03:30", True),
        ("03:00-04:00", "2026-03-02T04:00", False),
        ("23:30-00:30", "2026-03-02T00:10", True),
        ("23:30-00:30", "2026-03-02T12:00", False),
        ("sun:23:00-mon:01:00", "2026-03-01T23:30", True),
        ("sun:23:00-mon:01:00", "2026-03-02T00:30", True),
        ("sun:23:00-mon:01:00", "2026-03-02T01:00", False),
        ("wed:06:38-wed:07:08", "2026-03-04T07:00", True),
        ("wed:06:38-wed:07:08", "2026-03-05T07:00", False),
    ],
)
def test_windows_are_read_as_aws_has_them(window: str, at: str, inside: bool) -> None:
    assert within(window, datetime.fromisoformat(at).replace(tzinfo=UTC)) is inside


def test_an_order_that_aws_refuses_moves_nothing(cloud: Callable[..., Cloud]) -> None:
    yard = cloud()
    job = yard.job()
    plan = job.plan()
    yard.moves = False
    yard.account.refusals.append(Refusal("RebootDBInstance", "AccessDenied", times=9, status=403))
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, FailoverFault.PROVIDER_REFUSED), found
    assert "grant rds:RebootDBInstance to Secret aws" in found.message
    assert (found.ordered_at, len(yard.account.asked("RebootDBInstance"))) == (None, 1)
    assert yard.leftovers() == []


def test_an_order_whose_answer_is_lost_is_not_given_again(cloud: Callable[..., Cloud]) -> None:
    """A second one would be a second failover."""
    yard = cloud()
    yard.account.refusals.append(Refusal("RebootDBInstance", "InternalFailure", times=1, status=500, after=True))
    found = yard.job().switch()
    assert found.verdict is FailoverVerdict.PASSED, found.model_dump_json()
    assert len(yard.account.asked("RebootDBInstance")) == 1


@pytest.mark.parametrize("told", [b"", b"<AvailabilityZone>eu-central-1c</AvailabilityZone>"], ids=["nothing", "other"])
def test_whom_aws_does_not_name_or_the_plan_does_not_know_is_nobody_who_was_promoted(
    cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch, told: bytes
) -> None:
    yard = cloud()
    plan = yard.job().plan()
    yard.moves = False
    monkeypatch.setattr(rds_provider, "PROMOTION_SECONDS", 1.0)
    with yard.provider() as provider:
        provider.topology()
        yard.told = {f"<AvailabilityZone>{ZONES[0]}</AvailabilityZone>".encode(): told}
        with pytest.raises(WorldFault, match="is not the one that writes") as error:
            provider.move(plan, lambda: None)
        assert error.value.reason == FailoverFault.NOT_PROMOTED
        assert provider.topology().primary == (None if told == b"" else "eu-central-1c")


def test_a_planned_switchover_is_not_what_aws_has(cloud: Callable[..., Cloud]) -> None:
    result = cloud().job(FailoverMode.PLANNED_SWITCHOVER).run(FailoverStep.DISCOVER)
    assert result.reason == FailoverFault.MODE_UNSUPPORTED
    assert "set ForcedFailover" in result.message


def test_what_a_lost_agent_left_is_waited_for(cloud: Callable[..., Cloud]) -> None:
    yard = cloud()
    with yard.provider() as provider:
        assert provider.settle(None, 5.0) == ()
        yard.told = {b"Status>available<": b"Status>rebooting<"}
        (left,) = provider.settle(None, 0.2)
        assert "orders is rebooting" in left


def test_a_standby_lets_nobody_in_and_an_endpoint_that_does_not_is_told(cloud: Callable[..., Cloud]) -> None:
    yard = cloud()
    with yard.provider() as provider:
        provider.topology()
        with pytest.raises(ProbeError):
            provider.watch(ZONES[1], 1.0)
        yard.server.sql(f"ALTER ROLE {WRITER} NOLOGIN")
        try:
            assert list(_failing(provider)) == ["membersReachable"]
        finally:
            yard.server.sql(f"ALTER ROLE {WRITER} LOGIN")
    eventually("it lets them in", lambda: not yard.leftovers())


def _failing(provider: RDSProvider) -> dict[str, str]:
    topology = provider.topology()
    guards = provider.examine(topology, provider.choose(topology, None))
    return {one.name: one.observed for one in guards if not one.ok}
