"""A login that carries out lifecycles: at the primary of a replica set, or a server that stands alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial

from pymongo.errors import OperationFailure

from databosun.api.lifecycle import ActionType, IndexFact, RuleFacts, RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
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
    RuleFault,
    Strain,
    Trouble,
    demand_server,
)
from databosun.engines.mongodb.connect import Client, opened
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.lifecycle.archive import NO_DOCUMENT, still
from databosun.engines.mongodb.lifecycle.catalogue import TABLE, Catalogue, Described, only_database
from databosun.engines.mongodb.lifecycle.conditions import working_condition
from databosun.engines.mongodb.lifecycle.counts import bytes_of, count
from databosun.engines.mongodb.lifecycle.masks import demand_fit
from databosun.engines.mongodb.lifecycle.persons import MongoPerson, count_person
from databosun.engines.mongodb.lifecycle.rights import lacking
from databosun.engines.mongodb.lifecycle.rows import MongoRows
from databosun.engines.mongodb.lifecycle.statements import no_collection, stepping
from databosun.engines.mongodb.lifecycle.strain import read_strain
from databosun.engines.mongodb.lifecycle.ttl import MongoIndex, demand_plain, index_of
from databosun.engines.mongodb.server import choose_primary, read_facts

_SILENT_SECONDS = 60.0  # after what a statement may take


class MongoSession:
    """`LifecycleSession` of `engines/lifecycle.py`."""

    def __init__(self, target: Target, scope: LifecycleScope) -> None:
        self._target = target
        self._scope = scope
        self._open = ExitStack()
        self._database: str | None = scope.order.database or target.database.database
        self._connect()

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._version

    @property
    def dbname(self) -> str:
        """The database of names without one."""
        return self._catalogue.database

    def look(self, rule: RuleOrder) -> RuleFacts:
        """The facts; nothing is written."""
        facts = RuleFacts(rule=rule.name)
        try:
            with stepping(f"looking at {rule.table}", rows=False):
                found = self._definitions(rule)
                facts = facts.model_copy(update={"tables": found.tables})
                # First: an index that is there deletes on while something else cannot be understood.
                facts = facts.model_copy(update={"index": self._index(rule, facts)})
                demand_held(self._scope, self._catalogue.is_table)
                return self._count(rule, facts)
        except DatabosunError as error:
            if isinstance(error, WorldFault) or (isinstance(error, RuleFault) and error.trouble is Trouble.LOST):
                raise
            return facts.model_copy(update={"fault": error.message})

    def definitions(self, rule: RuleOrder) -> Definitions:
        """As the server lists them."""
        with stepping(f"looking at {rule.table}", rows=False):
            return self._definitions(rule)

    def rows(self, step: Step) -> RowWork:
        """Work on documents."""
        with stepping(f"looking at {step.rule.table}", rows=False):
            found = self._described(step.rule.table)
        work = MongoRows if step.rule.subject_column is None else MongoPerson
        return work(lambda: self._client, step, self._scope, found, lambda: self.definitions(step.rule))

    def partitions(self, step: Step) -> PartitionWork:
        """There is no such work."""
        raise _unsupported(step.rule)

    def indexes(self, step: Step) -> IndexWork:
        """Work on the index."""
        described = partial(self._described, step.rule.table)
        return MongoIndex(lambda: self._client, step, self._scope, described, self._is_table)

    def size(self, step: Step) -> int:
        """As the server counts it."""
        if step.table is None:
            return 0
        with stepping(f"measuring {step.table.name}", rows=False):
            return bytes_of(self._client, self._described(step.rule.table).place)

    def strain(self) -> Strain:
        """How far the members are behind."""
        with stepping("asking for the lag of replicas", rows=False):
            return read_strain(self._client)

    def renew(self) -> None:
        """A new login, to whichever member takes writes now."""
        self.close()
        self._connect()

    def close(self) -> None:
        """Log out."""
        self._open.close()

    def collection(self, name: str) -> tuple[Client, Described]:
        """For those that read it. UserFault where there is none."""
        with stepping(f"looking at {name}", rows=False):
            return self._client, self._described(name)

    def now(self) -> datetime:
        """By the server's clock."""
        with stepping("asking for the time", rows=False):
            said = self._client.admin.command("hello").get("localTime")
        return said if isinstance(said, datetime) else datetime.now(UTC)

    def _described(self, name: str) -> Described:
        return self._catalogue.find(name) or no_collection(name)

    def _is_table(self, name: str) -> bool:
        with stepping(f"looking for {name}", rows=False):
            return self._catalogue.is_table(name)

    def _definitions(self, rule: RuleOrder) -> Definitions:
        if rule.action in BY_PARTITION:
            raise _unsupported(rule)
        return Definitions(self._catalogue.tables(rule), [])

    def _index(self, rule: RuleOrder, facts: RuleFacts) -> IndexFact | None:
        if rule.action is not ActionType.ENSURE_TTL or not facts.tables or facts.tables[0].kind != TABLE:
            return None
        return index_of(self._described(rule.table), rule)

    def _count(self, rule: RuleOrder, facts: RuleFacts) -> RuleFacts:
        step = next(one for one in make_plan(self._scope.order, [facts]).steps if one.rule.name == rule.name)
        if step.table is None or step.table.kind != TABLE:
            return facts  # the plan says what is wrong with it
        described = self._described(rule.table)
        place = described.place
        changes = facts.index is not None and facts.index.found not in (None, facts.index.seconds)
        wanting = lacking(self._client, place, rule, changes=changes)
        if wanting:
            return facts.model_copy(update={"grants": wanting})
        if rule.action is ActionType.ARCHIVE:
            self._demand_comparable(described)
        if rule.action is ActionType.ENSURE_TTL:
            demand_plain(self._client, described, rule)
        condition = working_condition(self._client, place, step, self._scope)
        if rule.subject_column is not None:
            return facts.model_copy(update={"counts": count_person(self._client, place, step, condition, self._scope)})
        if rule.action is ActionType.ANONYMIZE:
            demand_fit(self._client, place, step, condition, self._scope)
        return facts.model_copy(update={"counts": count(self._client, place, step, condition, self._scope)})

    def _demand_comparable(self, found: Described) -> None:
        """Only what the server can compare whole is deleted by what was archived."""
        collation = (found.options.get("collation") or {}).get("locale", "simple")
        if collation != "simple":
            message = (
                f"{found.place.full} has the collation {collation}, by which texts that differ may be equal; what is"
                " archived is compared exactly, or not deleted: use Delete, or a collection without a collation"
            )
            raise UserFault(Reason.ARCHIVE_UNSUPPORTED, message)
        documents = self._client[found.place.database][found.place.name]
        one = documents.find_one({}, {"_id": 1})
        try:
            if one is not None:
                documents.find_one({"_id": one["_id"], **still(NO_DOCUMENT)})
        except OperationFailure as error:
            message = f"the server cannot compare a whole document with what was archived: {error.details}"
            raise UserFault(Reason.ARCHIVE_UNSUPPORTED, message) from error

    def _connect(self) -> None:
        silent = self._scope.statement_seconds + _SILENT_SECONDS
        endpoint = choose_primary(self._target)
        self._client: Client = self._open.enter_context(opened(self._target, endpoint, silent=silent))
        with guarded("looking at the server", self._target.credentials.username):
            facts = read_facts(self._client, endpoint)
            if facts.router:
                message = f"{endpoint} is a router of a sharded cluster, whose documents this release has no rules for"
                raise UserFault(Reason.SHARDED_UNSUPPORTED, message)
            demand_server(self._scope, facts.identity)
            self._version = facts.version
            if self._database is None:
                self._database = only_database(self._client.list_database_names())
        self._catalogue = Catalogue(self._client, self._database)


def _unsupported(rule: RuleOrder) -> UserFault:
    message = f"{rule.action} of rule {rule.name}: this release does not do that in MongoDB"
    return UserFault(Reason.UNSUPPORTED_ENGINE, message)


class MongoLifecycle:
    """`LifecycleEngine` of `engines/lifecycle.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[LifecycleSession]:
        """Log in at the primary; log out afterwards."""
        session = MongoSession(target, scope)
        try:
            yield session
        finally:
            session.close()


LIFECYCLE = MongoLifecycle()
