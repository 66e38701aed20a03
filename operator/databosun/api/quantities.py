"""Durations and sizes as people write them in YAML; one parser for each."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

# Each unit at most once, largest first, few enough digits that adding the longest one to any date of this or
# the next millennium cannot leave the calendar (about 1,800 years). Empty text matches: the length is checked apart.
DURATION_PATTERN = (
    r"^([0-9]{1,3}y)?([0-9]{1,4}w)?([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
)
QUANTITY_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,6})?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

_MILLISECONDS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_DURATION = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]+)(ms|y|w|d|h|m|s)")
_QUANTITY = re.compile(r"^([0-9]{1,18}(?:\.[0-9]{1,6})?)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration with d, w and y (365 d), such as `1h30m` or `7y`. ValueError says what is off."""
    if not text or not _DURATION.fullmatch(text):
        units = "y, w, d, h, m, s, ms, the largest first"
        msg = f"{text!r} is not a duration; expected numbers with units ({units}), such as 90d or 1h30m"
        raise ValueError(msg)
    return timedelta(milliseconds=sum(int(n) * _MILLISECONDS[unit] for n, unit in _PART.findall(text)))


def format_duration(span: timedelta) -> str:
    """Write a duration the short way, to the second: `1d2h`, `90s` as `1m30s`, `0s` for nothing."""
    seconds = int(span.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_quantity(text: str | int) -> int:
    """Read a Kubernetes quantity of bytes, such as `10Gi`, rounded up to a byte. ValueError says what is wrong."""
    match = _QUANTITY.fullmatch(str(text))
    if not match:
        msg = f"{text!r} is not a size; expected a number with an optional unit, such as 10Gi or 500M"
        raise ValueError(msg)
    unit = match[2] or ""
    exact = Decimal(match[1]) * (_BINARY.get(unit) or _DECIMAL[unit])
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def humanize_bytes(count: int) -> str:
    """Show a size for people, in binary units: `1.4GiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f}{unit}" if unit == "B" or value >= 100 else f"{value:.1f}{unit}"
