"""Global transaction ids as positions: MariaDB's, `domain-server-sequence` of the newest in each domain, and MySQL's
sets.

https://mariadb.com/kb/en/gtid/
"""

from __future__ import annotations

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.gtidset import parse_gtid_set


def holds(position: str, gtid: str) -> bool:
    """Whether transactions lie at or before a position."""
    return not lacking(position, gtid)


def lacking(position: str, gtid: str) -> str:
    """What of it does not: of MariaDB (`0-1-12,3-1-4`) by the sequence of the domain."""
    if ":" in gtid or ":" in position:
        return _lacking_of_set(position, gtid)
    domain, sequence = _parts(gtid)
    known = map(_parts, filter(None, position.split(",")))
    return "" if any(of == domain and newest >= sequence for of, newest in known) else gtid


def is_of(engine: EngineName, gtid: str) -> bool:
    """Whether it is written as transactions of that kind of database are."""
    return (":" in gtid) is (engine is EngineName.MYSQL)


def _lacking_of_set(position: str, gtids: str) -> str:
    try:
        return str(parse_gtid_set(gtids) - parse_gtid_set(position))
    except ValueError:  # of the other product
        return gtids


def _parts(gtid: str) -> tuple[int, int]:
    domain, _, sequence = (int(part) for part in gtid.split("-"))
    return domain, sequence
