"""The index by which the server deletes documents by age, as a rule wants it and as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from databosun.api.lifecycle import HoldOrder, IndexFact, RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.domain.lifecycle import Step
from databosun.engines.holding import adrift
from databosun.engines.lifecycle import Left, LifecycleScope, RuleFault, Trouble
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.catalogue import OWN_INDEX, Described
from databosun.engines.mongodb.lifecycle.conditions import working_condition
from databosun.engines.mongodb.lifecycle.counts import count_left
from databosun.engines.mongodb.lifecycle.filters import prefixes
from databosun.engines.mongodb.lifecycle.statements import Place, stepping

# What an index by age may say besides; one that says more is another: partial, sparse, unique, hidden.
_KNOWN = frozenset({"v", "key", "name", "ns", "background", "expireAfterSeconds"})


def index_of(found: Described, rule: RuleOrder) -> IndexFact:
    """UserFault where no index can say what the rule wants."""
    column, seconds = rule.column, max(rule.older_than_seconds or 0, rule.limits.min_retention_seconds)
    if column is None or seconds <= 0 or rule.where is not None:
        message = f"rule {rule.name}: an index deletes by match.column and match.olderThan, and by no match.where"
        raise UserFault(Reason.INDEX_CLASH, message)
    if column == "_id" or found.options.get("clusteredIndex"):
        message = f"rule {rule.name}: the key of {found.place.full} cannot be an index that deletes by age; use Delete"
        raise UserFault(Reason.INDEX_CLASH, message)
    name = f"{OWN_INDEX}{rule.name}"
    there = next((one for one in found.indexes if _is_on(one, column)), None)
    fact = IndexFact(name=name, column=column, seconds=seconds, drop=_drop(found.place, name))
    if there is None:
        taken = any(one.get("name") == name for one in found.indexes)
        clash = f"an index {name} of another field is there; drop it, or name the rule otherwise" if taken else None
        return fact.model_copy(update={"clash": clash})
    known, expires = str(there.get("name")), there.get("expireAfterSeconds")
    after = int(expires) if isinstance(expires, (int, float)) else None
    fact = fact.model_copy(update={"name": known, "found": after, "drop": _drop(found.place, known)})
    if after is not None and set(there) <= _KNOWN and (expires == seconds or known.startswith(OWN_INDEX)):
        return fact
    said = ", ".join(f"{key}: {value}" for key, value in there.items() if key not in ("v", "key", "ns"))
    clash = f"an index on {column} alone is there already, and is otherwise ({said}); drop it, if nobody needs it"
    return fact.model_copy(update={"clash": clash})


def demand_plain(client: Client, found: Described, rule: RuleOrder) -> None:
    """UserFault where a document has an array there: such an index deletes it as soon as one of its dates is old."""
    arrays: Sequence[Document] = [{path: {"$type": "array"}} for path in prefixes(str(rule.column))]
    if client[found.place.database][found.place.name].find_one({"$or": arrays}, {"_id": 1}) is not None:
        message = (
            f"rule {rule.name}: documents of {found.place.full} have an array in {rule.column}, and an index deletes"
            " such a document as soon as one of its dates is old; use Delete, which leaves it alone"
        )
        raise UserFault(Reason.INDEX_CLASH, message)


class MongoIndex:
    """`IndexWork` of `engines/lifecycle.py`."""

    def __init__(
        self,
        connected: Callable[[], Client],
        step: Step,
        scope: LifecycleScope,
        described: Callable[[], Described],
        is_table: Callable[[str], bool],
    ) -> None:
        self._connected = connected
        self._step = step
        self._scope = scope
        self._described = described
        self._is_table = is_table

    def ensure(self) -> str:
        """As it is now decides what is to be done; what the server returns then, what was done."""
        rule = self._step.rule
        with stepping(f"looking at indexes of {rule.table}", rows=False):
            found = self._described()
            wanted = index_of(found, rule)
        if wanted.clash is not None:
            raise SafetyStop(Reason.PLAN_CHANGED, f"{wanted.clash}; it came while the rule was carried out")
        if wanted.found != wanted.seconds:
            with stepping(f"making the index {wanted.name} of {found.place.full}", rows=False):
                self._connected()[found.place.database].command(_command(found.place, wanted))
        with stepping(f"looking at indexes of {rule.table}", rows=False):
            made = index_of(self._described(), rule)
        if made.found != made.seconds:
            message = f"the index {wanted.name} of {found.place.full} is not there as it was asked for: {made.found}"
            raise RuleFault(Reason.INDEX_CLASH, message, Trouble.PERMANENT)
        return f"{made.name} on {made.column}, which deletes after {made.found} s"

    def stop(self) -> bool:
        """Dropped, not put off: an index with the longest time there is would still delete what is dated before it."""
        with stepping(f"looking at indexes of {self._step.rule.table}", rows=False):
            found = self._described()
            there = index_of(found, self._step.rule)
        if not _is_ours(there):
            return False
        place = found.place
        with stepping(f"dropping the index {there.name} of {place.full}", rows=False):
            command = {"dropIndexes": place.name, "index": there.name, "writeConcern": {"w": "majority"}}
            self._connected()[place.database].command(command)
        with stepping(f"looking at indexes of {self._step.rule.table}", rows=False):
            left = index_of(self._described(), self._step.rule)
        if left.found is not None:
            message = f"the index {there.name} of {place.full} is there still: it was dropped, and came back"
            raise RuleFault(Reason.INDEX_CLASH, message, Trouble.PERMANENT)
        return True

    def adrift(self) -> list[HoldOrder]:
        """On no collection, on a name that may be two, or on one that the server does not look for."""

        def is_one(name: str) -> bool:
            try:
                return self._is_table(name)
            except DatabosunError as error:
                if isinstance(error, RuleFault) and error.trouble is Trouble.LOST:
                    raise
                return False

        return [hold for hold, _ in adrift(self._scope, is_one)]

    def left(self) -> Left:
        """What is old enough, and goes by itself."""
        place, client = self._described().place, self._connected()
        with stepping(f"counting {place.full}", rows=False):
            condition = working_condition(client, place, self._step, self._scope)
            return count_left(client, place, self._step, condition, self._scope)


def _is_ours(index: IndexFact) -> bool:
    """By its name, its one field, and that it says nothing besides: as `_command` makes it."""
    return index.found is not None and index.clash is None and index.name.startswith(OWN_INDEX)


def _is_on(index: Mapping[str, Any], column: str) -> bool:
    return list(dict(index["key"]).items()) in ([(column, 1)], [(column, -1)])


def _command(place: Place, wanted: IndexFact) -> Document:
    if wanted.found is not None:
        return {"collMod": place.name, "index": {"name": wanted.name, "expireAfterSeconds": wanted.seconds}}
    index = {"key": {wanted.column: 1}, "name": wanted.name, "expireAfterSeconds": wanted.seconds}
    return {"createIndexes": place.name, "indexes": [index], "writeConcern": {"w": "majority"}}


def _drop(place: Place, name: str) -> str:
    return f'db.getSiblingDB("{place.database}").getCollection("{place.name}").dropIndex("{name}")'
