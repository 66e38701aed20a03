"""A restore after an erasure does not bring the person back: what every restored copy goes through before it is used.

Nothing is left out silently: where the ledger says that somebody was erased since, and it cannot be repeated, the
restore is refused; where a person asked to leave it out, the result says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from databosun.agent.backups import Chosen
from databosun.agent.context import Context
from databosun.agent.erasures.book import demand_key, demand_same_key, read_ledger
from databosun.agent.reasons import AgentReason
from databosun.api.drill import CheckOutcome, CheckResult, CheckType, Severity
from databosun.api.restoretasks import KnownErasure
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import MARGIN, Erased, to_repeat
from databosun.domain.errors import UserFault
from databosun.engines.erasing import Repeated
from databosun.engines.recovery import Copy
from databosun.engines.registry import load_erasing

CHECK = "erasures"
_NAMED = 10
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What a backup's data may hold of people who were erased since it was taken. `key`: None where it is left out.
    `known`, `wanted`: as `outstanding` was asked."""

    erased: tuple[Erased, ...]
    key: bytes | None
    known: tuple[KnownErasure, ...] = ()
    wanted: bool = True


def outstanding(ctx: Context, chosen: Chosen, known: Sequence[KnownErasure], *, wanted: bool = True) -> Outstanding:
    """Read the ledger before anything is fetched. UserFault where it cannot be repeated. `known`: erasures that must be
    in it; `wanted`: False where a person asked to leave it out."""
    last = chosen.last.manifest
    found = read_ledger(ctx, last.database.name, last.database.system_identifier)
    # What a log adds may be younger; of the backup itself nothing is older than this.
    erased = list(to_repeat(found, last.shows or _EVER))
    if wanted:
        _demand_known(ctx, chosen, found, known)
    if not erased or not wanted:
        return Outstanding(tuple(erased), None, tuple(known), wanted)
    load_erasing(ctx.database.engine)
    try:
        key = demand_key(ctx)
    except UserFault as fault:
        message = (
            f"{len(erased)} people were erased since backup {last.id} ({_names(erased)}), and whoever restores it must"
            f" find them again: {fault.message}"
        )
        raise UserFault(fault.reason, message) from fault
    demand_same_key(ctx, key, erased)
    return Outstanding(tuple(erased), key, tuple(known), wanted)


def _demand_known(ctx: Context, chosen: Chosen, found: Sequence[Erased], known: Sequence[KnownErasure]) -> None:
    """UserFault(ErasureUnknown) where the ledger lacks what the cluster knows was done after this backup."""
    there, last = {one.entry.id for one in found}, chosen.last.manifest
    taken = last.shows or _EVER
    lacking = [
        one.id
        for one in known
        if one.id not in there and (one.verified_at is None or taken <= one.verified_at + MARGIN)
    ]
    if lacking:
        message = (
            f"ErasureRequests {', '.join(lacking[:_NAMED])} were carried out after backup {last.id}, and the ledger at"
            f" {ctx.store.url(ctx.layout.erasures)} has no entry of them; a restore would bring these people back"
        )
        raise UserFault(Reason.ERASURE_UNKNOWN, message)


def repeat(ctx: Context, due: Outstanding, chosen: Chosen, copy: Copy) -> list[CheckResult]:
    """Erase again in the copy. What was done, as a check of the run; none where there is nothing to do.

    The ledger is read once more: hours may have passed, in which others were erased.
    """
    due = outstanding(ctx, chosen, due.known, wanted=due.wanted)
    erased = to_repeat(due.erased, _instant(chosen, copy))
    if not erased:
        return []
    if due.key is None:
        return [_left_out(erased)]
    began = time.monotonic()
    ctx.progress.stage("erase again")
    with ctx.phase("erase"):
        entries = [one.entry for one in erased]
        done = load_erasing(ctx.database.engine).repeat(copy, entries, due.key, ctx.stop.check)
    for one in done:
        ctx.log.info("erased again", erasure=one.id, found=one.found, rows=one.rows, missing=list(one.missing))
    return [_said(done).model_copy(update={"seconds": round(time.monotonic() - began, 3)})]


def demand_none_since(ctx: Context, database: str, story: Mapping[str, object]) -> None:
    """What was staged must hold nobody who was erased since. UserFault(NotPromoted)."""
    system, began = story.get("systemIdentifier"), datetime.fromisoformat(str(story["startedAt"]))
    found = read_ledger(ctx, database, str(system) if system else None)
    since = [one for one in found if one.entry.at >= began]
    if since:
        message = (
            f"{len(since)} people were erased since this restore began ({_names(since)}), and what was staged holds"
            " them still; nothing was put in place: restore again"
        )
        raise UserFault(AgentReason.NOT_PROMOTED, message)


def notes_of(checks: Sequence[CheckResult]) -> list[str]:
    """What people must know of it besides: that somebody is back, or that a part of a rule had nothing to work on."""
    return [one.message for one in checks if one.name == CHECK and one.message]


def _instant(chosen: Chosen, copy: Copy) -> datetime:
    """What the copy's data are as of: its newest commit, and not the time that was asked for, which may be later."""
    return copy.reached.last_commit or chosen.last.manifest.shows or _EVER


def _said(done: Sequence[Repeated]) -> CheckResult:
    rows: dict[str, int] = {}
    for one in done:
        for table, count in one.rows.items():
            rows[table] = rows.get(table, 0) + count
    told = ", ".join(f"{count} rows of {table}" for table, count in sorted(rows.items())) or "no row"
    observed = f"{len(done)} erasures repeated, {sum(one.found for one in done)} people found: {told}"
    missing = [f"{one.id}: {', '.join(one.missing)}" for one in done if one.missing]
    message = f"erasures found nothing to work on where the copy has no {'; '.join(missing)}" if missing else ""
    ended = "nobody looked for them in what the copy does not have" if missing else "none left"
    return _result(CheckOutcome.PASSED, f"{observed[:400]}; {ended}", message[:1000])


def _left_out(erased: Sequence[Erased]) -> CheckResult:
    message = (
        f"erasures were left out, as was asked: {len(erased)} people who were erased since may be in the restored data"
        f" ({_names(erased)})"
    )
    return _result(CheckOutcome.SKIPPED, "nothing was erased again", message)


def _result(outcome: CheckOutcome, observed: str, message: str) -> CheckResult:
    return CheckResult(
        name=CHECK,
        type=CheckType.ENGINE_INTEGRITY,
        severity=Severity.CRITICAL,
        outcome=outcome,
        observed=observed[:500],
        message=message,
    )


def _names(erased: Sequence[Erased]) -> str:
    more = f" and {len(erased) - _NAMED} more" if len(erased) > _NAMED else ""
    return ", ".join(one.entry.id for one in erased[:_NAMED]) + more
