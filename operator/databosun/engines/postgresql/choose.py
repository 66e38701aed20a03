"""Whether a replica is fit to be read."""

from __future__ import annotations

from databosun.domain.wal import parse_lsn
from databosun.engines.postgresql.server import ServerFacts


def begins_too_early(facts: ServerFacts, log_begin: str | None) -> bool:
    """Whether a physical backup of a standby could begin before the log that is to be replayed onto it."""
    return log_begin is not None and facts.in_recovery and parse_lsn(facts.redo_lsn) < parse_lsn(log_begin)
