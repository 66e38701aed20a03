"""Instants, spans and sizes as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

NONE = "-"


def short(span: timedelta) -> str:
    """A span in its two greatest units: `45s`, `12m`, `3h5m`, `2d4h`, `31d`. Nothing is below `0s`."""
    seconds = max(0, int(span.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 2:
        return f"{seconds}s"
    if hours < 2:
        return f"{minutes}m"
    if days < 2:
        return _two(hours, "h", minutes % 60, "m")
    return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"


def span_of(seconds: float) -> str:
    """A span of so many seconds."""
    return short(timedelta(seconds=seconds))


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago; `-` where it never was."""
    return short(now - at) if at is not None else NONE


def ahead(at: datetime | None, now: datetime) -> str:
    """How far ahead: `in 3h5m`, `now` where it is due; `-` where nothing is planned."""
    if at is None:
        return NONE
    return f"in {short(at - now)}" if at > now else "now"


def stamp(at: datetime) -> str:
    """An instant as Kubernetes writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"
