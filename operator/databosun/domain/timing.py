"""What policies say of time, read: a schedule, windows, and how long a run may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.attempt import Limits
from databosun.domain.presets import invalid_spec, read_span
from databosun.domain.schedule import check_cron, check_zone, last_due, next_due

_SECOND = timedelta(seconds=1)


class Recurring(Protocol):
    """A window of a spec."""

    @property
    def cron(self) -> str:
        """When it opens."""
        ...

    @property
    def time_zone(self) -> str:
        """The time zone of `cron`, by its IANA name."""
        ...

    @property
    def duration(self) -> str:
        """How long it stays open, such as `2h`."""
        ...


class Bounded(Protocol):
    """A spec that says how long one attempt may take, and how long it may wait for its pod."""

    @property
    def deadline(self) -> str:
        """How long one attempt may take, such as `24h`."""
        ...

    @property
    def start_deadline(self) -> str:
        """How long it may wait for its pod, such as `30m`."""
        ...


@dataclass(frozen=True, slots=True)
class OnlySchedule:
    """The schedule of a policy that has no more than one."""

    cron: str
    name: str
    type: BackupType = BackupType.FULL


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, again and again, in which runs may do what else waits."""

    cron: str
    zone: str
    duration: timedelta


def check_timing(path: str, cron: str, zone: str) -> None:
    """UserFault(InvalidSpec) names the field that cannot be read."""
    for field, problem in (("cron", check_cron(cron)), ("timeZone", check_zone(zone))):
        if problem:
            message = f"{path}.{field}: {problem}"
            raise invalid_spec(message)


def read_windows(windows: Sequence[Recurring], least: timedelta, most: timedelta) -> tuple[Window, ...]:
    """`spec.windows`, each from `least` to `most` long. UserFault(InvalidSpec) names the field."""
    found = []
    for number, one in enumerate(windows):
        path = f"spec.windows[{number}]"
        check_timing(path, one.cron, one.time_zone)
        found.append(Window(one.cron, one.time_zone, read_span(f"{path}.duration", one.duration, least, most)))
    return tuple(found)


def window_at(windows: Sequence[Window], now: datetime) -> tuple[datetime | None, datetime | None]:
    """When the window that is open closes last, and, where none is open, when the next one opens; no windows:
    neither."""
    if not windows:
        return None, None
    closing = [
        opened + one.duration
        for one in windows
        if (opened := last_due(one.cron, one.zone, now - one.duration, now)) is not None
    ]
    if closing:
        return max(closing), None
    return None, min(next_due(one.cron, one.zone, now) for one in windows)


def read_limits(spec: Bounded, retries: int, most: timedelta) -> Limits:
    """The bounds of a run; its pod starts within the time of one attempt. UserFault(InvalidSpec) names the field."""
    deadline = read_span("spec.deadline", spec.deadline, _SECOND, most)
    start = read_span("spec.startDeadline", spec.start_deadline, _SECOND, most)
    return Limits(retries=retries, deadline=deadline, start_deadline=min(start, deadline))
