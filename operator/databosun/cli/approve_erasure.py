"""`databosun approve --erasure`: look at what an ErasureRequest would erase, and consent to it under one's own name."""

from __future__ import annotations

from datetime import timedelta

from rich.text import Text

from databosun.api.v1alpha1.erasurerequest import ErasurePhase
from databosun.cli.approve_lifecycle import COLUMNS, details_of, row_of
from databosun.cli.consenting import Ask, Shown, agree, demand_hash
from databosun.cli.lifecyclewords import erasure_of
from databosun.cli.output import table
from databosun.cli.running import OK
from databosun.cli.session import Session
from databosun.cli.words import stamp
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenErasure
from databosun.kube.resources import ERASURE_REQUESTS


async def approve_erasure(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan, ask, and create the Approval. Nothing is created for a request that does not wait for one."""
    request = await _request(session, name)
    status, plan = request.status, request.status.plan
    if plan is None or status.phase is not ErasurePhase.AWAITING_APPROVAL:
        phase = status.phase or ErasurePhase.PENDING
        message = f"ErasureRequest {name} is {phase} and waits for no Approval: there is nothing to approve"
        session.screen.out.print(message, markup=False)
        return OK
    demand_hash(plan.hash, expected)
    session.screen.out.print(
        Text(f"ErasureRequest {session.namespace}/{name}, as it was found at {stamp(plan.at)}"),
        Text(f"plan {plan.hash}, of the subject {status.subject}"),
        "",
        table(COLUMNS, [row_of(rule) for rule in plan.rules]),
        sep="\n",
    )
    for line in (*erasure_of(request.spec), *(line for rule in plan.rules for line in details_of(rule))):
        session.screen.out.print(line, markup=False, highlight=False)

    async def again() -> str | None:
        found = (await _request(session, name)).status.plan
        return found.hash if found is not None else None

    def question(user: str) -> str:
        return f"Erase this person's {plan.rows} rows, for good and from all that is restored later, as {user}?"

    return await agree(session, Shown(ERASURE_REQUESTS, name, plan.hash, question, again, valid_for), ask)


async def _request(session: Session, name: str) -> SeenErasure:
    return read.erasure(await session.find(ERASURE_REQUESTS, name))
