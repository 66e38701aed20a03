"""MariaDB's global transaction ids: `domain-server-sequence`, and positions, which hold the newest of each domain.

https://mariadb.com/kb/en/gtid/
"""

from __future__ import annotations


def holds(position: str, gtid: str) -> bool:
    """Whether a transaction lies at or before a position (`0-1-12,3-1-4`), by the sequence of its domain."""
    domain, sequence = _parts(gtid)
    return any(of == domain and newest >= sequence for of, newest in map(_parts, filter(None, position.split(","))))


def _parts(gtid: str) -> tuple[int, int]:
    domain, _, sequence = (int(part) for part in gtid.split("-"))
    return domain, sequence
