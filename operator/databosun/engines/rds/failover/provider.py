"""Amazon RDS and Aurora, as the agent's provider of failovers.

AWS does the move: it is told so once, by a call that is never sent again, and looked at until it is over. What clients
see is measured by SQL at the endpoint, whose name they look up anew at every connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Topology
from databosun.api.failoverprobe import ProbePath
from databosun.api.targets import RDSTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import (
    Declined,
    Failover,
    FailoverFault,
    FailoverProvider,
    ProbeError,
    ProbeSession,
    Site,
    Spot,
    Watcher,
    Writers,
    probe_error,
)
from databosun.engines.rds.cloud import AnswerError, Cloud, rds_of
from databosun.engines.rds.failover.guards import cloud_guards, writer_guards
from databosun.engines.rds.failover.look import PROVIDER, Look, endpoint_of
from databosun.engines.rds.server import describe
from databosun.engines.reaching import resolve

EVERY_SECONDS = 2.0
"""Between two looks at what AWS does."""
PROMOTION_SECONDS = 600.0
SETTLE_WATCH_SECONDS = 2.0
_SERVER_FAULT = 500


@dataclass
class RDSProvider:
    """One instance or cluster. `spots`: where each member was reached when it was first seen: a name of AWS leads to
    another one after the move, an address does not."""

    site: Site
    rds: RDSTarget
    cloud: Cloud
    once: Cloud
    writers: Writers
    spots: dict[str, Spot] = field(default_factory=dict)
    _look: Look | None = None
    _ordered_at: datetime | None = None

    def topology(self) -> Topology:
        """As AWS describes it."""
        self._look = found = Look(describe(self.cloud, self.rds))
        self._know(found)
        return found.topology(self._events(found))

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one; else the standby, or the reader of the lowest promotion tier."""
        fit = [one.name for one in topology.members if one.promotable]
        if planned is not None:
            return planned if planned in fit else None
        return min(fit, key=lambda name: (self._found().tier(name), name)) if fit else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """What AWS says, and whether clients get in."""
        found = self._found()
        return [*cloud_guards(found, datetime.now(UTC)), *writer_guards(self.writers, self._endpoint())]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Told once; what came of it is looked at."""
        ordered()
        self._ordered_at = datetime.now(UTC)
        said = self._order(plan)
        until = time.monotonic() + PROMOTION_SECONDS
        while time.monotonic() < until:
            self._rest()
            look = self._again()
            who = look.primary if look is not None else None
            if who is not None and who != plan.primary and who in plan.members:
                return who
        message = f"{plan.candidate} is not the one that writes {PROMOTION_SECONDS:.0f} s after AWS was told{said}"
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It stands by again, and AWS has nothing left to do."""
        topology = self.topology()
        found, old = self._found(), next((one for one in topology.members if one.name == plan.primary), None)
        if found.primary == plan.primary:
            return f"{plan.primary} writes"
        if old is None:
            return f"{plan.primary} is no member"
        busy = [f"{name} is {status}" for name, status in found.statuses if status != "available"]
        return ", ".join(busy) or None

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Several writers by AWS's own word."""
        self.topology()
        told = self._found().writers
        return [f"{', '.join(told)} write"] if len(told) > 1 else []

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """AWS carries out what it was told, whoever is there to see it: wait until it is over, and clients can
        write."""
        until = time.monotonic() + seconds
        said = "AWS does not say who writes"
        while time.monotonic() < until:
            try:
                self.topology()
                found = self._found()
                if found.settled and found.primary is not None and self._takes_writes():
                    return ()
                said = ", ".join(f"{name} is {status}" for name, status in found.statuses)
            except DatabosunError as fault:
                said = fault.message
            except ProbeError as error:
                said = str(error)
            time.sleep(min(EVERY_SECONDS, 1.0))
        return (f"{self.rds.cluster or self.rds.instance} takes no writes after {seconds:.0f} s: {said}",)

    def prepare_probe(self) -> None:
        """Make the table at the endpoint."""
        self.writers.make(self._endpoint())

    def remove_probe(self) -> None:
        """Remove it at the endpoint."""
        self.writers.remove(self._endpoint())

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where the name of the endpoint leads to now."""
        host, port = (path.host, path.port) if path else self._found().endpoint
        try:
            spot = Spot(host, port, resolve(host, port, seconds=seconds)[0])
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        session = self.writers.connect(spot, client, seconds)
        session.node = self._node(spot)
        return session

    def watch(self, member: str, seconds: float) -> Watcher:
        """At the address that the member was seen at; a standby has none."""
        spot = self.spots.get(member)
        if spot is None:
            raise probe_error(WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"{member} lets nobody in just now"))
        return self.writers.connect(spot, 0, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the endpoint holds."""
        return self.writers.rows(self._endpoint(), clients)

    def _order(self, plan: FailoverPlan) -> str:
        """Declined where AWS refused; what it said where nobody knows whether it does it."""
        try:
            if self.rds.cluster:
                given = {"DBClusterIdentifier": self.rds.cluster, "TargetDBInstanceIdentifier": plan.candidate}
                self.once.ask("failover_db_cluster", **given)
            else:
                self.once.ask("reboot_db_instance", DBInstanceIdentifier=self.rds.instance, ForceFailover=True)
        except AnswerError as error:
            if error.status < _SERVER_FAULT:
                fault = self.cloud.fault(error, "telling AWS to fail over")
                raise Declined(FailoverFault.PROVIDER_REFUSED, f"nothing was moved: {fault.message}") from error
            return f" ({error.code})"
        except WorldFault as fault:
            return f" ({fault.message})"
        return ""

    def _again(self) -> Look | None:
        """AWS may be too busy to tell."""
        try:
            self._look = Look(describe(self.cloud, self.rds))
        except WorldFault:
            return None
        return self._look

    def _rest(self) -> None:
        until = time.monotonic() + EVERY_SECONDS
        while (left := until - time.monotonic()) > 0:
            self.site.pulse()
            time.sleep(min(0.5, left))
        self.site.pulse()

    def _events(self, look: Look) -> list[str]:
        """What AWS wrote down since it was told to."""
        if self._ordered_at is None:
            return []
        kind = "db-cluster" if look.server.clustered else "db-instance"
        given = {"SourceIdentifier": look.server.name, "SourceType": kind, "StartTime": self._ordered_at}
        try:
            told = list(self.cloud.pages("describe_events", "Events", **given))
        except AnswerError as error:
            return [f"the events of AWS could not be read: {error}"]
        since = [one for one in told if one["Date"] >= self._ordered_at]
        return [f"{one['Date']:%H:%M:%S} AWS: {one['Message']}" for one in since][:12]

    def _know(self, look: Look) -> None:
        """Where each member answers, once: by then nothing was moved."""
        places = {name: endpoint_of(one) for one in look.server.members if (name := one["DBInstanceIdentifier"])}
        if not look.server.clustered and look.primary:
            places = {look.primary: look.endpoint}
        for name, (host, port) in places.items():
            if name in self.spots or not host or self._ordered_at is not None:
                continue
            try:
                self.spots[name] = Spot(host, port, resolve(host, port)[0])
            except WorldFault:
                continue

    def _node(self, spot: Spot) -> str | None:
        """The member at an address: of a Multi-AZ instance, one that was not seen before is the standby's."""
        found = [name for name, one in self.spots.items() if (one.address, one.port) == (spot.address, spot.port)]
        if found:
            return found[0] if len(found) == 1 else None
        zones = [] if self.rds.cluster else [one.name for one in self._found().topology(()).members]
        others = [name for name in zones if name not in self.spots]
        if len(others) == 1 and self._ordered_at is not None:
            self.spots[others[0]] = spot
            return others[0]
        return None

    def _takes_writes(self) -> bool:
        session = self.writers.connect(self._endpoint(), 0, SETTLE_WATCH_SECONDS)
        try:
            return session.takes_writes()
        finally:
            session.close()

    def _endpoint(self) -> Spot:
        host, port = self._found().endpoint
        return Spot(host, port, resolve(host, port)[0])

    def _found(self) -> Look:
        if self._look is None:
            self.topology()
        assert self._look is not None  # noqa: S101 (just looked)
        return self._look


class RDSFailover:
    """Opens it."""

    providers: tuple[str, ...] = (PROVIDER,)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider; UserFault(ModeUnsupported) for another mode."""
        if site.provider.provider != PROVIDER:
            message = f"RDS is failed over by provider {PROVIDER} in this release, not by {site.provider.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        if mode is not FailoverMode.FORCED_FAILOVER:
            message = (
                f"spec.mode is {mode}; AWS has one failover, which ends what clients are at: set ForcedFailover "
                "(nothing is lost by it: the storage is replicated synchronously)"
            )
            raise UserFault(FailoverFault.MODE_UNSUPPORTED, message)
        rds = rds_of(site.probe)
        writers = site.writers(EngineName(rds.engine), site)
        yield RDSProvider(site, rds, Cloud(site.probe), Cloud(site.probe, attempts=1), writers)


FAILOVER: Failover = RDSFailover()
