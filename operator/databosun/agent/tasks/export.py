"""Write all rows of one person into the store as JSON, from one snapshot, and a receipt once all of it is there.

The database is only read. Without a receipt what an attempt wrote is no export: the daily sweep removes it, as it does
with the files of one that has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from databosun.agent.context import Context
from databosun.agent.erasures.book import demand_key, demand_subject
from databosun.agent.evidence import put_record
from databosun.agent.exports import KIND, read_export
from databosun.agent.lifecycle.parts import PartWriter
from databosun.agent.reasons import AgentReason
from databosun.api.dataexport import ExportFile, ExportOrder, ExportResult
from databosun.api.lifecycle import ActionType, LifecycleOrder, LimitsOrder, RuleFacts, RuleOrder, TableFact
from databosun.api.lifecycletasks import ExportTask
from databosun.api.result import Outcome, Result
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import subject_hash
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.domain.lifecycle import Step, hidden_from, make_plan, qualified
from databosun.engines.exporting import ExportSession
from databosun.engines.lifecycle import LifecycleScope, RuleFault, Trouble
from databosun.engines.registry import load_exporting
from databosun.storage.owner import demand_ownership

STATEMENT_SECONDS = 3600.0  # one pass over a large table
LOCK_MILLISECONDS = 5000


@dataclass
class _Work:
    """What one attempt has at hand, and has done."""

    ctx: Context
    task: ExportTask
    session: ExportSession
    order: LifecycleOrder
    writer: PartWriter
    files: list[ExportFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(ctx: Context) -> Result:
    """What was written, or was before under this name."""
    task = ctx.request.job
    if not isinstance(task, ExportTask):
        raise TypeError(task)
    with ctx.phase("claim"):
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
        done = read_export(ctx, ctx.database.name, task.id)
    if done is not None and done.uid != task.uid:
        message = f"an export of this name was done before, by another object ({done.receipt}); nothing was exported"
        raise UserFault(AgentReason.NAME_TAKEN, f"{message}: give the export a name that none had before")
    if done is not None:
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, dataexport=done)
    exporting = load_exporting(ctx.database.engine)
    key, subject = demand_key(ctx), demand_subject(ctx)
    order = _order(task)
    scope = LifecycleScope(
        order=order,
        at=ctx.clock(),
        lock_milliseconds=LOCK_MILLISECONDS,
        statement_seconds=STATEMENT_SECONDS,
        subject=subject,
        pulse=ctx.stop.check,
    )
    folder = ctx.layout.export(ctx.database.name, task.id).attempt(ctx.request.attempt)
    try:
        with exporting.open(ctx.target, scope) as session:
            work = _Work(ctx, task, session, order, PartWriter(ctx, folder))
            with ctx.phase("export"), _whole(work):
                _export(work)
            return _conclude(work, subject_hash(key, subject), folder)
    except RuleFault as fault:
        raise _fault(fault) from fault


def _order(task: ExportTask) -> LifecycleOrder:
    """As rules that take rows by the subject's key: what reads them knows those. Nothing is carried out."""
    rules = [
        RuleOrder(
            name=one.name,
            table=one.table,
            keys=one.keys,
            action=ActionType.DELETE,
            subject_column=one.column or None,
            limits=LimitsOrder(max_rows_per_run=one.max_rows, max_percent=100),
        )
        for one in task.rules
    ]
    return LifecycleOrder(database_uid=task.database_uid, database=task.database, storage=task.storage, rules=rules)


@contextmanager
def _whole(work: _Work) -> Iterator[None]:
    """What is not whole is taken away at once; where that fails, the daily sweep does it."""
    try:
        yield
    except BaseException:  # also an interrupt: a person's rows must not stay for nothing
        with suppress(DatabosunError):
            written = [key for one in work.files for key in one.objects]
            for left in work.ctx.store.delete(written) if written else ():
                work.ctx.log.warning("not removed", key=left.key, message=left.message)
        raise


def _export(work: _Work) -> None:
    """All is looked at before anything is written. Rows lie in the order of the rules, parents before children."""
    found = [(asked, _step(work, asked)) for asked in work.task.rules]
    for asked, step in found:
        for table in _tables(work, asked, step):
            work.ctx.progress.stage(f"export {table}")
            work.files.append(_file(work, asked, step, table))


