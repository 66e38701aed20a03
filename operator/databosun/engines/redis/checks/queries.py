"""Checks that a user writes: one command that only reads, one value."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from databosun.api.drill import Check, CheckResult
from databosun.engines.checking import compare_age, compare_canary, compare_value
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.resp import Wire

_STREAM_ID = re.compile(r"(\d{13})-\d+")
# Beyond this a number of seconds would be in the year 5138: it counts milliseconds.
_MILLISECONDS_FROM = 100_000_000_000


def ask(scene: Scene, check: Check) -> str | None:
    """The one value that a check's command gives, as text. ValueError where it gives something else, or may write."""
    if not check.query:
        msg = f"check {check.name} of type {check.type} needs a query: one command that only reads"
        raise ValueError(msg)
    words = shlex.split(check.query)
    with scene.connect(scene.database_of(check)) as wire:
        _demand_reading(wire, words)
        found = wire.call(*words, seconds=check.timeout_seconds)
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, list):
        msg = f"{words[0]} gives {len(found)} values; one was expected"
        raise ValueError(msg)
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    return None if found is None else str(found)


def check_query(scene: Scene, check: Check) -> CheckResult:
    """The value compares as asked."""
    if check.value is None:
        msg = f"check {check.name} of type Query needs the value to compare with"
        raise ValueError(msg)
    return compare_value(check, ask(scene, check))


def check_canary(scene: Scene, check: Check) -> CheckResult:
    """A known value is there, exactly."""
    return compare_canary(check, ask(scene, check))


def check_freshness(scene: Scene, check: Check) -> CheckResult:
    """The newest instant that the command gives is no older than asked, at the instant of the drill."""
    found = ask(scene, check)
    return compare_age(check, None if found is None else instant_of(found), scene.assumed_at)


def instant_of(text: str) -> datetime:
    """Seconds or milliseconds since 1970, the id of a stream's entry, or ISO 8601 (UTC where it says nothing)."""
    if found := _STREAM_ID.fullmatch(text):
        text = found[1]
    number = _number(text)
    try:
        if number is not None:
            seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
            return datetime.fromtimestamp(float(seconds), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        msg = f"the command gives {text[:80]!r}; expected seconds or milliseconds since 1970, or ISO 8601"
        raise ValueError(msg) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _demand_reading(wire: Wire, words: list[str]) -> None:
    """By the server's own word."""
    if not words:
        msg = "the query is empty; expected one command that only reads"
        raise ValueError(msg)
    described = wire.call("COMMAND", "INFO", words[0])
    entry = described[0] if isinstance(described, list) and described else None
    flags = entry[2] if isinstance(entry, list) and len(entry) > 2 else []
    if not isinstance(flags, list) or b"readonly" not in flags:
        msg = f"{words[0]} is no command that only reads; a check may not change what it looks at"
        raise ValueError(msg)


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
