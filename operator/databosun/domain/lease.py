"""The rules of the Lease by which one operator at a time acts: who may take it, and what is written then.

Nobody's wall clock is compared with another's. A holder is gone when its record has not changed for the duration that
the record itself names, as measured by the one who looks (the rule of Kubernetes' own components).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. `version` is the resourceVersion as read; an empty holder means that it was given back."""

    holder: str
    duration_seconds: int
    acquired: datetime | None
    renewed: datetime | None
    transitions: int = 0
    version: str = ""

    def same_beat(self, other: LeaseRecord | None) -> bool:
        """Whether the holder has not renewed between the two readings, whatever else was written to the object."""
        return other is not None and (self.holder, self.renewed, self.transitions) == (
            other.holder,
            other.renewed,
            other.transitions,
        )


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds. A holder that could not renew gives up before anybody else may take over, with time to spare."""

    duration: int = 15
    renew_every: float = 2.0
    give_up_after: float = 10.0
    fresh_for: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_every < self.fresh_for <= self.give_up_after < self.duration:
            message = f"{self}: expected renew_every < fresh_for <= give_up_after < duration"
            raise ValueError(message)


def may_take(record: LeaseRecord, me: str, unchanged_for: float) -> bool:
    """Whether `me` may write itself in; `unchanged_for` is how long the record has stood as it is before our eyes."""
    return record.holder in ("", me) or unchanged_for > record.duration_seconds


def taken(record: LeaseRecord | None, me: str, now: datetime, timing: LeaseTiming) -> LeaseRecord:
    """The record with `me` as its new holder."""
    transitions = record.transitions + (record.holder != me) if record else 0
    version = record.version if record else ""
    return LeaseRecord(me, timing.duration, now, now, transitions, version)


def renewed(record: LeaseRecord, now: datetime) -> LeaseRecord:
    """The record with another beat of its holder; it always differs, even where the wall clock was set back."""
    if record.renewed is not None and now == record.renewed:
        return replace(record, renewed=now.replace(microsecond=(now.microsecond + 1) % 1_000_000))
    return replace(record, renewed=now)


def released(record: LeaseRecord, now: datetime) -> LeaseRecord:
    """The record given back: the next one need not wait."""
    return replace(record, holder="", duration_seconds=1, renewed=now)
