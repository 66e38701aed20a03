"""A person's consent to a plan that was shown: asked for, and written down as an Approval under one's own name."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import stamp
from databosun.domain.errors import SafetyStop
from databosun.kube.resources import APPROVALS, Object, Resource

SHOWN_HASH: Final = 8
MAX_OF: Final = 45  # of a name, so that the Approval's own is one
Ask = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan that was shown: of which object, its hash, and what a person of that name is asked. `again`: its hash,
    read anew; None where the plan cannot change any more. Consent holds for `valid_for`, and never beyond `until`."""

    resource: Resource
    name: str
    plan_hash: str
    question: Callable[[str], str]
    again: Callable[[], Awaitable[str | None]] | None = None
    valid_for: timedelta | None = None
    until: datetime | None = None
    refused: str = "not approved"


async def agree(session: Session, shown: Shown, ask: Ask) -> int:
    """Ask, and create the Approval. SafetyStop where the plan is another by then."""
    user = await session.user()
    if not ask(shown.question(user)):
        session.screen.note(shown.refused)
        return FAILED
    if shown.again is not None:
        # The plan may have changed while it was being read; consent is to what was shown.
        demand_hash(await shown.again(), shown.plan_hash)
    body = approval(shown, session.namespace, user, session.clock.now())
    created = await session.kube.create(APPROVALS, session.namespace, body)
    session.screen.out.print(f"approval.databosun.io/{created['metadata']['name']} created", markup=False)
    return OK


def approval(shown: Shown, namespace: str, user: str, now: datetime) -> Object:
    """The Approval of one plan."""
    ends = [now + shown.valid_for if shown.valid_for is not None else None, shown.until]
    name = f"{shown.name[:MAX_OF]}-{shown.plan_hash[:SHOWN_HASH]}-{secrets.token_hex(2)}"
    return {
        "apiVersion": APPROVALS.api_version,
        "kind": APPROVALS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "ref": {"kind": shown.resource.kind, "name": shown.name},
            "planHash": shown.plan_hash,
            "approvedBy": user,
            "notAfter": stamp(min(one for one in ends if one is not None)),
        },
    }


def demand_hash(found: str | None, expected: str | None) -> None:
    """SafetyStop where the plan is not the expected one."""
    found = found or "none"
    if expected is not None and found != expected:
        message = (
            f"the plan is not the one expected: found {found}, expected {expected}; nothing was approved, look again"
        )
        raise SafetyStop(CliReason.PLAN_CHANGED, message)
