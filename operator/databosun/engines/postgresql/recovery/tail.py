"""Whether what the replay left of the log is only the beginning of a record that the log does not hold whole.

A log ends where its archiver was, which may be within a record. Anything else that the replay did not take is a hole:
a copy that came up without it would lack the newest transactions and look healthy.
"""

from __future__ import annotations

from databosun.domain.errors import SafetyStop
from databosun.domain.wal import PAGE_HEADER, SEGMENT_HEADER, format_lsn, segment_name
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.recovery import LogSupply

_BLOCK = 8192
_LENGTH_BYTES = 4
_ALIGNED = 8


def demand_complete_tail(log: LogSupply, reached: int, expected: int, timeline: int, segment_bytes: int) -> None:
    """SafetyStop(LogGap) where whole records lie between the position reached and the one that was promised."""
    if reached >= expected:
        return
    at = record_start(reached, segment_bytes)
    if at + _LENGTH_BYTES > expected:
        return
    name = segment_name(timeline, at // segment_bytes, segment_bytes)
    file = log.take(name)
    if file is not None:
        with file.open("rb") as opened:
            opened.seek(at % segment_bytes)
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        file.unlink(missing_ok=True)
        if length and record_end(at, length, segment_bytes) > expected:
            return
    message = (
        f"the replay ended at {format_lsn(reached)}, but the log reaches {format_lsn(expected)}: what lies between was "
        f"not replayed ({name} is missing or damaged there), so the newest transactions would be missing"
    )
    raise SafetyStop(Reason.LOG_GAP, message)


def record_start(lsn: int, segment_bytes: int) -> int:
    """Where the record behind a position begins: aligned, and behind the header of a page."""
    aligned = -(-lsn // _ALIGNED) * _ALIGNED
    if aligned % segment_bytes == 0:
        return aligned + SEGMENT_HEADER
    return aligned + PAGE_HEADER if aligned % _BLOCK == 0 else aligned


def record_end(start: int, length: int, segment_bytes: int) -> int:
    """Where a record of so many bytes ends, with the headers of the pages that it crosses."""
    at, left = start, length
    while left > 0:
        room = _BLOCK - at % _BLOCK
        if room >= left:
            return at + left
        left -= room
        at += room
        at += SEGMENT_HEADER if at % segment_bytes == 0 else PAGE_HEADER
    return at
