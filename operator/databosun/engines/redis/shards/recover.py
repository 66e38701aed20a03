"""The shards of a cluster brought back one after the other, so that memory for the largest is enough.

Each is loaded by a server of its own that is no cluster, which keeps keys of any slot; checks that look into the data
load it again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from databosun.api.drill import Check, CheckOutcome, CheckResult, CheckType, Level, PointKind
from databosun.api.v1alpha1.backup import Position
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault
from databosun.engines.checking import failed, passed
from databosun.engines.recovered import sync_files
from databosun.engines.recovery import Reached, RecoveryPlan, Source
from databosun.engines.redis.checks.artefacts import inspect_artefacts
from databosun.engines.redis.checks.keys import asks_for_some, compare_keys, count_keys
from databosun.engines.redis.checks.run import LONG, run_check
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.cluster import key_slot, range_text, served_by
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import Backup, demand_memory, shards_of
from databosun.engines.redis.recovery.private import FILE, PrivateServer
from databosun.engines.redis.recovery.programs import Program, find_program
from databosun.engines.redis.recovery.rdb import lay_out, verify
from databosun.engines.redis.resp import ReplyError
from databosun.engines.redis.shards.handover import leave_shard

_DATA = "data"
_READY = Check(name="server-ready", type=CheckType.SERVER_READY)
_ASKED_ONE = frozenset({CheckType.QUERY, CheckType.CANARY, CheckType.FRESHNESS})


@dataclass(frozen=True, slots=True)
class Part:
    """One shard on disk. `loaded`: what was loaded of it; `ready`: whether its server took a write then."""

    backup: Backup
    program: Program
    data: Path
    loaded: Mapping[int, tuple[int, int]]
    ready: CheckResult

    @property
    def slots(self) -> str:
        """As people write them."""
        return range_text(self.backup.slots)


class ShardsCopy:
    """`Copy` of `engines/base.py`: at most one server runs at a time."""

    def __init__(self, plan: RecoveryPlan) -> None:
        self.parts: list[Part] = []
        self._plan = plan
        self._seconds = dict.fromkeys(("fetch", "restore", "replay", "start"), 0.0)
        self._running: PrivateServer | None = None

    @property
    def reached(self) -> Reached:
        """A cluster has no position that one could name."""
        return Reached(Position())

    @property
    def notes(self) -> Sequence[str]:
        """What is otherwise than in the original."""
        labels = {part.program.label for part in self.parts if part.program.product != part.backup.product}
        said = [f"loaded by {label}, which reads the RDB of {self.parts[0].backup.label}" for label in sorted(labels)]
        return [f"{len(self.parts)} shards, each of its own instant; loaded one after the other", *said]

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase."""
        return dict(self._seconds)

    def bring(self, backup: Backup, source: Source) -> None:
        """One more shard: fetched, loaded, counted, and its server ended."""
        plan, program = self._plan, find_program(backup)
        demand_memory(backup)
        data = plan.place / _DATA / backup.folder
        with self._counted("restore"):
            before = source.waited
            lay_out(backup, source, data, plan)
            waited = source.waited - before
        self._seconds["fetch"] += waited
        self._seconds["restore"] -= waited
        part = Part(backup, program, data, {}, passed(_READY, observed=""))
        if plan.verify:
            with self._counted("verify"), self._resting(part) as scene:
                verify(scene.server, data / FILE, backup, plan)
        with self._counted("start"), self._serving(part) as scene:
            self.parts.append(Part(backup, program, data, scene.loaded, run_check(scene, _READY)))

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for: as of a single server, over all shards."""
        if level is Level.ARTIFACT:
            return ()
        checks = [_READY, Check(name="keys", type=CheckType.ROW_COUNT, timeout_seconds=LONG)]
        if level is not Level.RESTORE:
            checks.append(Check(name="structure", type=CheckType.ENGINE_INTEGRITY, timeout_seconds=LONG))
            checks.append(Check(name="names", type=CheckType.ROW_HASH, timeout_seconds=LONG))
        return tuple(checks)

    def check(self, check: Check) -> CheckResult:
        """Run one check."""
        began = time.monotonic()
        try:
            found = self._check(check)
        except ReplyError as error:
            found = failed(check, CheckReason.QUERY_FAILED, f"the copy answers: {error}")
        except ValueError as error:
            found = failed(check, CheckReason.QUERY_FAILED, str(error))
        return found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def reindex(self) -> None:
        """There are no indexes."""

    def flush(self) -> None:
        """Have the files on disk, so that a measured time does not leave out what a server's volume waits for."""
        with self._counted("sync"), guarded(f"flushing {self._plan.place}"):
            sync_files(self._plan.place / _DATA)

    def finish(self) -> None:
        """Leave a folder a shard, from which a server of a cluster starts."""
        with guarded(f"writing below {self._plan.place}"):
            for number, part in enumerate(self.parts, 1):
                leave_shard(part.backup, part.data, number)
        self.flush()

    def kill(self) -> None:
        """End the one that runs."""
        if self._running is not None:
            self._running.kill()

    def _check(self, check: Check) -> CheckResult:
        if check.type is CheckType.SERVER_READY:
            return _joined(check, self.parts, [part.ready for part in self.parts])
        if check.type is CheckType.ROW_COUNT and asks_for_some(check):
            return self._count(check)
        if check.type in _ASKED_ONE:
            return self._ask(check)
        inside = check.type is CheckType.ROW_HASH
        results = []
        for part in self.parts:
            with self._serving(part) if inside else self._resting(part) as scene:
                results.append(run_check(scene, check))
        return _joined(check, self.parts, results)

    def _count(self, check: Check) -> CheckResult:
        count, number = 0, 0
        for part in self.parts:
            with self._serving(part) as scene:
                count, number = count + count_keys(scene, check), scene.database_of(check)
        return compare_keys(check, count, number)

    def _ask(self, check: Check) -> CheckResult:
        """At the shard that serves the key which the command names."""
        first = self.parts[0]
        with self._serving(first) as scene, scene.connect() as wire:
            try:
                keys = wire.call("COMMAND", "GETKEYS", *shlex.split(check.query or ""))
            except ReplyError as error:
                msg = f"{check.query!r} names no key, so no shard could be told that is to be asked: {error}"
                raise ValueError(msg) from error
            slots = {key_slot(key) for key in keys if isinstance(key, bytes)} if isinstance(keys, list) else set()
            if len(slots) != 1:
                msg = f"{check.query!r} names keys of {len(slots)} slots; a cluster answers for those of one"
                raise ValueError(msg)
            part = next(one for one in self.parts if served_by(one.backup.slots)[next(iter(slots))])
            if part is first:
                return run_check(scene, check)
        with self._serving(part) as scene:
            return run_check(scene, check)

    @contextmanager
    def _serving(self, part: Part) -> Iterator[Scene]:
        """Its server runs while the block does, and has become a master."""
        with self._resting(part) as scene:
            server = self._running = scene.server
            try:
                server.start(max(part.backup.counts, default=0) + 1, self._plan.pulse)
                loaded = server.keyspace()
                server.promote()
                yield Scene(server, part.backup, loaded, self._plan.assumed_at, self._plan.pulse)
            finally:
                self._running = None

    @contextmanager
    def _resting(self, part: Part) -> Iterator[Scene]:
        """Its server is not started."""
        server = PrivateServer(part.program, part.data)
        try:
            yield Scene(server, part.backup, part.loaded, self._plan.assumed_at, self._plan.pulse)
        finally:
            server.close()

    @contextmanager
    def _counted(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._seconds[phase] = self._seconds.get(phase, 0.0) + time.monotonic() - began


@contextmanager
def recover_shards(plan: RecoveryPlan, source: Source) -> Iterator[ShardsCopy]:
    """Every shard is brought back once before the block begins."""
    shards = shards_of(plan.chain[-1])
    if plan.until.kind not in (PointKind.NONE, PointKind.IMMEDIATE):
        message = f"the log of a Redis Cluster is not archived: it is restored to a backup, not to {plan.until.kind}"
        raise UserFault(Reason.POINT_NOT_COVERED, message)
    with guarded(f"writing below {plan.place}"):
        (plan.place / _DATA).mkdir(mode=0o700)
    copy = ShardsCopy(plan)
    for shard in shards:
        copy.bring(shard, source)
    yield copy


def inspect_shards(shards: Sequence[Backup], source: Source, pulse: Callable[[], None]) -> str:
    """SafetyStop(ArtefactCorrupt) where one is not what it should be. Says how much was read."""
    for shard in shards:
        inspect_artefacts(shard, source, pulse)
    keys = sum(count for shard in shards for count, _ in shard.counts.values())
    return f"{keys} keys in {len(shards)} shards, each in the slots of its own"


def _joined(check: Check, parts: Sequence[Part], results: Sequence[CheckResult]) -> CheckResult:
    """The first that failed, with its slots; else what was seen of all."""
    for part, one in zip(parts, results, strict=True):
        if one.outcome is not CheckOutcome.PASSED:
            said = f"slots {part.slots}: {one.message}" if one.message else None
            return one.model_copy(update={"name": check.name, "message": said})
    seen = "; ".join(f"{part.slots}: {one.observed}" for part, one in zip(parts, results, strict=True))
    return passed(check, observed=f"{len(parts)} shards: {seen}"[:1000])
