"""`databosun failover`: test a failover by hand, consent to its plan, and follow it to its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from databosun.api.failoverprobe import ErrorName
from databosun.api.v1alpha1.failoverseen import ErrorSeen, FailbackResult, PathResult
from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.cli.consenting import Ask, Shown, agree, demand_hash
from databosun.cli.following import Run, tell_failure
from databosun.cli.handmade import by_hand
from databosun.cli.output import table
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import NONE
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenFailoverRun
from databosun.domain.errors import UserFault
from databosun.domain.failoverplan import describe_plan
from databosun.kube.resources import FAILOVER_TEST_RUNS, FAILOVER_TESTS, Object


async def start(session: Session, test: str, start_within: timedelta) -> SeenFailoverRun:
    """Create the run. UserFault where there is no such FailoverTest."""
    seen = read.failover_test(await session.find(FAILOVER_TESTS, test))
    database = seen.spec.database_ref.name
    return await RUN.create(session, lambda now: manifest(session.namespace, test, database, now, start_within))


def manifest(namespace: str, test: str, database: str, now: datetime, start_within: timedelta) -> Object:
    """The run to create."""
    spec = {"testRef": {"name": test}, "databaseRef": {"name": database}}
    return by_hand(FAILOVER_TEST_RUNS, namespace, database, spec, now, start_within)


async def approve(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan, ask, and consent to it with an Approval under one's own name."""
    seen = read.failover_run(await session.find(FAILOVER_TEST_RUNS, name))
    plan = seen.status.plan
    if plan is None or seen.status.phase is not FailoverPhase.AWAITING_APPROVAL:
        message = f"FailoverTestRun {name} is {seen.status.phase or 'not picked up yet'}, and waits for no Approval"
        raise UserFault(CliReason.BAD_USAGE, message)
    demand_hash(plan.hash, expected)
    _show(session, seen)

    async def again() -> str | None:
        found = read.failover_run(await session.find(FAILOVER_TEST_RUNS, name)).status.plan
        return found.hash if found is not None else None

    def question(user: str) -> str:
        return f"Consent as {user}: {describe_plan(plan)}?"

    shown = Shown(FAILOVER_TEST_RUNS, name, plan.hash, question, again, valid_for, plan.until)
    return await agree(session, shown, ask)


def verdict(session: Session, seen: SeenFailoverRun) -> int:
    """Say how it went: how long no write was taken, what was lost, what each client met."""
    status, name = seen.status, f"{seen.meta.namespace}/{seen.meta.name}"
    if status.phase is FailoverPhase.AWAITING_APPROVAL:
        _show(session, seen)
        command = f"kubectl bosun approve -n {seen.meta.namespace} --failover {seen.meta.name}"
        session.screen.out.print(f"it waits for consent: {command}", markup=False)
        return OK
    for line in _figures(seen):
        session.screen.out.print(line, markup=False)
    if status.phase is not FailoverPhase.PASSED:
        tell_failure(session, seen, "FailoverTestRun")
        return FAILED
    message = next((one.message for one in status.conditions if one.type == "Ready"), "")
    session.screen.out.print(f"FailoverTestRun {name} passed: {message}", markup=False)
    return OK


def _figures(seen: SeenFailoverRun) -> list[str]:
    status, found = seen.status, seen.status.result
    lines = [
        f"  guard {one.name}: found {one.observed}, expected {one.limit}" for one in status.guards or [] if not one.ok
    ]
    if found is not None:
        lines.append(
            f"  no write for {found.write_downtime or 'an unknown time'}; {found.acknowledged} acknowledged,"
            f" {found.lost} lost, {found.unknown} unknown, {found.phantom} phantom, {found.rejoin_lost} lost at rejoin"
        )
        if found.recovered_milliseconds is not None and status.plan is not None:
            seconds = found.recovered_milliseconds / 1000
            lines.append(f"  nobody was promoted: {status.plan.primary} took writes again after {seconds:.1f} s")
        lines += [f"  split brain: {proof}" for proof in found.split_brain]
    lines += [_failback(status.failback)] if status.failback is not None else []
    lines += [_path(one) for one in status.paths or []]
    for client in status.clients or []:
        lines.append(f"  client {client.name} ({client.path}): {_met(client.errors)}")
    lines += [f"  evidence: {status.evidence.uri}"] if status.evidence else []
    return lines + [f"  {note}" for note in status.notes or []]


def _failback(back: FailbackResult) -> str:
    found = back.result
    if back.phase != FailoverPhase.PASSED or found is None:
        return f"  the move back from {back.primary} to {back.candidate} is {back.phase}: {back.reason}: {back.message}"
    return (
        f"  moved back to {back.candidate}: no write for {found.write_downtime or 'an unknown time'};"
        f" {found.acknowledged} acknowledged, {found.lost} lost, {found.rejoin_lost} lost at rejoin"
    )


def _path(path: PathResult) -> str:
    """One way, and what retries of an application there must survive."""
    back = path.all_succeeded_milliseconds
    again = "not all wrote again" if back is None else f"all wrote again after {back / 1000:.1f} s"
    return (
        f"  path {path.name} ({path.kind}, {path.clients} clients): no write for"
        f" {path.write_downtime or 'an unknown time'}, {again}; {path.failed} refused, {path.unknown} unknown,"
        f" {path.broken_connections} connections broken; {_met(path.errors)}"
    )


def _met(errors: Sequence[ErrorSeen]) -> str:
    told = [f"{one.kind if one.name is ErrorName.OTHER else f'{one.name} ({one.kind})'} x{one.count}" for one in errors]
    return ", ".join(told) or "no errors"


def _show(session: Session, seen: SeenFailoverRun) -> None:
    """The plan: who takes over from whom, and how all nodes were found."""
    plan, nodes = seen.status.plan, seen.status.topology_before
    if plan is None:
        return
    session.screen.out.print(
        f"FailoverTestRun {seen.meta.namespace}/{seen.meta.name}, by {plan.provider}: {describe_plan(plan)}\n"
        f"plan {plan.hash}, good until {plan.until:%Y-%m-%dT%H:%M:%SZ}",
        markup=False,
    )
    if nodes is None:
        return
    rows = [
        [one.name, one.role, "yes" if one.healthy else "no", NONE if one.lag_bytes is None else str(one.lag_bytes)]
        for one in nodes.members
    ]
    session.screen.out.print(table(["NODE", "ROLE", "HEALTHY", "LAG BYTES"], rows))
    session.screen.out.print(f"fencing: {nodes.fencing or 'none was found'}", markup=False)


RUN = Run(FAILOVER_TEST_RUNS, "forun", read.failover_run, verdict)
