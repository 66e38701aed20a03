"""A login that carries out lifecycles: at the primary, read-only until a rule begins to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.lifecycle import RuleFacts, RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.lifecycle import BY_PARTITION, Step, make_plan
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
    no_index,
)
from databosun.engines.mysql.connect import Session, abandon, limit_statements, one, open_sql, version_of
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import read_grants
from databosun.engines.mysql.lifecycle.calls import definitions_of, words_of
from databosun.engines.mysql.lifecycle.catalogue import Catalogue
from databosun.engines.mysql.lifecycle.conditions import working_condition
from databosun.engines.mysql.lifecycle.counts import count, table_bytes
from databosun.engines.mysql.lifecycle.partitions import (
    MySQLPartitions,
    count_partitions,
    demand_no_query,
    look_at_all,
)
from databosun.engines.mysql.lifecycle.rights import SEES_KEYS, lacking
from databosun.engines.mysql.lifecycle.rows import MySQLRows
from databosun.engines.mysql.lifecycle.statements import run, stepping, transaction
from databosun.engines.mysql.lifecycle.strain import read_strain
from databosun.engines.mysql.lifecycle.subjects import tell_subject
from databosun.engines.mysql.server import SYSTEM_SCHEMAS, choose_primary

# Conditions are read under this mode and no other. STRICT: what does not fit a column is an error, and not cut short.
MODE = "STRICT_ALL_TABLES"


class MySQLSession:
    """`LifecycleSession` of `engines/lifecycle.py`."""

    def __init__(self, target: Target, scope: LifecycleScope) -> None:
        self._target = target
        self._scope = scope
        self._writes = False
        self._dbname: str | None = None
        self._connect()

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return ".".join(map(str, version_of(self._version)))

    @property
    def dbname(self) -> str:
        """The schema of names without one."""
        return self._catalogue.schema

    @property
    def catalogue(self) -> Catalogue:
        """Of the login as it is now."""
        return self._catalogue

    def look(self, rule: RuleOrder) -> RuleFacts:
        """The facts, in a transaction that cannot write."""
        facts = RuleFacts(rule=rule.name)
        connection = self._connection
        try:
            with stepping(f"looking at {rule.table}"), transaction(connection, "READ ONLY"):
                found = self._definitions(rule)
                facts = facts.model_copy(update={"tables": found.tables, "calls": found.calls})
                demand_held(self._scope, self._catalogue.is_table)
                return self._count(rule, facts)
        except DatabosunError as error:
            if not connection.open:
                raise
            return facts.model_copy(update={"fault": error.message})

    def definitions(self, rule: RuleOrder) -> Definitions:
        """From the catalogue."""
        with stepping(f"looking at {rule.table}"):
            return self._definitions(rule)

    def rows(self, step: Step) -> RowWork:
        """Work on rows."""
        self._allow_writes()
        with stepping(f"looking at {step.rule.table}"):
            shape = self._catalogue.shape(step.rule.table, step.rule.column)
        return MySQLRows(lambda: self._connection, step, self._scope, shape, lambda: self._definitions(step.rule))

    def partitions(self, step: Step) -> PartitionWork:
        """Work on partitions."""
        self._allow_writes()
        dialect = self._session.dialect
        return MySQLPartitions(
            lambda: self._connection, dialect, step, self._scope, lambda: self._definitions(step.rule)
        )

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
            return read_strain(self._connection, self._session)

    def renew(self) -> None:
        """A new login, to whichever host takes writes now."""
        self.abandon()
        self._connect()

    def abandon(self) -> None:
        """End what runs, and log out."""
        abandon(self._session, self._connection)

    def close(self) -> None:
        """Log out."""
        with suppress(pymysql.MySQLError, OSError):
            self._connection.close()

    def _definitions(self, rule: RuleOrder) -> Definitions:
        return definitions_of(self._catalogue, rule, self._scope.order)

    def _count(self, rule: RuleOrder, facts: RuleFacts) -> RuleFacts:
        step = next(one for one in make_plan(self._scope.order, [facts]).steps if one.rule.name == rule.name)
        columns = [one.name for one in step.table.columns] if step.table else []
        named = [one for one in (rule.column, rule.mark_column, rule.subject_column) if one is not None]
        if step.table is None or step.table.kind not in ("Table", "Partitioned") or not set(named) <= set(columns):
            return facts  # the plan says what is wrong with it
        fired = any(one.triggers for one in facts.tables)
        wanting = lacking(self._grants, self._user, step, calls=bool(facts.calls) or fired)
        facts = facts.model_copy(update={"grants": wanting.commands})
        if wanting.reads:
            return facts
        condition = working_condition(self._connection, step, self._scope)
        keyed = bool(step.table.primary_key)
        shape = self._catalogue.shape(step.table.name, rule.column) if keyed else None
        counted = count(self._connection, step, condition, shape, self._scope.key)
        facts = facts.model_copy(update={"counts": counted})
        if rule.action not in BY_PARTITION:
            return facts
        demand_no_query(step, words_of(rule, self._scope.order.holds, [step.table]))
        facts = facts.model_copy(update={"partitions": look_at_all(self._connection, step, condition)})
        return facts.model_copy(update={"counts": count_partitions(step, facts, self._scope)})

    def _allow_writes(self) -> None:
        if not self._writes:
            self._writes = True
            with stepping("session settings"):
                run(self._connection, f"SET SESSION {self._session.dialect.read_only} = 0")

    def _connect(self) -> None:
        self._session = Session(self._target, choose_primary(self._target))
        connection = self._connection = open_sql(self._session, read_only=not self._writes)
        try:
            self._prepare(connection)
        except BaseException:  # also an interrupt: the connection must not stay behind
            connection.close()
            raise

    def _prepare(self, connection: Connection[Any]) -> None:
        scope, dialect = self._scope, self._session.dialect
        seconds = max(1, ceil(scope.lock_milliseconds / 1000))
        with guarded("session settings"):
            run(
                connection,
                f"SET SESSION sql_mode = '{MODE}', SESSION innodb_lock_wait_timeout = {seconds}, "
                f"SESSION lock_wait_timeout = {seconds}, SESSION foreign_key_checks = 1, SESSION unique_checks = 1",
            )
            run(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            limit_statements(connection, dialect, scope.statement_seconds)
            version, user, folds = one(connection, "SELECT VERSION(), CURRENT_USER(), @@lower_case_table_names")
            shown = run(connection, "SHOW VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')")
            logs: dict[str, str] = dict(shown)
            if scope.subject is not None:
                tell_subject(connection, scope.subject)
            self._version, self._user = str(version), str(user)
            self._grants = read_grants(connection, dialect)
            self._dbname = self._dbname or scope.order.database or self._target.database.database
            if self._dbname is None:
                listed = run(connection, "SELECT s.SCHEMA_NAME FROM information_schema.SCHEMATA AS s ORDER BY 1")
                self._dbname = _only([str(name) for (name,) in listed if str(name) not in SYSTEM_SCHEMAS])
            connection.select_db(self._dbname)
        if (logs.get("log_bin"), logs.get("binlog_format")) == ("ON", "STATEMENT"):
            raise UserFault(
                Reason.BINLOG_FORMAT,
                "the server logs statements (binlog_format is STATEMENT), and takes none that locks single rows; set"
                " binlog_format to MIXED or ROW",
            )
        self._catalogue = Catalogue(
            connection, dialect, self._dbname, folds=bool(folds), sees_keys=self._grants.has(SEES_KEYS)
        )


def _only(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    message = f"the server has the databases {', '.join(names)}; say in spec.database which one the rules are for"
    raise UserFault(Reason.NO_SUCH_DATABASE, message)


class MySQLLifecycle:
    """`LifecycleEngine` of `engines/lifecycle.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[LifecycleSession]:
        """Log in at the primary; log out afterwards."""
        session = MySQLSession(target, scope)
        try:
            yield session
        except BaseException:  # also an interrupt: what runs at the server must end
            session.abandon()
            raise
        session.close()


LIFECYCLE = MySQLLifecycle()
