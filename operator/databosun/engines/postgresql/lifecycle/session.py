"""A login that carries out lifecycles: at the primary, read-only until a rule begins to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from databosun.api.lifecycle import RuleFacts, RuleOrder
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.lifecycle import BY_PARTITION, Step, hidden_from, make_plan
from databosun.engines.base import Target
from databosun.engines.holding import demand_held
from databosun.engines.lifecycle import (
    Definitions,
    IndexWork,
    LifecycleScope,
    LifecycleSession,
    PartitionWork,
    RowWork,
    Strain,
    demand_server,
    no_index,
)
from databosun.engines.postgresql.connect import Connection, Session, abandon, choose_primary, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.lifecycle.calls import definitions_of
from databosun.engines.postgresql.lifecycle.catalogue import is_table
from databosun.engines.postgresql.lifecycle.conditions import working_condition
from databosun.engines.postgresql.lifecycle.counts import count
from databosun.engines.postgresql.lifecycle.grants import lacking
from databosun.engines.postgresql.lifecycle.partitions import (
    PostgreSQLPartitions,
    count_partitions,
    list_partitions,
    look_at,
)
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from databosun.engines.postgresql.lifecycle.statements import number, stepping, table_bytes
from databosun.engines.postgresql.lifecycle.subjects import tell_subject
from databosun.engines.postgresql.reasons import Reason

IDLE_SECONDS = 60  # the locks of an agent that hangs in the middle of a step are held no longer

_DATABASES = (
    "SELECT datname::text FROM pg_catalog.pg_database"
    " WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname"
)
_IDENTITY = "SELECT (pg_catalog.pg_control_system()).system_identifier::text"
# Our own archivers stand among the replicas, and read as fast as the store takes it.
_REPLICAS = """
SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8, count(*), count(*) FILTER (WHERE state IS NULL)
FROM pg_catalog.pg_stat_replication WHERE application_name NOT LIKE 'databosun%'
"""


class PostgreSQLSession:
    """`LifecycleSession` of `engines/lifecycle.py`."""

    def __init__(self, target: Target, scope: LifecycleScope) -> None:
        self._target = target
        self._scope = scope
        self._writes = False
        self._dbname: str | None = None
        self._connection = self._connect()

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return str(self._connection.info.parameter_status("server_version") or "").split(" ")[0]

    @property
    def dbname(self) -> str:
        """As the connection has it."""
        return self._connection.info.dbname

    @property
    def connection(self) -> Connection:
        """As it is now."""
        return self._connection

    def look(self, rule: RuleOrder) -> RuleFacts:
        """The facts, in a transaction that cannot write."""
        facts = RuleFacts(rule=rule.name)
        try:
            with stepping(f"looking at {rule.table}"), self._connection.transaction():
                self._connection.execute("SET TRANSACTION READ ONLY")
                found = self._definitions(rule)
                facts = facts.model_copy(update={"tables": found.tables, "calls": found.calls})
                demand_held(self._scope, lambda name: is_table(self._connection, name))
                return self._count(rule, facts)
        except DatabosunError as error:
            if self._connection.closed:
                raise
            return facts.model_copy(update={"fault": error.message})

    def definitions(self, rule: RuleOrder) -> Definitions:
        """From the catalogue."""
        with stepping(f"looking at {rule.table}"):
            return self._definitions(rule)

    def rows(self, step: Step) -> RowWork:
        """Work on rows."""
        self._allow_writes()
        return PostgreSQLRows(lambda: self._connection, step, self._scope, lambda: self._definitions(step.rule))

    def partitions(self, step: Step) -> PartitionWork:
        """Work on partitions."""
        self._allow_writes()
        return PostgreSQLPartitions(lambda: self._connection, step, self._scope, lambda: self._definitions(step.rule))

    def indexes(self, step: Step) -> IndexWork:
        """There is no such work."""
        raise no_index(step.rule)

    def size(self, step: Step) -> int:
        """As the server counts it."""
        if step.table is None:
            return 0
        with stepping(f"measuring {step.table.name}"):
            return table_bytes(self._connection, step.table.name)

    def strain(self) -> Strain:
        """How far the replicas are behind."""
        with stepping("asking for the lag of replicas"):
            row = self._connection.execute(_REPLICAS).fetchone() or (0.0, 0, 0)
        return Strain(float(str(row[0])), number(row[1]), number(row[2]), "grant pg_monitor to the login")

    def renew(self) -> None:
        """A new login, to whichever host takes writes now."""
        self._connection.close()
        self._connection = self._connect()

    def close(self) -> None:
        """Cancel what runs, and log out."""
        abandon(self._connection)

    def _definitions(self, rule: RuleOrder) -> Definitions:
        return definitions_of(self._connection, rule, self._scope.order)

    def _count(self, rule: RuleOrder, facts: RuleFacts) -> RuleFacts:
        step = next(one for one in make_plan(self._scope.order, [facts]).steps if one.rule.name == rule.name)
        columns = [one.name for one in step.table.columns] if step.table else []
        named = [one for one in (rule.column, rule.mark_column, rule.subject_column) if one is not None]
        if step.table is None or step.table.kind not in ("Table", "Partitioned") or not set(named) <= set(columns):
            return facts  # the plan says what is wrong with it
        connection = self._connection
        wanting = lacking(connection, step)
        facts = facts.model_copy(update={"grants": wanting.commands})
        if wanting.reads or hidden_from(step):
            return facts
        condition = working_condition(connection, step, self._scope)
        counts = count(connection, step, condition, self._scope.key)
        if rule.action not in BY_PARTITION:
            return facts.model_copy(update={"counts": counts})
        parts = [look_at(connection, step, condition, one) for one in list_partitions(connection, step.table.name)]
        counts = count_partitions(step, parts, self._scope.at, counts)
        return facts.model_copy(update={"counts": counts, "partitions": parts})

    def _allow_writes(self) -> None:
        if not self._writes:
            self._writes = True
            self._set(default_transaction_read_only="off")

    def _connect(self) -> Connection:
        session = Session(self._target, choose_primary(self._target))
        self._dbname = self._dbname or self._scope.order.database or self._target.database.database
        if self._dbname is None:
            with open_sql(session) as first, guarded("listing databases"):
                self._dbname = _only([str(row[0]) for row in first.execute(_DATABASES).fetchall()])
        self._connection = open_sql(session, self._dbname)
        self._set(
            lock_timeout=str(self._scope.lock_milliseconds),
            statement_timeout=str(int(self._scope.statement_seconds * 1000)),
            idle_in_transaction_session_timeout=f"{IDLE_SECONDS}s",
            default_transaction_isolation="read committed",
            default_transaction_read_only="off" if self._writes else "on",
        )
        if self._scope.order.server is not None:
            with guarded("asking the server who it is"):
                row = self._connection.execute(_IDENTITY).fetchone()
            demand_server(self._scope, str(row[0]) if row else None)
        if self._scope.subject is not None:
            with guarded("session settings"):
                tell_subject(self._connection, self._scope.subject)
        return self._connection

    def _set(self, **settings: str) -> None:
        with guarded("session settings"):
            self._connection.execute(
                "SELECT pg_catalog.set_config(s.name, s.value, false) FROM unnest(%s::text[], %s::text[]) "
                "AS s(name, value)",
                (list(settings), list(settings.values())),
            )


def _only(names: list[str]) -> str:
    own = [name for name in names if name != "postgres"] or names
    if len(own) == 1:
        return own[0]
    message = f"the server has the databases {', '.join(own)}; say in spec.database which one the rules are for"
    raise UserFault(Reason.NO_SUCH_DATABASE, message)


class PostgreSQLLifecycle:
    """`LifecycleEngine` of `engines/lifecycle.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[LifecycleSession]:
        """Log in at the primary; log out afterwards."""
        session = PostgreSQLSession(target, scope)
        try:
            yield session
        finally:
            session.close()


LIFECYCLE = PostgreSQLLifecycle()
