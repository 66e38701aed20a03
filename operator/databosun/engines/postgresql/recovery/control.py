"""What `pg_controldata` says of a data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from databosun.domain.errors import SafetyStop
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.programs import output_of

_SETTINGS = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}


@dataclass(frozen=True, slots=True)
class Control:
    """`settings`: what the primary ran with, below which recovery may not go."""

    system_identifier: str
    state: str
    timeline: int
    segment_bytes: int
    checksums: bool
    settings: Mapping[str, int]


def read_control(data: Path, major: int, pulse: Callable[[], None]) -> Control:
    """Read it with the program of the server's own major. SafetyStop(RecoveryFailed) where it makes no sense."""
    text = output_of("pg_controldata", major, ["-D", str(data)], pulse)
    return parse_control(text)


def parse_control(text: str) -> Control:
    """Understand what the program printed."""
    fields = dict(_split(line) for line in text.splitlines() if ":" in line)
    try:
        return Control(
            system_identifier=fields["Database system identifier"],
            state=fields["Database cluster state"],
            timeline=int(fields["Latest checkpoint's TimeLineID"]),
            segment_bytes=int(fields["Bytes per WAL segment"]),
            checksums=fields["Data page checksum version"] != "0",
            settings={name: int(fields[key]) for key, name in _SETTINGS.items()},
        )
    except (KeyError, ValueError) as error:
        message = f"pg_controldata said what was not expected ({error!r} in {text[:500]!r}); the copy cannot be trusted"
        raise SafetyStop(Reason.RECOVERY_FAILED, message) from error


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
