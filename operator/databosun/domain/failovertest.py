"""A FailoverTest: its spec, read; when it wants runs, and the run of one order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from databosun.api.failover import FailbackWhen, FailoverMode, GuardLimits, ProviderTarget
from databosun.api.failoverprobe import SERVICE, PathKind, ProbeOrder, ProbePath
from databosun.api.injection import InjectedFault
from databosun.api.quantities import parse_quantity
from databosun.api.v1alpha1.database import DatabaseSpec, EngineName
from databosun.api.v1alpha1.failovertest import FailoverTestSpec
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Limits
from databosun.domain.database import RunOrder
from databosun.domain.errors import UserFault
from databosun.domain.failovercnpg import CLOUD_NATIVE_PG
from databosun.domain.plan import CreateRun
from databosun.domain.policyruns import Template, create_run
from databosun.domain.presets import invalid_spec, read_span
from databosun.domain.requests import Named
from databosun.domain.timing import OnlySchedule, Window, check_timing, read_limits, read_windows

SCHEDULE = "failover"
PROVIDERS: Mapping[str, tuple[EngineName, ...]] = {
    "Sentinel": (EngineName.REDIS,),
    "RedisCluster": (EngineName.REDIS,),
    "MariaDBReplication": (EngineName.MARIADB,),
    "MySQLReplication": (EngineName.MYSQL,),
    "GroupReplication": (EngineName.MYSQL,),
    "Patroni": (EngineName.POSTGRESQL,),
    "StatefulSet": (EngineName.POSTGRESQL, EngineName.MARIADB, EngineName.MYSQL),
    "ReplicaSet": (EngineName.MONGODB,),
    "RDS": (EngineName.RDS,),
    CLOUD_NATIVE_PG: (EngineName.POSTGRESQL,),
}
"""What this release can make to fail over, and of which engines that is."""
MODES: Mapping[str, tuple[FailoverMode, ...]] = {
    "MariaDBReplication": (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER),
    "MySQLReplication": (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER),
    "GroupReplication": (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER),
    "RDS": (FailoverMode.FORCED_FAILOVER,),
    "ReplicaSet": (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER),
    "RedisCluster": (FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER),
    "StatefulSet": (FailoverMode.FORCED_FAILOVER, FailoverMode.FAULT_INJECTION),
}
"""Where not in every mode. Nobody but Databosun promotes under MariaDBReplication and MySQLReplication: there,
a fault would only leave the database without a primary. Under ReplicaSet, RedisCluster and GroupReplication nobody has
tried a fault yet. RDS has one order, which ends what clients are at. In a StatefulSet there is nobody who
could be ordered to hand over."""
FAILBACK = ("Patroni", "MariaDBReplication", "MySQLReplication", "Sentinel", "RedisCluster")
"""By these a primary can be moved back: the agent plans the switch, and the old primary may be promoted at once."""
LONGEST_FAULT = timedelta(hours=1)
LOOKS = 2
"""How often a look that failed is tried again. A switch never is."""
_SECOND, _DAY, _WEEK, _YEAR = timedelta(seconds=1), timedelta(days=1), timedelta(days=7), timedelta(days=365)


@dataclass(frozen=True, slots=True)
class BackupAges:
    """How old the newest backup, and the newest proof of one, may be; None: it is not asked for."""

    recent: timedelta | None
    proven: timedelta | None


@dataclass(frozen=True, slots=True)
class EffectiveFailover:
    """A test's spec, read. Durations that the agent counts in are in seconds."""

    schedules: tuple[OnlySchedule, ...]
    zone: str
    jitter: timedelta
    starting_deadline: timedelta
    limits: Limits
    windows: tuple[Window, ...]
    cooldown: timedelta
    wait_for: timedelta
    backups: BackupAges
    guards: GuardLimits
    probe: ProbeOrder
    write_downtime: float
    rejoin: float
    abort: float
    lock: timedelta | None
    fault: InjectedFault | None


def effective_failover(spec: FailoverTestSpec) -> EffectiveFailover:
    """Read every value. UserFault(InvalidSpec) names the field."""
    schedule, retention = spec.schedule, spec.evidence.retention
    if schedule is not None:
        check_timing("spec.schedule", schedule.cron, schedule.time_zone)
    objectives, guards = spec.objectives, spec.guards
    return EffectiveFailover(
        schedules=(OnlySchedule(schedule.cron, SCHEDULE),) if schedule else (),
        zone=schedule.time_zone if schedule else "UTC",
        jitter=timedelta(0),
        starting_deadline=read_span("spec.startingDeadline", spec.starting_deadline, _SECOND, _YEAR),
        limits=read_limits(spec, LOOKS, _DAY),
        windows=read_windows(spec.windows, _SECOND, _WEEK),
        cooldown=read_span("spec.cooldown", spec.cooldown, timedelta(0), _YEAR),
        wait_for=read_span("spec.waitFor", spec.wait_for, _SECOND, _WEEK),
        backups=BackupAges(
            recent=_age("spec.guards.requireRecentBackup", guards.require_recent_backup),
            proven=_age("spec.guards.requireProvenBackup", guards.require_proven_backup),
        ),
        guards=_guards(spec),
        probe=_probe(spec),
        write_downtime=_seconds("spec.objectives.writeDowntime", objectives.write_downtime),
        rejoin=_seconds("spec.objectives.rejoin", objectives.rejoin),
        abort=_seconds("spec.abort.whenDowntimeExceeds", spec.abort.when_downtime_exceeds),
        lock=read_span("spec.evidence.retention", retention, _SECOND, 100 * _YEAR) if retention else None,
        fault=_fault(spec.fault),
    )


