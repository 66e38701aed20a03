"""What each way, and each node, showed to those who used or watched it: from the ledger to the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from databosun.agent.failovers.clients import Client, Crowd, Eye, Met
from databosun.api.failoverprobe import ClientSeen, ErrorClass, ErrorName, InstanceSeen, PathSeen
from databosun.domain.ledgerjudge import ClientFigures, Span
from databosun.domain.ledgerpaths import ErrorCount, PathFigures, count_errors, judge_paths

LONGEST_EXAMPLE = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What a crowd met. `mask`: takes secrets out of what it was told, before that is cut."""

    crowd: Crowd
    mask: Callable[[str], str]

    def paths(self, figures: Sequence[ClientFigures], span: Span) -> list[PathFigures]:
        """By way."""
        ways = {way.name: [one.name for one in self._of(way.name)] for way in self.crowd.ways}
        return judge_paths(self.crowd.writes, figures, ways, span)

    def path(self, figures: PathFigures) -> PathSeen:
        """One way, as it is told."""
        way = next(one for one in self.crowd.ways if one.name == figures.name)
        clients = self._of(way.name)
        return PathSeen(
            name=way.name,
            kind=way.kind,
            clients=figures.clients,
            acknowledged=figures.acknowledged,
            failed=figures.failed,
            unknown=figures.unknown,
            broken_connections=sum(one.broken for one in clients),
            write_downtime_seconds=round(figures.downtime.seconds, 3) if figures.before else None,
            resumed=figures.downtime.resumed,
            first_success_seconds=rounded(figures.first),
            all_succeeded_seconds=rounded(figures.all),
            errors=self._errors(figures.errors, [one.met for one in clients]),
        )

    def client(self, figures: ClientFigures) -> ClientSeen:
        """One writer."""
        writer = next(one for one in self.crowd.writers if one.name == figures.name)
        return ClientSeen(
            client=figures.name,
            path=writer.way.name,
            acknowledged=figures.acknowledged,
            longest_gap_seconds=round(figures.gap.seconds, 3),
            first_success_seconds=rounded(figures.first_success),
            errors=self._errors(count_errors(self.crowd.writes.only([figures.name])), [writer.met]),
        )

    def instances(self, ordered: float) -> list[InstanceSeen]:
        """Every node that was watched."""
        return [self._instance(eye, ordered) for eye in self.crowd.eyes]

    def _of(self, way: str) -> list[Client]:
        return [one for one in self.crowd.writers if one.way.name == way]

    def _errors(self, counts: Sequence[ErrorCount], met: Sequence[Met]) -> list[ErrorClass]:
        return [
            self._error(one, next(seen for each in met if (seen := each.get(one.kind)) is not None)) for one in counts
        ]

    def _error(self, count: ErrorCount, seen: tuple[ErrorName, str]) -> ErrorClass:
        name, said = seen
        example = self.mask(said)[:LONGEST_EXAMPLE]
        return ErrorClass(kind=count.kind, name=name, count=count.count, unknown=count.unknown, example=example)

    def _instance(self, eye: Eye, ordered: float) -> InstanceSeen:
        after = [claim for claim in eye.claims if claim.ended >= ordered]
        counts = [ErrorCount(kind, count, 0) for kind, count in eye.counts.items()]
        return InstanceSeen(
            name=eye.member,
            asked=eye.asked,
            took_writes=eye.took,
            last_seconds=rounded(after[-1].ended - ordered) if after else None,
            first_seconds=rounded(after[0].ended - ordered) if after else None,
            errors=self._errors(counts, [eye.met]),
        )


def rounded(seconds: float | None) -> float | None:
    """To milliseconds."""
    return None if seconds is None else round(seconds, 3)
