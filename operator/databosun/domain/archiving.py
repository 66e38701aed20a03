"""Continuous archiving of one database: who asks for it, whether an archiver may be started, and how it fares.

There is one archiver for each server, however many Databases name that server, and one policy that owns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.quantities import format_duration
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.recovery import Gap
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.conditions import Wanted
from databosun.domain.presets import EffectiveContinuous
from databosun.domain.requests import Named

LOOK_SHORTEST, LOOK_LONGEST = timedelta(seconds=5), timedelta(seconds=30)
# A healthy archive is seen at most this much older than maxLag: half of it waits, half passes until the archiver says
# so, and a sample of the server's clock may be five seconds old. What is older for longer has stalled.
LATE_BY = timedelta(seconds=25)
# Images are pulled and nodes scale up before a first position can be known.
FIRST_LINE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Claim:
    """One policy asks for the log of one database."""

    database: Named
    database_created: datetime
    policy: Named
    policy_created: datetime
    storage: str
    continuous: EffectiveContinuous


def choose_policy(claims: Sequence[Claim], incumbent: str | None) -> Claim | None:
    """The policy that owns a database's log: the one that has it (a uid), else the oldest that asks."""
    having = next((one for one in claims if one.policy.uid == incumbent), None)
    return having or min(claims, key=lambda one: (one.policy_created, one.policy.name), default=None)


def choose_lead(claims: Sequence[Claim], incumbent: str | None) -> Claim | None:
    """The Database that speaks for its server: the one that has (a uid), else the oldest that asks. `claims`: one of
    each Database."""
    having = next((one for one in claims if one.database.uid == incumbent), None)
    return having or min(claims, key=lambda one: (one.database_created, one.database.name), default=None)


def refusal(claim: Claim, engine: EngineName, method: Method, database: str | None) -> Wanted | None:
    """Why a log can never serve this database as its spec stands."""
    kind = ConditionType.CONTINUOUS_HEALTHY
    if database is not None:
        message = (
            f"BackupPolicy {claim.policy.name} asks for the log, which is the whole server's, and "
            f"spec.connection.database names {database!r} alone; leave that out, or set continuous.enabled to false"
        )
        return Wanted(kind, False, "OneDatabaseOnly", message)
    known = CAPABILITIES[engine]
    if not known.replays_onto(method):
        message = (
            f"BackupPolicy {claim.policy.name} asks for the log and for {method} backups, onto which no log can be "
            f"replayed; set method to Auto or {' or '.join(sorted(known.log_onto))}, or continuous.enabled to false"
        )
        return Wanted(kind, False, "LogicalHasNoLog", message)
    return None


def conflict(claim: Claim, lead: Claim) -> Wanted | None:
    """Why this Database's log cannot be shipped as its policy asks: another Database names the same server, and that
    one's log goes elsewhere."""
    if claim.storage == lead.storage:
        return None
    message = (
        f"the same server is Database {lead.database.name}, whose log BackupPolicy {lead.policy.name} ships to "
        f"BackupStorage {lead.storage}; BackupPolicy {claim.policy.name} asks for {claim.storage}: name the same one"
    )
    return Wanted(ConditionType.CONTINUOUS_HEALTHY, False, "Conflict", message)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Something in the way. `person`: one must act, waiting does not help."""

    reason: str
    message: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One archiver as seen last. `began`: when it was first asked for; `open_gap`: one that no backup bridges."""

    name: str
    storage: str
    max_lag: timedelta
    began: datetime
    recoverable_at: datetime | None
    hindrance: Hindrance | None
    open_gap: Gap | None
    has_base: bool


def decide_health(facts: LogFacts, now: datetime) -> tuple[Wanted, datetime | None]:
    """`ContinuousHealthy`, and the instant at which it turns False by itself, were nothing more to come."""
    late_at = _late_at(facts)
    if facts.open_gap is not None:
        return _wanted(False, "LogGap", gap_message(facts.open_gap)), None
    if now >= late_at:
        return _late(facts), None
    hindrance = facts.hindrance
    if hindrance is not None and hindrance.person:
        return _wanted(False, hindrance.reason, hindrance.message), None
    if facts.recoverable_at is None:
        said = f": {hindrance.reason}: {hindrance.message}" if hindrance else ""
        return _wanted(None, "ArchiverStarting", f"archiver {facts.name} has said no position yet{said}"), late_at
    if not facts.has_base:
        message = "the log is shipped; no backup is there yet that it could be replayed onto"
        return _wanted(None, "NoBase", message), late_at
    return _wanted(True, "Archiving", f"archiver {facts.name} ships the log to BackupStorage {facts.storage}"), late_at


def gap_message(gap: Gap) -> str:
    """What a gap means, for people."""
    begin = gap.begin.isoformat() if gap.begin else gap.position
    return (
        f"the log from {begin} to {gap.end.isoformat()} is lost ({gap.reason}); a full backup behind it is taken, and "
        "until then nothing after the gap can be restored from the log"
    )


def _late_at(facts: LogFacts) -> datetime:
    if facts.recoverable_at is None:
        return facts.began + max(facts.max_lag + LATE_BY, FIRST_LINE)
    return facts.recoverable_at + facts.max_lag + LATE_BY


def _late(facts: LogFacts) -> Wanted:
    behind = f"the store is behind by more than maxLag ({format_duration(facts.max_lag)})"
    if facts.recoverable_at is None:
        behind = f"archiver {facts.name} has not said a position yet"
    if facts.hindrance is not None:
        return _wanted(False, facts.hindrance.reason, f"{behind}: {facts.hindrance.message}")
    return _wanted(False, "ArchiveStalled", f"{behind}, and archiver {facts.name} says nothing of a reason")


def _wanted(status: bool | None, reason: str, message: str) -> Wanted:
    return Wanted(ConditionType.CONTINUOUS_HEALTHY, status, reason, message)


def look_every(max_lag: timedelta) -> timedelta:
    """How often an archiver's log is read: as often as it says something, within bounds."""
    return min(LOOK_LONGEST, max(LOOK_SHORTEST, max_lag / 2))
