"""What this release can do with each kind of database, where the operator has to know it without loading the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`series`: how many leading numbers of a version name a release series, the servers that read each other's files.

    `incremental_on`: the method whose backups an Incremental or Differential stands on; None where there are none.
    `continuous`: whether the log is shipped.
    """

    port: int
    series: int = 1
    incremental_on: Method | None = None
    continuous: bool = False


CAPABILITIES: Mapping[str, Capabilities] = {
    EngineName.POSTGRESQL: Capabilities(5432, incremental_on=Method.PHYSICAL, continuous=True),
    EngineName.MARIADB: Capabilities(3306, series=2, incremental_on=Method.LOGICAL),
    EngineName.REDIS: Capabilities(6379),
}


def series_of(engine: str, version: str | None) -> str | None:
    """The release series in a version: `15` of PostgreSQL 15.20, `10.11` of MariaDB 10.11.19. None where unknown."""
    if not version:
        return None
    known = CAPABILITIES.get(engine)
    return ".".join(version.split(".")[: known.series if known else 1])


def series_order(series: str) -> tuple[int, ...]:
    """For sorting: `10.6` before `10.11`."""
    return tuple(int(part) for part in series.split("."))
