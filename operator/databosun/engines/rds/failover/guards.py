"""What must hold before AWS is told to fail over: a second one, nothing under way, and nothing that a restart would
bring about besides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time

from databosun.api.failover import GuardResult
from databosun.domain.errors import DatabosunError
from databosun.engines.failover import Spot, Writers
from databosun.engines.rds.failover.look import Look
from databosun.engines.rds.server import AVAILABLE

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_IN_SYNC = "in-sync"
_WINDOW = re.compile(r"(?:(\w{3}):)?(\d\d):(\d\d)-(?:(\w{3}):)?(\d\d):(\d\d)")


def cloud_guards(look: Look, now: datetime) -> list[GuardResult]:
    """By what AWS says. `now`: in UTC, as its windows are."""
    busy = [f"{name} is {status}" for name, status in look.statuses if status != AVAILABLE]
    pending = sorted(set(_pending(look)))
    open_now = [text for text in _windows(look) if within(text, now)]
    return [
        _second(look),
        _guard(
            "instanceAvailable", not busy, ", ".join(busy) or AVAILABLE, AVAILABLE,
            "wait until AWS has done what it is at (backup, maintenance, a change)",
        ),
        _guard(
            "nothingPending", not pending, ", ".join(pending)[:1000] or "nothing", "no change waits for a restart",
            "the failover starts the server anew, and would bring the change about: let it be made first, or take it "
            "back",
        ),
        _guard(
            "outsideMaintenance", not open_now, ", ".join(open_now) or "no window of AWS is open",
            "outside of the instance's windows for maintenance and backups",
            "AWS may begin with either at any moment: wait until the window is over",
        ),
    ]  # fmt: skip


def writer_guards(writers: Writers, spot: Spot) -> list[GuardResult]:
    """Whether clients get in, and may have their table."""
    try:
        lacking = writers.lacking(spot)
    except DatabosunError as fault:
        return [
            _guard(
                "membersReachable", False, fault.message[:1000], "the endpoint lets the writers in",
                "let the Job's network and the login of the writers in",
            )
        ]  # fmt: skip
    return list(lacking)


def within(window: str, now: datetime) -> bool:
    """Whether a window such as `sun:05:00-sun:06:00`, or `03:00-04:00` of every day, is open."""
    found = _WINDOW.fullmatch(window)
    if found is None:
        return False
    day, hour, minute, last, until_hour, until_minute = found.groups()
    begins, ends = time(int(hour), int(minute)), time(int(until_hour), int(until_minute))
    if day is None or last is None:
        inside = begins <= now.time() < ends
        return inside if begins < ends else now.time() >= begins or now.time() < ends
    at = now.weekday(), now.time()
    opened, closed = (_DAYS.index(day), begins), (_DAYS.index(last), ends)
    return opened <= at < closed if opened < closed else at >= opened or at < closed


def _second(look: Look) -> GuardResult:
    server = look.server
    if server.clustered:
        ok = len(server.members) > 1
        return _guard(
            "multiAZ", ok, f"{len(server.members)} instances", "a cluster with two instances or more",
            f"add one to {server.name}: alone, its only instance would be made anew, and be away for minutes",
        )  # fmt: skip
    ok = bool(server.said.get("MultiAZ")) and bool(server.said.get("SecondaryAvailabilityZone"))
    return _guard(
        "multiAZ", ok, "Multi-AZ" if ok else "Single-AZ", "Multi-AZ with a standby",
        f"aws rds modify-db-instance --db-instance-identifier {server.name} --multi-az",
    )  # fmt: skip


def _pending(look: Look) -> Iterable[str]:
    for one in look.instances():
        name = one.get("DBInstanceIdentifier")
        yield from (f"{name}: {what}" for what in one.get("PendingModifiedValues") or {})
        for group in one.get("DBParameterGroups") or ():
            status = group.get("ParameterApplyStatus")
            if status not in (None, _IN_SYNC):
                yield f"{name}: parameter group {group.get('DBParameterGroupName')} is {status}"
    for one in look.server.said.get("DBClusterMembers") or ():
        status = one.get("DBClusterParameterGroupStatus")
        if status not in (None, _IN_SYNC):
            yield f"{one.get('DBInstanceIdentifier')}: cluster parameter group is {status}"


def _windows(look: Look) -> Iterable[str]:
    names = "PreferredMaintenanceWindow", "PreferredBackupWindow"
    told = [look.server.said, *look.server.members]
    return sorted({str(one[name]) for one in told for name in names if one.get(name)})


def _guard(name: str, ok: bool, observed: str, limit: str, todo: str) -> GuardResult:
    return GuardResult(name=name, ok=ok, observed=observed, limit=limit, message=None if ok else todo)
