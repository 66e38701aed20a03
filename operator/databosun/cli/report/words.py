"""How figures, instants and verdicts read in every form of a report."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

from databosun.api.drill import CheckOutcome
from databosun.api.quantities import format_duration
from databosun.api.report import JointDrill, JointMember, ReportDatabase, ReportDrill, ReportFailover, State, Trust

NONE = "-"

STATES = {
    State.PROVEN: "Proven",
    State.FAILING: "Failing",
    State.NOT_PROVEN: "Not proven",
    State.NEVER_DRILLED: "Never drilled",
}
TRUSTS = {
    Trust.SIGNED: "signed, verified",
    Trust.UNSIGNED: "consistent, not signed",
    Trust.BROKEN: "NOT AS WRITTEN",
    Trust.STATUS_ONLY: "status only, record not read",
}
TONES = {
    "Proven": "good",
    "Passed": "good",
    "Signed": "good",
    "True": "good",
    "Failing": "bad",
    "Failed": "bad",
    "Broken": "bad",
    "False": "bad",
    "NotProven": "warn",
    "Partial": "warn",
    "Aborted": "warn",
    "Inconclusive": "warn",
    "StatusOnly": "warn",
}


def tone(word: object) -> str:
    """The colour that a word is shown in: good, bad, warn or plain."""
    return TONES.get(str(word), "plain")


def clean(value: object) -> str:
    """Text that shows what it holds: what has no shape, or would turn the line around, is written out."""
    text = "" if value is None else str(value)
    if text.isprintable() and text.isascii():
        return text
    return "".join(_shown(one) for one in text)


def _shown(char: str) -> str:
    if char in "\n\t":
        return " "
    return f"\\u{ord(char):04x}" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} else char


def span(seconds: float | None) -> str:
    """A measured span: `0.4s`, `12.3s`, `4m12s`."""
    if seconds is None:
        return NONE
    return f"{seconds:.1f}s" if seconds < 60 else format_duration(timedelta(seconds=seconds))


def limit(seconds: float | None) -> str:
    """An objective: `15m`, `1d`."""
    return NONE if seconds is None else format_duration(timedelta(seconds=seconds))


def instant(at: datetime | None) -> str:
    """An instant to the second, in UTC."""
    return NONE if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(at: datetime | None) -> str:
    """A day, in UTC."""
    return NONE if at is None else f"{at.astimezone(UTC):%Y-%m-%d}"


def measured(drill: ReportDrill, which: str) -> str:
    """`4m12s of 15m`, with MISSED where it was."""
    found = drill.rto if which == "rto" else drill.rpo
    if found is None:
        return NONE
    words = span(found.seconds)
    if which == "rpo" and drill.rpo is not None and not drill.rpo.exact:
        words = f"≤ {words}"
    if found.objective is not None:
        words += f" of {limit(found.objective)}"
    return f"{words}, MISSED" if found.met is False else words


def checks(drill: ReportDrill) -> str:
    """`5 of 6 passed`, and what did not."""
    if not drill.checks:
        return "none"
    passed = sum(one.outcome is CheckOutcome.PASSED for one in drill.checks)
    return f"{passed} of {len(drill.checks)} passed"


def downtime(test: ReportFailover) -> str:
    """`2.6s of 1m`, with MISSED where nobody could write for longer, by any way; each way where there are several."""
    found, aim = test.write_downtime, test.write_downtime_objective
    ways = ", ".join(f"{name} {span(seconds)}" for name, seconds in test.paths.items())
    by = f" (by path: {ways})" if ways else ""
    if found is None or aim is None:
        return span(found) + by
    return f"{span(found)} of {limit(aim)}{', MISSED' if max(found, *test.paths.values(), 0.0) > aim else ''}{by}"


def lost(test: ReportFailover) -> str:
    """`0 of 400`, of the writes that were acknowledged."""
    return NONE if test.lost is None else f"{test.lost} of {test.acknowledged}"


def moved(test: ReportFailover) -> str:
    """`n1 to n2`."""
    return f"{test.primary or NONE} to {test.candidate or NONE}"


def joint_time(joint: JointDrill) -> str:
    """How long until all were back, with MISSED where one was late."""
    return f"{span(joint.seconds)}{', MISSED' if joint.met is False else ''}"


def member(one: JointMember) -> str:
    """`shop-db: Passed, back after 4m12s of 15m`."""
    back = f", back after {span(one.ready_seconds)}" if one.ready_seconds is not None else ""
    aim = f" of {limit(one.objective)}" if back and one.objective is not None else ""
    wrong = "; its record is another one than this names" if one.record == "Differs" else ""
    return f"{one.database}: {one.verdict}{back}{aim}{', MISSED' if one.met is False else ''}{wrong}"


def coverage(database: ReportDatabase) -> str:
    """`12 of 40 backups drilled`."""
    found = database.coverage
    return f"{found.drilled} of {found.backups}" if found.known else "unknown"


def objectives(database: ReportDatabase) -> str:
    """`tier 1: RTO 15m, RPO 5m`."""
    known = database.objectives
    tier = f"tier {known.tier}: " if known.tier is not None else ""
    return f"{tier}RTO {limit(known.rto)}, RPO {limit(known.rpo)}"


def not_said(database: ReportDatabase) -> str:
    """Runs that said nothing: `2 Refused, 1 Error`."""
    return ", ".join(f"{count} {phase}" for phase, count in database.not_said.items())


def newest(database: ReportDatabase) -> ReportDrill | None:
    """The newest drill whose record is as written."""
    return next((one for one in database.drills if one.record.trust is not Trust.BROKEN), None)
