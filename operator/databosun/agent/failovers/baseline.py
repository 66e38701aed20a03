"""Clients that write before anything is moved: by every way, no more than the database hardly notices."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.agent.failovers.clients import MOST_SHARE, PATIENCE_SECONDS, Way, rate_within
from databosun.agent.failovers.found import Found
from databosun.api.failoverprobe import SERVICE
from databosun.domain.errors import UserFault
from databosun.domain.ledgerverdict import FailoverReason
from databosun.engines.failover import FailoverProvider


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of one move. Clients of an earlier one go on."""

    found: Found
    provider: FailoverProvider

    def begin(self) -> None:
        """Have them write."""
        found, probe = self.found, self.found.task.probe
        found.prepared = True
        self.provider.prepare_probe()
        if not found.crowd.ways:
            self._gather()
        self._pace(probe.writes_per_second)

    def demand_all(self, since: float, seconds: float) -> None:
        """By every way somebody got through within so many seconds. UserFault(NoBaseline) names one by which nobody
        did."""
        crowd = self.found.crowd
        for way in crowd.silent_ways(since):
            message = (
                f"by path {way.name} no client could write for {seconds:.0f} s before anything was moved: "
                f"{' | '.join(crowd.examples(way))}"
            )
            raise UserFault(FailoverReason.NO_BASELINE, self.found.ctx.log.redactor.text(message)[:1500])

    def _gather(self) -> None:
        found, probe = self.found, self.found.task.probe
        connect = self.provider.connect
        ways = [Way(SERVICE, lambda number: connect(None, number, PATIENCE_SECONDS))]
        ways += [
            Way(path.name, lambda number, path=path: connect(path, number, PATIENCE_SECONDS), path.kind)  # type: ignore[misc]
            for path in probe.paths
        ]
        for way in ways:
            found.crowd.add_writers(way, probe.clients)
            found.crowd.add_reader(way)
        for name in found.plan.members:
            found.crowd.add_eye(name, lambda name=name: self.provider.watch(name, PATIENCE_SECONDS))  # type: ignore[misc]

    def _pace(self, asked: float) -> None:
        """No more than is asked for, and than their share of all that the database takes, over all ways together."""
        found, clients = self.found, len(self.found.crowd.writers)
        capacity = found.crowd.sample()
        rate = rate_within(asked, clients, capacity)
        found.crowd.start(rate)
        found.event("WritesBegan", note=f"{rate * clients:.1f} a second; {capacity:.0f} were answered in a sample")
        if rate < asked:
            message = (
                f"clients wrote {rate * clients:.1f} times a second, not {asked * clients:.1f}: {MOST_SHARE:.0%} of "
                f"the {capacity:.0f} that the database answered in a sample; downtime may be told up to "
                f"{1 / (rate * clients):.2f} s too long"
            )
            found.notes.append(message)
