"""What the server says of a collection: the facts that a plan's hash covers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import json_util
from pymongo.errors import OperationFailure

from databosun.api.lifecycle import ColumnFact, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.faults import UNAUTHORIZED
from databosun.engines.mongodb.lifecycle.filters import OPTIONS
from databosun.engines.mongodb.lifecycle.statements import Place

SYSTEM = frozenset({"admin", "config", "local"})
TABLE = "Table"
_KINDS = {"view": "view", "timeseries": "time series"}
OWN_INDEX = "databosun_ttl_"  # what a rule of type EnsureTTL makes is what its plan says
# The server's own business, which changes with a build of an index or a release.
_LEFT = frozenset({"v", "ns", "background"})


@dataclass(frozen=True, slots=True)
class Described:
    """One collection as the server lists it."""

    place: Place
    entry: Mapping[str, Any]
    indexes: Sequence[Mapping[str, Any]]

    @property
    def options(self) -> Mapping[str, Any]:
        """As it was created, or modified since."""
        return self.entry.get("options") or {}

    @property
    def kind(self) -> str:
        """`Table` where rules can work on it."""
        kind = _KINDS.get(str(self.entry.get("type", "")))
        if kind is None and self.place.name.startswith("system."):
            kind = "collection of the server's own"
        return kind or ("capped collection" if self.options.get("capped") else TABLE)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of one session. `database`: of names without one."""

    client: Client
    database: str

    def find(self, name: str) -> Described | None:
        """The collection of a name as people write it. UserFault where it may mean two."""
        found = [one for one in map(self._described, self._places(name)) if one is not None]
        if len(found) > 1:
            both = " and ".join(f"{one.place.name} of the database {one.place.database}" for one in found)
            message = f"{name} may be {both}; name it with its database in front, and spec.database another one"
            raise UserFault(Reason.NO_SUCH_TABLE, message)
        return found[0] if found else None

    def is_table(self, name: str) -> bool:
        """Whether there is a collection of a name as people write it."""
        return self.find(name) is not None

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """The rule's own; nothing refers to it, as far as the server knows."""
        found = self.find(rule.table)
        return [fact_of(found, rule)] if found is not None else []

    def _places(self, name: str) -> list[Place]:
        database, dot, rest = name.partition(".")
        return [Place(self.database, name), *([Place(database, rest)] if dot and rest else [])]

    def _described(self, place: Place) -> Described | None:
        try:
            listed = list(self.client[place.database].list_collections(filter={"name": place.name}))
        except OperationFailure as error:
            if error.code == UNAUTHORIZED and place.database != self.database:
                return None  # its name may well be that of no database
            raise
        if not listed:
            return None
        view = listed[0].get("type") == "view"
        indexes = [] if view else list(self.client[place.database][place.name].list_indexes())
        return Described(place, listed[0], indexes)


def fact_of(found: Described, rule: RuleOrder) -> TableFact:
    """Fields are those that the rule names: documents say for themselves which they have."""
    times = [name for name in (rule.column, rule.mark_column) if name is not None]
    subject = [rule.subject_column] if rule.subject_column is not None else []
    names = dict.fromkeys([*times, *subject, *(mask.column for mask in rule.masks)])
    unique = [one for one in found.indexes if one.get("unique")]
    return TableFact(
        name=found.place.full,
        kind=found.kind,
        columns=[ColumnFact(name=name, type="date" if name in times else "any", time=name in times) for name in names],
        primary_key=["_id"],
        unique=sorted(list(one["key"]) for one in unique),
        kin=[found.place.name] if "." in found.place.name else [],
        definition_sha256=_digest(found),
    )


def only_database(names: Iterable[str]) -> str:
    """The only one that is none of the server's own. UserFault(NoSuchDatabase)."""
    own = sorted(set(names) - SYSTEM)
    if len(own) == 1:
        return own[0]
    message = (
        f"the server has the databases {', '.join(own) or 'none'}; say in spec.database which one the rules are for"
    )
    raise UserFault(Reason.NO_SUCH_DATABASE, message)


def _digest(found: Described) -> str:
    """Of its options, such as a validator or a collation, and its indexes, such as one that deletes by age."""
    indexes = [
        {name: value for name, value in one.items() if name not in _LEFT} for one in found.indexes if not _is_own(one)
    ]
    known = {"options": dict(found.options), "indexes": sorted(indexes, key=lambda one: str(one.get("name")))}
    # Keys of an index have an order, and so have validators.
    return hashlib.sha256(json_util.dumps(known, json_options=OPTIONS).encode()).hexdigest()


def _is_own(index: Mapping[str, Any]) -> bool:
    return "expireAfterSeconds" in index and str(index.get("name")).startswith(OWN_INDEX)
