"""Which engine serves which kind of database. Imported on use, so that the operator never loads a driver."""

from __future__ import annotations

from importlib import import_module

from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.archiving import Archiver
from databosun.engines.base import Engine
from databosun.engines.bridging import Bridge
from databosun.engines.erasing import Erasing
from databosun.engines.exporting import Exporting
from databosun.engines.failover import Failover, FailoverFault, Site, Writers
from databosun.engines.lifecycle import LifecycleEngine

_ARCHIVERS = {
    EngineName.POSTGRESQL: "databosun.engines.postgresql.archiver",
    EngineName.MARIADB: "databosun.engines.mysql.archiver",
    EngineName.MYSQL: "databosun.engines.mysql.archiver",
    EngineName.MONGODB: "databosun.engines.mongodb.archiver",
    EngineName.REDIS: "databosun.engines.redis.log.archiver",
}
_FAILOVERS = {
    EngineName.REDIS: "databosun.engines.redis.failover",
    EngineName.MARIADB: "databosun.engines.mysql.failover.mariadb",
    EngineName.MYSQL: "databosun.engines.mysql.failover.mysql",
    EngineName.POSTGRESQL: "databosun.engines.postgresql.failover",
    EngineName.MONGODB: "databosun.engines.mongodb.failover",
    EngineName.RDS: "databosun.engines.rds.failover",
}
_WRITERS = {
    EngineName.MARIADB: "databosun.engines.mysql.failover.elsewhere",
    EngineName.MYSQL: "databosun.engines.mysql.failover.elsewhere",
    EngineName.POSTGRESQL: "databosun.engines.postgresql.failover.elsewhere",
}
_BRIDGES = {EngineName.POSTGRESQL: "databosun.engines.postgresql.bridge"}
_LIFECYCLES = {
    EngineName.POSTGRESQL: "databosun.engines.postgresql.lifecycle",
    EngineName.MARIADB: "databosun.engines.mysql.lifecycle",
    EngineName.MYSQL: "databosun.engines.mysql.lifecycle",
    EngineName.REDIS: "databosun.engines.redis.lifecycle",
    EngineName.MONGODB: "databosun.engines.mongodb.lifecycle",
}
_ERASINGS = {
    EngineName.POSTGRESQL: "databosun.engines.postgresql.erasing",
    EngineName.MARIADB: "databosun.engines.mysql.erasing",
    EngineName.MYSQL: "databosun.engines.mysql.erasing",
    EngineName.MONGODB: "databosun.engines.mongodb.erasing",
    EngineName.REDIS: "databosun.engines.redis.erasing",
}
_EXPORTINGS = {
    EngineName.POSTGRESQL: "databosun.engines.postgresql.exporting",
    EngineName.MARIADB: "databosun.engines.mysql.exporting",
    EngineName.MYSQL: "databosun.engines.mysql.exporting",
    EngineName.MONGODB: "databosun.engines.mongodb.exporting",
    EngineName.REDIS: "databosun.engines.redis.exporting",
}
_MODULES = {
    EngineName.POSTGRESQL: "databosun.engines.postgresql",
    EngineName.REDIS: "databosun.engines.redis",
    EngineName.MARIADB: "databosun.engines.mysql",
    EngineName.MYSQL: "databosun.engines.mysql",
    EngineName.MONGODB: "databosun.engines.mongodb",
    EngineName.RDS: "databosun.engines.rds",
}


def supported() -> tuple[EngineName, ...]:
    """The engines of this release."""
    return tuple(_MODULES)


def load(name: EngineName) -> Engine:
    """The engine's one object, `ENGINE` in its package. UserFault(UnsupportedEngine) where this release has none."""
    if name not in _MODULES:
        known = ", ".join(_MODULES)
        message = f"spec.engine is {name}, which this release does not serve; expected one of: {known}"
        raise UserFault(Reason.UNSUPPORTED_ENGINE, message)
    engine: Engine = import_module(_MODULES[name]).ENGINE
    return engine


