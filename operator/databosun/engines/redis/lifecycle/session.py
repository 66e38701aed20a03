"""A login that carries out lifecycles on keys: at the master, whichever that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from databosun.api.lifecycle import ActionType, RuleFacts, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.lifecycle import Step, in_force
from databosun.engines.base import Target
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
    no_index,
)
from databosun.engines.redis.lifecycle.counts import count
from databosun.engines.redis.lifecycle.faults import stepping
from databosun.engines.redis.lifecycle.keys import RedisKeys
from databosun.engines.redis.lifecycle.master import ask_info, demand_idle_times, open_master, read_strain
from databosun.engines.redis.lifecycle.rights import lacking
from databosun.engines.redis.lifecycle.scan import Names, names_of
from databosun.engines.redis.resp import Wire

ACTIONS = frozenset({ActionType.DELETE, ActionType.EXPIRE})


class RedisSession:
    """`LifecycleSession` of `engines/lifecycle.py`."""

    def __init__(self, target: Target, scope: LifecycleScope) -> None:
        self._target = target
        self._scope = scope
        self._number = _number(scope.order.database or target.database.database or "0")
        self._master = open_master(target, self._number, scope.pulse)

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._master.version

    @property
    def dbname(self) -> str:
        """The number of the database."""
        return str(self._number)

    def look(self, rule: RuleOrder) -> RuleFacts:
        """The facts; nothing is written."""
        facts = RuleFacts(rule=rule.name)
        try:
            with stepping(f"looking at rule {rule.name}", self._user):
                names = self._names(rule)
                facts = facts.model_copy(update={"tables": list(self.definitions(rule).tables)})
                return self._count(rule, names, facts)
        except DatabosunError as error:
            if isinstance(error, RuleFault) and error.trouble is not Trouble.PERMANENT:
                raise
            return facts.model_copy(update={"fault": error.message})

    def definitions(self, rule: RuleOrder) -> Definitions:
        """The database and the pattern are all that a rule stands on."""
        return Definitions([TableFact(name=f"db{self._number} {rule.keys}", kind="Keys")], [])

    def rows(self, step: Step) -> RowWork:
        """Work on keys."""
        return RedisKeys(lambda: self._master, step, self._scope, self._names(step.rule), self._user)

    def partitions(self, step: Step) -> PartitionWork:
        """There is no such work."""
        raise _unsupported(step.rule)

    def indexes(self, step: Step) -> IndexWork:
        """There is no such work."""
        raise no_index(step.rule)

    def size(self, step: Step) -> int:
        """All that the server has in memory."""
        with stepping(f"measuring for rule {step.rule.name}", self._user):
            return int(ask_info(self._master.wire, "memory").get("used_memory", "0"))

    @contextmanager
    def reading(self, rule: RuleOrder) -> Iterator[tuple[Wire, Names]]:
        """For those that read keys. RuleFault."""
        with stepping(f"reading keys of rule {rule.name}", self._user):
            yield self._master.wire, self._names(rule)

    def strain(self) -> Strain:
        """How the server and its replicas bear it."""
        with stepping("asking how the server bears it", self._user):
            return read_strain(self._master)

    def renew(self) -> None:
        """A new login, to whichever node takes writes now."""
        self.close()
        self._master = open_master(self._target, self._number, self._scope.pulse)

    def close(self) -> None:
        """Hang up."""
        self._master.wire.close()

    @property
    def _user(self) -> str:
        return self._target.credentials.username

    def _names(self, rule: RuleOrder) -> Names:
        if rule.action not in ACTIONS:
            raise _unsupported(rule)
        holds = [one for one in self._scope.order.holds if in_force(one, self._scope.at)]
        for hold in holds:
            if hold.table is not None:
                message = f"hold {hold.name} is on {hold.table}, and Redis has no tables; say keyPattern in its place"
                raise UserFault(Reason.NO_SUCH_TABLE, message)
        return names_of(rule, [one for one in holds if one.keys is not None], self._scope.subject)

    def _count(self, rule: RuleOrder, names: Names, facts: RuleFacts) -> RuleFacts:
        wire = self._master.wire
        wanting = lacking(wire, rule, names.pattern, self._user)
        facts = facts.model_copy(update={"grants": list(wanting.grants)})
        if wanting.reads:
            return facts
        if rule.idle_seconds is not None:
            demand_idle_times(self._master, rule.name, rule.idle_seconds)
        scope = self._scope
        counted = count(wire, rule, names, scope.at, scope.key, scope.pulse)
        return facts.model_copy(update={"counts": counted})


def _unsupported(rule: RuleOrder) -> UserFault:
    able = ", ".join(sorted(ACTIONS))
    message = f"rule {rule.name}: this release has no {rule.action} for Redis; it has {able}"
    return UserFault(Reason.ACTION_UNSUPPORTED, message)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        message = f"spec.database is {text!r}; expected the number of a database of Redis, such as 0"
        raise UserFault(Reason.NO_SUCH_DATABASE, message)
    return int(text)


class RedisLifecycle:
    """`LifecycleEngine` of `engines/lifecycle.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[LifecycleSession]:
        """Log in at the master; hang up afterwards."""
        session = RedisSession(target, scope)
        try:
            yield session
        finally:
            session.close()


LIFECYCLE = RedisLifecycle()
