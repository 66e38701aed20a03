"""Carry out one rule on rows, archived first where it asks for that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from databosun.agent.context import Context
from databosun.agent.lifecycle.ledger import Account, Event, Ledger
from databosun.agent.lifecycle.names import Names, Naming, chosen, gathered
from databosun.agent.lifecycle.pacemaker import Pacemaker, TimeIsUp
from databosun.agent.lifecycle.parts import Part, PartWriter
from databosun.api.lifecycle import ActionType, RuleFacts
from databosun.api.lifecycleresult import RuleState
from databosun.domain.lifecycle import Step
from databosun.domain.pacing import Pace
from databosun.engines.lifecycle import (
    Batch,
    Definitions,
    Key,
    Left,
    LifecycleSession,
    RowWork,
    RuleFault,
    Trouble,
    plan_changed,
)
from databosun.storage.layout import LifecycleFolder

CHUNK_ROWS = 50_000  # between two links of the audit
CHUNK_SECONDS = 30.0
PART_SECONDS = 15.0  # to archive a part and to delete its rows: the longer, the more of them change meanwhile
FIRST_PART = 5_000
MOST_PART = 100_000  # keys and hashes of a part are held in memory
MOST_PASSES = 16
TAKEN_BY = {ActionType.ANONYMIZE: "anonymized", ActionType.EXPIRE: "expiring"}
MOST_FRUITLESS = 3  # passes one after the other that take nothing of what is left
FIRST_REST = 0.2  # before the table is gone through again; doubled after each pass that took nothing


@dataclass
class RuleWork:
    """What one rule has at hand. `passed_over`: rows that others held or changed at every pass."""

    ctx: Context
    ledger: Ledger
    session: LifecycleSession
    step: Step
    facts: RuleFacts
    folder: LifecycleFolder
    pacemaker: Pacemaker
    at: datetime
    names: Names
    passed_over: int = 0

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.step.rule.name

    @property
    def account(self) -> Account:
        """What was done with it, by all attempts."""
        return self.ledger.account(self.name)

    def room(self) -> int:
        """Rows that it may still touch in this run."""
        return self.step.rule.limits.max_rows_per_run - self.account.spent

    def demand_same(self) -> None:
        """A run may take hours. SafetyStop where what the rule stands on is otherwise by now than it was approved."""
        now = self.pacemaker.ask(lambda: self.session.definitions(self.step.rule))
        known = Definitions(self.facts.tables, self.facts.calls)
        if now != known:
            raise plan_changed(self.step.rule.table, known, now)


def work_on_rows(work: RuleWork) -> tuple[RuleState, Left]:
    """Until nothing is left, the limit is reached, or the time is up. What could not be taken, since others held or
    changed it just then, is come back to, as long as there is something to gain by it; what is left then is said."""
    rows = work.session.rows(work.step)
    pass_on = _archive_pass if work.step.rule.action is ActionType.ARCHIVE else _pass
    fruitless = 0
    for _ in range(MOST_PASSES):
        before = work.account.taken
        try:
            ended = pass_on(work, rows)
        except TimeIsUp:
            return RuleState.LIMITED, work.pacemaker.ask(rows.left)
        left = work.pacemaker.ask(rows.left)
        if not ended or not left.eligible:
            return (RuleState.COMPLETED if not left.eligible else RuleState.LIMITED), left
        fruitless = 0 if work.account.taken > before else fruitless + 1
        if fruitless > MOST_FRUITLESS:
            break
        work.pacemaker.wait(FIRST_REST * 2**fruitless)
        rows.restart()
    work.passed_over = left.eligible
    return RuleState.LIMITED, left


def _pass(work: RuleWork, rows: RowWork) -> bool:
    """Delete or overwrite from the start of the table to its end. False where the limit of the run came first.

    A chunk is closed while the server is at work on the next: its last keys are hashed by then. No more than these two
    are open at once.
    """
    chunk: _Chunk | None = None
    try:
        while True:
            work.names.written()
            if chunk is not None and work.room() < CHUNK_ROWS:  # it may not have used up what it was granted
                _close(work, chunk)
                chunk = None
            if (room := min(CHUNK_ROWS, work.room())) <= 0:
                return False
            work.demand_same()
            number, before = work.ledger.write(work.name, Event.GRANTED, rows=room), chunk
            chunk = _Chunk(number, room)
            if before is not None:
                work.names.write(partial(_close, work, before))
            if _chunk(work, rows, chunk):
                return True
    finally:
        try:
            work.names.written()
        finally:
            _close(work, chunk)


def _close(work: RuleWork, chunk: _Chunk | None) -> None:
    """Write down what became of it."""
    if chunk is not None:
        work.ledger.write(work.name, Event.DONE, gathered(chunk.names), of=chunk.number, **_done(work, chunk))


@dataclass
class _Chunk:
    """What became of the rows that were granted. `uncertain`: of steps whose answers were lost; they may be done."""

    number: int
    granted: int
    done: int = 0
    names: list[Naming] = field(default_factory=list)
    children: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    uncertain: int = 0

    @property
    def room(self) -> int:
        """Rows that may still be touched."""
        return self.granted - self.done - self.uncertain


def _chunk(work: RuleWork, rows: RowWork, chunk: _Chunk) -> bool:
    """True at the end of the table."""
    began = time.monotonic()

    def take(most: int) -> tuple[int, Batch | None]:
        count = min(most, chunk.room)  # an answer that was lost may have used up some
        if count <= 0:
            return 0, None
        try:
            batch = rows.take(count)
        except RuleFault as fault:
            if fault.trouble is Trouble.LOST:  # it may have been committed, and only the answer lost
                chunk.uncertain += count
            raise
        return batch.looked, batch

    while chunk.room > 0 and time.monotonic() - began < CHUNK_SECONDS:
        batch = work.pacemaker.step(take, chunk.room)
        if batch is None:
            return False
        if not batch.looked:
            return True
        chunk.batches += 1
        chunk.done += len(batch.keys)
        chunk.names.append(work.names.begin(batch.keys))
        for table, count in batch.children.items():
            chunk.children[table] = chunk.children.get(table, 0) + count
        work.ctx.progress.add(len(batch.keys))
    return False


def _done(work: RuleWork, chunk: _Chunk) -> dict[str, object]:
    return {
        TAKEN_BY.get(work.step.rule.action, "deleted"): chunk.done,
        "batches": chunk.batches,
        "uncertain": chunk.uncertain,
        "children": chunk.children,
    }


def _archive_pass(work: RuleWork, rows: RowWork) -> bool:
    """Archive, verify, delete, part by part. False where the limit of the run came first."""
    writer = PartWriter(work.ctx, work.folder.archive(work.ctx.request.attempt, work.name))
    pace = Pace(FIRST_PART, PART_SECONDS, MOST_PART)
    while (room := min(pace.rows, work.room())) > 0:
        began = time.monotonic()
        part = work.pacemaker.step(partial(_capture, work, rows, writer, room), 1)
        if part is None:
            return True
        definition = [] if work.account.artefacts else writer.put_text(rows.definition_name, rows.definition)
        captured = len(part.capture.keys)
        number = work.ledger.write(
            work.name,
            Event.ARCHIVED,
            rows=captured,
            table=part.capture.table,
            artefacts=[*definition, *part.artefacts],
        )
        work.demand_same()
        _release(work, rows, part, number, writer)
        if room == pace.rows:
            pace = pace.after(captured, time.monotonic() - began)
    return False


def _capture(work: RuleWork, rows: RowWork, writer: PartWriter, room: int, _: int) -> tuple[int, Part | None]:
    # Named by the link that will vouch for it: no part that another link vouches for can be written over.
    part = writer.capture(rows, f"{work.ledger.number + 1:06d}", room)
    return (1 if part is not None else 0), part


def _release(work: RuleWork, rows: RowWork, part: Part, number: int, writer: PartWriter) -> None:
    """Delete what was archived, as far as it is unchanged. What stays is looked up by its key, and said."""
    gone: list[Key] = []
    naming = work.names.begin(part.capture.keys)
    batches, at = 0, 0
    up: TimeIsUp | None = None
    while at < len(part.capture.keys) and up is None:

        def release(count: int, at: int = at) -> tuple[int, Batch]:
            batch = rows.release(part.capture, at, count)
            return batch.looked, batch

        try:
            batch = work.pacemaker.step(release, len(part.capture.keys) - at)
        except TimeIsUp as error:
            up = error
            break
        at, batches = at + batch.looked, batches + 1
        gone += batch.keys
        work.ctx.progress.add(len(batch.keys))
    deleted = set(gone)
    rest = [key for key in part.capture.keys if key not in deleted]
    kept = work.pacemaker.ask(lambda: rows.present(part.capture, rest)) if rest else ()
    stays = set(kept)
    # What is neither deleted by an answer that came back nor there any more went with an answer that was lost.
    lost = [key for key in rest if key not in stays] if work.pacemaker.lost else []
    artefacts = writer.put_keys(f"{number:06d}", part.capture.table, kept) if kept else []
    work.ledger.write(
        work.name,
        Event.DONE,
        chosen(naming, part.capture.keys, {*gone, *lost}),
        of=number,
        deleted=len(gone) + len(lost),
        changed=len(kept),
        batches=batches,
        kept=artefacts,
    )
    if up is not None:
        raise up