def _step(work: _Work, asked: ExportOrder) -> Step:
    rule = next(one for one in work.order.rules if one.name == asked.name)
    tables = [_plain(one) for one in work.session.tables(rule)]
    plan = make_plan(work.order, [RuleFacts(rule=rule.name, tables=tables)])
    step = next(one for one in plan.steps if one.rule.name == rule.name)
    if step.table is None:
        message = f"rule {rule.name}: there is no table {rule.table} that the login can see; nothing was exported"
        raise UserFault(Reason.TABLE_NOT_FOUND, message)
    if asked.keys is None and asked.column not in {one.name for one in step.table.columns}:
        message = f"rule {rule.name}: {step.table.name} has no column {asked.column}; nothing was exported"
        raise UserFault(Reason.COLUMN_NOT_FOUND, message)
    if hidden := hidden_from(step):
        message = (
            f"rule {rule.name}: row security hides rows of {', '.join(hidden)} from the login, which needs BYPASSRLS;"
            " nothing was exported"
        )
        raise UserFault(Reason.ROWS_HIDDEN, message)
    return step


def _plain(table: TableFact) -> TableFact:
    """Every table that refers counts as one whose rows belong to the person's, whatever a delete would do to them."""
    references = [one.model_copy(update={"on_delete": "NoAction"}) for one in table.references]
    return table.model_copy(update={"references": references})


def _tables(work: _Work, asked: ExportOrder, step: Step) -> Iterator[str]:
    """The rule's own, then those that go along. UserFault where one of these does not refer to it."""
    own = step.table.name if step.table is not None else ""
    there = list(dict.fromkeys(child.table.name for child in reversed(step.children) if child.table.name != own))
    wanted = {qualified(name, step) for name in asked.along}
    if strange := sorted(wanted - set(there)):
        message = (
            f"rule {asked.name}: {', '.join(strange)} has no foreign key that leads to {own}; make it a rule of its"
            " own, with the column that holds the subject's key"
        )
        raise UserFault(Reason.TABLE_NOT_FOUND, message)
    if left := [name for name in there if name not in wanted]:
        work.notes.append(f"rule {asked.name}: rows of {', '.join(left)} may refer to {own}, and were left out")
    yield own
    yield from (name for name in there if name in wanted)


def _file(work: _Work, asked: ExportOrder, step: Step, table: str) -> ExportFile:
    """Written, and read back as the store takes it."""
    number, own = len(work.files) + 1, step.table is not None and table == step.table.name

    def feed(sink: Callable[[bytes], None]) -> int:
        lines = 0

        def counted(data: bytes) -> None:
            nonlocal lines
            lines += data.count(b"\n")
            if own and lines > asked.max_rows:
                raise _too_many(asked, table)
            sink(data)

        return work.session.read(step, table, counted)

    written = work.writer.put_rows(f"{number:03d}", table, feed)
    return ExportFile(
        rule=asked.name,
        table=table,
        rows=written["rows"],
        name=str(written["name"]).rpartition("/")[2],
        bytes=written["bytes"],
        sha256=written["sha256"],
        stored_bytes=written["storedBytes"],
        stored_sha256=written["storedSha256"],
        objects=written["objects"],
        recipients=written["recipients"],
    )


def _too_many(asked: ExportOrder, table: str) -> UserFault:
    message = (
        f"rule {asked.name}: more rows of {table} have that key than maxRows ({asked.max_rows}); see whether it is the"
        " key of one person, and raise maxRows if it is; nothing was exported"
    )
    return UserFault(Reason.PLAN_GREW, message)


def _conclude(work: _Work, subject: str, folder: str) -> Result:
    ctx, task = work.ctx, work.task
    now = ctx.clock()
    result = ExportResult(
        id=task.id,
        uid=task.uid,
        database=ctx.database.name,
        dbname=work.session.dbname,
        engine_version=work.session.engine_version,
        at=work.session.at,
        subject=subject,
        rules=task.rules,
        folder=ctx.store.url(folder),
        files=work.files,
        notes=work.notes,
        completed_at=now,
        expires_at=now + timedelta(seconds=task.expires_seconds),
    )
    ctx.started = True
    key = ctx.layout.export(ctx.database.name, task.id).result
    with ctx.phase("record"):
        receipt = put_record(ctx, key, {"schema": 1, "kind": KIND, "run": task.id, "result": result.dump()})
    where = {"receipt": ctx.store.url(key), "receipt_sha256": receipt}
    done = result.model_copy(update=where)
    return Result(outcome=Outcome.SUCCEEDED, reason=Reason.EXPORTED, dataexport=done)


def _fault(fault: RuleFault) -> UserFault | WorldFault:
    """Nothing was changed; what would fail again is refused."""
    if fault.trouble is Trouble.PERMANENT:
        return UserFault(fault.reason, f"{fault.message}; nothing was exported")
    return WorldFault(fault.reason, f"{fault.message}; nothing was exported")