def provider_target(name: str, spec: DatabaseSpec, mode: FailoverMode) -> ProviderTarget:
    """What decides over the primary. UserFault says why this release cannot make it fail over, or not in this mode."""
    replication, known = spec.replication, _known()
    if replication is None:
        message = f"Database {name} says nothing in spec.replication; expected one of the providers {known}"
        raise UserFault(Reason.NO_PROVIDER, message)
    if spec.engine not in PROVIDERS.get(replication.provider, ()):
        message = f"Database {name} is {spec.engine} by {replication.provider}; this release tests {known}"
        raise UserFault(Reason.PROVIDER_UNSUPPORTED, message)
    if replication.provider == CLOUD_NATIVE_PG and replication.cluster_name is None:
        message = f"Database {name} is by {CLOUD_NATIVE_PG}; spec.replication.clusterName must name its Cluster"
        raise UserFault(Reason.NO_PROVIDER, message)
    modes = MODES.get(replication.provider, tuple(FailoverMode))
    if mode not in modes:
        message = f"spec.mode is {mode}; a database by {replication.provider} is tested by {' or '.join(modes)}"
        raise UserFault(Reason.MODE_UNSUPPORTED, message)
    return ProviderTarget(
        provider=replication.provider,
        endpoints=list(replication.endpoints or []),
        master_name=replication.master_name,
    )


def demand_testable(name: str, database: DatabaseSpec, test: FailoverTestSpec) -> ProviderTarget:
    """As `provider_target`; UserFault also where the database does not go with what the test asks."""
    target = provider_target(name, database, test.mode)
    pooler = next((one for one in test.probe.paths if one.kind is PathKind.POOLER), None)
    if pooler is not None and database.engine is not EngineName.POSTGRESQL:
        message = (
            f"spec.probe.paths: {pooler.name} is of kind {pooler.kind}, and Database {name} of engine "
            f"{database.engine}: only on PostgreSQL does each write say which node took it; take that path out, or let "
            "it be of kind Service where it keeps a session at the server that it met"
        )
        raise invalid_spec(message)
    if test.failback is not FailbackWhen.NEVER and target.provider not in FAILBACK:
        message = (
            f"spec.failback is {test.failback}, and Database {name} is by {target.provider}; the primary can be moved "
            f"back by {', '.join(FAILBACK)}: set spec.failback to {FailbackWhen.NEVER}"
        )
        raise UserFault(Reason.FAILBACK_UNSUPPORTED, message)
    return target


def _known() -> str:
    return ", ".join(f"{one} ({', '.join(engines)})" for one, engines in PROVIDERS.items())


def create_failover_run(database: Named, test: Named, order: RunOrder) -> CreateRun:
    """The run of one order."""
    refs = {"testRef": {"name": test.name}, "databaseRef": {"name": database.name}}
    return create_run(Template("FailoverTestRun", "FailoverTest", test, refs, database.uid), order)


def _age(path: str, text: str) -> timedelta | None:
    return read_span(path, text, timedelta(0), 100 * _YEAR) or None


def _seconds(path: str, text: str) -> float:
    return read_span(path, text, _SECOND, _DAY).total_seconds()


def _fault(fault: InjectedFault | None) -> InjectedFault | None:
    if fault is not None and fault.duration is not None:
        read_span("spec.fault.duration", fault.duration, _SECOND, LONGEST_FAULT)
    return fault


def _guards(spec: FailoverTestSpec) -> GuardLimits:
    path = "spec.guards.maxLagBytes"
    try:
        size = parse_quantity(spec.guards.max_lag_bytes)
    except ValueError as error:
        message = f"{path}: {error}"
        raise invalid_spec(message) from error
    return GuardLimits(
        min_healthy_replicas=spec.guards.min_healthy_replicas,
        max_lag_bytes=size,
        max_lag_seconds=_seconds("spec.guards.maxLag", spec.guards.max_lag),
    )


def _probe(spec: FailoverTestSpec) -> ProbeOrder:
    if any(one.name == SERVICE for one in spec.probe.paths):
        message = f"spec.probe.paths: {SERVICE} is the name of the way of the Database's connection; name it otherwise"
        raise invalid_spec(message)
    probe: dict[str, Any] = {
        "writes_per_second": float(spec.probe.writes_per_second),
        "clients": spec.probe.clients,
        "table": spec.probe.table,
        "paths": [ProbePath(name=one.name, host=one.host, port=one.port, kind=one.kind) for one in spec.probe.paths],
    }
    return ProbeOrder(**probe)