def load_archiver(name: EngineName) -> Archiver:
    """What ships the engine's log, `ARCHIVER` in its module. UserFault(ContinuousUnsupported) where there is none."""
    if name not in _ARCHIVERS:
        known = ", ".join(_ARCHIVERS)
        message = f"spec.engine is {name}, whose log this release does not archive; expected one of: {known}"
        raise UserFault(Reason.CONTINUOUS_UNSUPPORTED, message)
    archiver: Archiver = import_module(_ARCHIVERS[name]).ARCHIVER
    return archiver


def load_failover(name: EngineName) -> Failover:
    """What moves the engine's primaries, `FAILOVER` in its package. UserFault(ProviderUnsupported)."""
    if name not in _FAILOVERS:
        known = ", ".join(_FAILOVERS)
        message = f"the database is {name}, whose failover this release does not test; expected one of: {known}"
        raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
    failover: Failover = import_module(_FAILOVERS[name]).FAILOVER
    return failover


def load_writers(name: EngineName, site: Site) -> Writers:
    """Clients of a kind of server for a provider that is none itself, `writers` in its module."""
    writers: Writers = import_module(_WRITERS[name]).writers(name, site)
    return writers


def failover_providers() -> frozenset[tuple[str, EngineName]]:
    """What moves primaries in this release, each with an engine of which. Loads every driver there is."""
    return frozenset((provider, name) for name in _FAILOVERS for provider in load_failover(name).providers)


def load_bridge(name: EngineName) -> Bridge:
    """What restores into a running server, `BRIDGE` in its package. UserFault(BridgeUnsupported)."""
    demand_bridge(name)
    bridge: Bridge = import_module(_BRIDGES[name]).BRIDGE
    return bridge


def demand_bridge(name: EngineName) -> None:
    """UserFault(BridgeUnsupported) where the engine is restored into volumes only."""
    if name not in _BRIDGES:
        known = ", ".join(_BRIDGES)
        message = (
            f"the database is {name}, which this release does not restore into a running server (only {known}); "
            "restore it into a volume: spec.target.volume"
        )
        raise UserFault(Reason.BRIDGE_UNSUPPORTED, message)


def load_lifecycle(name: EngineName) -> LifecycleEngine:
    """What carries out rules on the engine's data, `LIFECYCLE` in its package. UserFault(UnsupportedEngine)."""
    if name not in _LIFECYCLES:
        known = ", ".join(_LIFECYCLES)
        message = f"spec.engine is {name}, whose data this release has no rules for; expected one of: {known}"
        raise UserFault(Reason.UNSUPPORTED_ENGINE, message)
    lifecycle: LifecycleEngine = import_module(_LIFECYCLES[name]).LIFECYCLE
    return lifecycle


def load_erasing(name: EngineName) -> Erasing:
    """What erases people again in restored data, `ERASING` in its module. UserFault(UnsupportedEngine)."""
    if name not in _ERASINGS:
        known = ", ".join(_ERASINGS)
        message = (
            f"the database is {name}, and what is erased there this release cannot erase again from what is restored of"
            f" it; expected one of: {known}"
        )
        raise UserFault(Reason.UNSUPPORTED_ENGINE, message)
    erasing: Erasing = import_module(_ERASINGS[name]).ERASING
    return erasing


def load_exporting(name: EngineName) -> Exporting:
    """What reads one person's rows, `EXPORTING` in its module. UserFault(UnsupportedEngine)."""
    if name not in _EXPORTINGS:
        known = ", ".join(_EXPORTINGS)
        message = f"spec.engine is {name}, from which this release exports nobody's rows; expected one of: {known}"
        raise UserFault(Reason.UNSUPPORTED_ENGINE, message)
    exporting: Exporting = import_module(_EXPORTINGS[name]).EXPORTING
    return exporting
