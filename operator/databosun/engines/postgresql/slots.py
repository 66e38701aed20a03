"""The replication slot of an archiver: its name, how it fares, made, advanced and dropped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from databosun.api.result import Finding
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.domain.wal import format_lsn, parse_lsn
from databosun.engines.base import Target
from databosun.engines.postgresql.connect import Connection, Endpoint, Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.wire import ServerRefused, Wire, refused_fault

LOST = "lost"
CONTINUOUS = ["Continuous"]


def slot_name(cluster_id: str, namespace: str, system_identifier: str) -> str:
    """The one slot that archivers of a namespace of a cluster use at a server; also where they come and go."""
    owner = "\0".join((cluster_id, namespace, system_identifier))
    return f"databosun_{hashlib.sha256(owner.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as the server shows it. `restart`: the oldest position that it keeps; None where it keeps none."""

    name: str
    restart: int | None
    status: str | None
    active_pid: int | None
    retained: int

    @property
    def lost(self) -> bool:
        """Whether the server has let go of what the slot should keep: it is good for nothing any more."""
        return self.status == LOST


_SLOT = """
SELECT s.restart_lsn::text, s.wal_status, s.active_pid,
       coalesce(pg_catalog.pg_wal_lsn_diff(
         CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
              ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn), 0)::int8
FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = %s
"""


def look_at(connection: Connection, name: str) -> Slot | None:
    """The slot, if the server has it."""
    with guarded(f"looking at replication slot {name}"):
        found = connection.execute(_SLOT, (name,)).fetchone()
    if found is None:
        return None
    restart = parse_lsn(str(found[0])) if found[0] else None
    pid = found[2] if isinstance(found[2], int) else None
    return Slot(name, restart, str(found[1]) if found[1] else None, pid, int(str(found[3])))


def create(wire: Wire, name: str) -> None:
    """Make the slot, keeping the log from the last checkpoint on. A slot of that name is fine."""
    command = sql.SQL("CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL").format(sql.Identifier(name))
    try:
        wire.run(command.as_string())
    except ServerRefused as refusal:
        if refusal.sqlstate == errors.DuplicateObject.sqlstate:
            return
        raise _no_slot(refusal.said, refusal.sqlstate, refused_fault(refusal, "making a replication slot")) from refusal


def drop(connection: Connection, name: str) -> bool:
    """Remove the slot; whether there was one. WorldFault(SlotInUse) while somebody streams from it."""
    with guarded(f"dropping replication slot {name}"):
        try:
            connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
        except errors.UndefinedObject:
            return False
        except errors.ObjectInUse as error:
            raise in_use(name, str(error.diag.message_primary)) from error
    return True


def drop_everywhere(target: Target, name: str) -> tuple[str, ...]:
    """Remove the slot from every listed host; says where there was one. Raises the first refusal after all were tried.

    A host that is gone for good must not be listed any more, or this cannot succeed.
    """
    dropped: list[str] = []
    faults: list[DatabosunError] = []
    for host in target.database.hosts:
        endpoint = Endpoint(host, target.database.port)
        try:
            with open_sql(Session(target, endpoint)) as connection:
                slot = look_at(connection, name)
                if slot and slot.active_pid:
                    end_stream(connection, slot)
                if slot and drop(connection, name):
                    dropped.append(str(endpoint))
        except DatabosunError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
    return tuple(dropped)


def end_stream(connection: Connection, slot: Slot) -> None:
    """End a stream of our own role that the server still holds, such as one whose archiver's node is gone."""
    with guarded(f"ending the stream from {slot.name}"):
        connection.execute("SELECT pg_catalog.pg_terminate_backend(%s, 5000)", (slot.active_pid,))


def hold_on_standby(connection: Connection, name: str, durable: int) -> None:
    """Keep a slot on another host, advanced to what the store has, for the day that host becomes the primary."""
    with guarded(f"keeping replication slot {name}"):
        slot = look_at(connection, name)
        if slot and slot.lost:
            drop(connection, name)
            slot = None
        if slot is None:
            try:
                connection.execute("SELECT pg_catalog.pg_create_physical_replication_slot(%s, true)", (name,))
            except psycopg.Error as error:
                said = str(error.diag.message_primary or error)
                fallback = WorldFault(Reason.DATABASE_ERROR, f"making a replication slot: {said}")
                raise _no_slot(said, error.sqlstate, fallback) from error
            slot = look_at(connection, name)
        if slot and slot.restart is not None and slot.restart < durable and not slot.active_pid:
            try:
                connection.execute("SELECT pg_catalog.pg_replication_slot_advance(%s, %s)", (name, format_lsn(durable)))
            except errors.ObjectNotInPrerequisiteState:
                return  # the standby has not got that far; its slot keeps all it has


def in_use(name: str, said: str) -> WorldFault:
    """Somebody else streams from the slot, most likely an archiver whose end the server has not noticed yet."""
    message = f"replication slot {name} is in use: {said}; the server lets go within wal_sender_timeout"
    return WorldFault(Reason.SLOT_IN_USE, message)


def unbounded(limit_megabytes: int, *, allowed: bool) -> Finding | None:
    """What is wrong where nothing bounds what a slot makes the server keep (`max_slot_wal_keep_size` in MB)."""
    if limit_megabytes >= 0 or allowed:
        return None
    return Finding(
        reason=Reason.SLOT_UNBOUNDED,
        message=(
            "max_slot_wal_keep_size is -1: were the archiver away for long, its replication slot could fill the "
            "server's disk"
        ),
        fix="ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf(); -- above maxRetained",
        blocks=CONTINUOUS,
    )


def demand_bounded(limit_megabytes: int, *, allowed: bool) -> None:
    """UserFault(SlotUnbounded) with the statement that mends it."""
    finding = unbounded(limit_megabytes, allowed=allowed)
    if finding:
        message = f"{finding.message}; run `{finding.fix}`, or set continuous.allowUnboundedSlot"
        raise UserFault(Reason.SLOT_UNBOUNDED, message)


def _no_slot(said: str, sqlstate: str | None, otherwise: DatabosunError) -> DatabosunError:
    if sqlstate == errors.ConfigurationLimitExceeded.sqlstate:
        message = f"the server has no free replication slot ({said}); raise max_replication_slots (needs a restart)"
        return UserFault(Reason.NO_REPLICATION_SLOT, message)
    if sqlstate == errors.InsufficientPrivilege.sqlstate:
        message = f"the role may not make replication slots ({said}); run `ALTER ROLE <the role> REPLICATION;`"
        return UserFault(Reason.NO_REPLICATION_PRIVILEGE, message)
    return otherwise
