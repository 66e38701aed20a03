"""Sets of MariaDB's GTIDs: what a server's binary log holds of each server in each domain."""

from __future__ import annotations

from collections.abc import Mapping

GtidState = Mapping[tuple[int, int], int]
"""The highest sequence number by domain and server, as `gtid_binlog_state` has it."""


def parse_state(text: str) -> GtidState:
    """Understand `0-1-12,0-2-9`. ValueError where it is none."""
    found: dict[tuple[int, int], int] = {}
    for part in filter(None, (one.strip() for one in text.replace("\n", "").split(","))):
        domain, server, seq = (int(number) for number in part.split("-"))
        found[domain, server] = max(seq, found.get((domain, server), 0))
    return found


def errant(of: str, against: str) -> list[str]:
    """What a server has logged that another has not, as the newest GTID of each server it came from."""
    known = parse_state(against)
    return [
        f"{domain}-{server}-{seq}"
        for (domain, server), seq in sorted(parse_state(of).items())
        if seq > known.get((domain, server), 0)
    ]
