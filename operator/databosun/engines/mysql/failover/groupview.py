"""What a member of a replication group says of itself and of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import one, rows

ONLINE, PRIMARY = "ONLINE", "PRIMARY"
MOVE = "SELECT group_replication_set_as_primary(%s, %s)"

_MEMBERS = (
    "SELECT m.MEMBER_ID, m.MEMBER_HOST, m.MEMBER_PORT, m.MEMBER_STATE, m.MEMBER_ROLE, "
    "s.COUNT_TRANSACTIONS_IN_QUEUE + s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE "
    "FROM performance_schema.replication_group_members AS m "
    "LEFT JOIN performance_schema.replication_group_member_stats AS s USING (MEMBER_ID) WHERE m.MEMBER_ID <> ''"
)
_SETTINGS = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('group_replication_single_primary_mode', "
    "'group_replication_consistency', 'group_replication_member_weight')"
)
# Of what is being applied, since its commit at the primary; else since that of what was applied last.
_BEHIND = (
    "SELECT GREATEST(0, COALESCE(MAX(IF(w.APPLYING_TRANSACTION <> '', TIMESTAMPDIFF(MICROSECOND, "
    "w.APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6)), NULL)), MIN(TIMESTAMPDIFF(MICROSECOND, "
    "w.LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))))) "
    "FROM performance_schema.replication_applier_status_by_worker AS w "
    "WHERE w.CHANNEL_NAME = 'group_replication_applier' AND (w.APPLYING_TRANSACTION <> '' OR "
    "w.LAST_APPLIED_TRANSACTION <> '')"
)
_LONG = (
    "SELECT t.PROCESSLIST_ID FROM performance_schema.events_transactions_current AS e "
    "JOIN performance_schema.threads AS t USING (THREAD_ID) WHERE e.STATE = 'ACTIVE' AND t.TYPE = 'FOREGROUND' "
    "AND t.PROCESSLIST_USER IS NOT NULL AND t.PROCESSLIST_ID <> CONNECTION_ID() AND e.TIMER_WAIT > %s * 1000000000000"
)
_MOVING = (
    "SELECT 1 FROM performance_schema.threads WHERE PROCESSLIST_INFO LIKE 'SELECT group\\_replication\\_set\\_as\\_%%'"
)


@dataclass(frozen=True, slots=True)
class SeenMember:
    """One member as another one has it. `queue`: transactions that it has still to certify or to apply."""

    host: str
    port: int
    state: str
    role: str
    queue: int | None


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One look at a member. `view`: the group as it has it, by the servers' uuids; `seconds`: how far it is behind."""

    server_id: int
    uuid: str
    version: str
    read_only: bool
    executed: str
    single: bool
    consistency: str
    weight: int
    seconds: float | None
    view: Mapping[str, SeenMember] = field(default_factory=dict)

    @property
    def own(self) -> SeenMember | None:
        """Itself in its own view; None: it is in no group."""
        return self.view.get(self.uuid)

    @property
    def state(self) -> str:
        """By its own word."""
        return self.own.state if self.own else "in no group"

    @property
    def online(self) -> int:
        """How many members work, as it has it."""
        return sum(one.state == ONLINE for one in self.view.values())

    @property
    def leads(self) -> bool:
        """It is a primary that can commit: it reaches the majority."""
        own = self.own
        leads = own is not None and (own.state, own.role) == (ONLINE, PRIMARY)
        return leads and not self.read_only and self.online * 2 > len(self.view)


def ask_member(connection: Connection[Any]) -> MemberFacts:
    """Ask in a session."""
    server_id, uuid, version, read_only, executed = one(
        connection, "SELECT @@server_id, @@server_uuid, VERSION(), @@GLOBAL.read_only, @@GLOBAL.gtid_executed"
    )
    said = {str(name).removeprefix("group_replication_"): str(value) for name, value in rows(connection, _SETTINGS)}
    view = {
        str(member): SeenMember(str(host), int(port), str(state), str(role), None if queue is None else int(queue))
        for member, host, port, state, role, queue in rows(connection, _MEMBERS)
    }
    own = view.get(str(uuid))
    return MemberFacts(
        server_id=int(server_id),
        uuid=str(uuid),
        version=str(version),
        read_only=bool(read_only),
        executed="".join(str(executed).split()),
        single=said.get("single_primary_mode") == "ON",
        consistency=said.get("consistency", ""),
        weight=int(said.get("member_weight", "50")),
        seconds=_behind(connection, own.queue if own else None),
        view=view,
    )


def long_transactions(connection: Connection[Any], seconds: float) -> list[int]:
    """Sessions whose transaction is open for longer than that."""
    return [int(row[0]) for row in rows(connection, _LONG, (seconds,))]


def moving(connection: Connection[Any]) -> bool:
    """Whether a server was told to hand over, and has not ended that: it goes on without who told it."""
    return bool(rows(connection, _MOVING))


def _behind(connection: Connection[Any], queue: int | None) -> float | None:
    if queue is None:
        return None
    if not queue:
        return 0.0
    (micros,) = one(connection, _BEHIND)
    return None if micros is None else float(micros) / 1_000_000
