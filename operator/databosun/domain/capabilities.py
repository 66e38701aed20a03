"""What this release can do with each kind of database, where the operator has to know it without loading the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from databosun.api.drill import PointKind
from databosun.api.lifecycle import ActionType
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.lifecycle import BY_PARTITION


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`series`: how many leading numbers of a version name a release series, the servers that read each other's files.

    `incremental_on`: the methods whose backups an Incremental or Differential stands on; empty where there are none.
    `log_onto`: the methods onto whose backups the log is replayed; empty where it is not shipped. `log_in_chain`:
    whether an Incremental holds the log since its parent, so that its chain recovers to any time within it.
    `log_kept`: a replay has all of the log on disk at once. `managed`: a cloud keeps backups and log, in the store lies
    a note of each; so every Job needs the login, and none needs the server's programs. `actions`: what
    LifecyclePolicies can do with its rows, or, where it is `keyed`, with keys; `references`: whether rows refer to
    others by foreign keys; `erases`: whether ErasureRequests and DataExports find people in it. `by_name`: which points
    of its log have names that a Restore can be given. `lasting_identity`: whether what a server is known by stays the
    same when another member of its replication takes over.
    """

    port: int
    series: int = 1
    incremental_on: frozenset[Method] = frozenset()
    log_onto: frozenset[Method] = frozenset()
    managed: bool = False
    log_in_chain: bool = False
    log_kept: bool = False
    actions: frozenset[ActionType] = frozenset()
    keyed: bool = False
    references: bool = True
    erases: bool = False
    by_name: PointKind | None = None
    lasting_identity: bool = False

    def replays_onto(self, method: Method | None) -> bool:
        """Whether the log is replayed onto backups of a method; Auto becomes the right one."""
        return bool(self.log_onto) and (method is Method.AUTO or method in self.log_onto)


_FILES = frozenset({Method.PHYSICAL})
_DUMPS = frozenset({Method.LOGICAL})
_ROWS = frozenset({ActionType.ARCHIVE, ActionType.DELETE, ActionType.PURGE, ActionType.ANONYMIZE})

CAPABILITIES: Mapping[str, Capabilities] = {
    EngineName.POSTGRESQL: Capabilities(
        5432,
        incremental_on=_FILES,
        log_onto=_FILES,
        actions=_ROWS | BY_PARTITION,
        erases=True,
        by_name=PointKind.RESTORE_POINT,
        lasting_identity=True,
    ),
    EngineName.MARIADB: Capabilities(
        3306,
        series=2,
        incremental_on=_FILES | _DUMPS,
        log_onto=_FILES | _DUMPS,
        actions=_ROWS | BY_PARTITION,
        erases=True,
        by_name=PointKind.GTID,
    ),
    EngineName.MYSQL: Capabilities(
        3306,
        series=2,
        incremental_on=_DUMPS,
        log_onto=_DUMPS,
        actions=_ROWS | BY_PARTITION,
        erases=True,
        by_name=PointKind.GTID,
    ),
    EngineName.MONGODB: Capabilities(
        27017,
        series=2,
        incremental_on=_DUMPS,
        log_onto=_DUMPS,
        log_in_chain=True,
        lasting_identity=True,
        actions=_ROWS | {ActionType.ENSURE_TTL},
        references=False,
        erases=True,
    ),
    EngineName.REDIS: Capabilities(
        6379,
        log_onto=_FILES,
        log_kept=True,
        actions=frozenset({ActionType.DELETE, ActionType.EXPIRE}),
        keyed=True,
        erases=True,
    ),
    EngineName.RDS: Capabilities(5432, managed=True),
}


def is_managed(engine: str | None) -> bool:
    """Whether a cloud keeps the backups of this engine's databases."""
    known = CAPABILITIES.get(engine) if engine else None
    return known is not None and known.managed


def series_of(engine: str, version: str | None) -> str | None:
    """The release series in a version: `15` of PostgreSQL 15.20, `10.11` of MariaDB 10.11.19. None where unknown."""
    if not version:
        return None
    known = CAPABILITIES.get(engine)
    return ".".join(version.split(".")[: known.series if known else 1])


def series_order(series: str) -> tuple[int, ...]:
    """For sorting: `10.6` before `10.11`."""
    return tuple(int(part) for part in series.split("."))
