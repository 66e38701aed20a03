"""The filter that says which documents a rule may take: age, the rule's own words, holds. Every command carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bson.datetime_ms import DatetimeMS

from databosun.api.lifecycle import HoldOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import Step, holds_of
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.filters import both, plain, read_filter
from databosun.engines.mongodb.lifecycle.statements import Place, stepping

NOTHING: Document = {"$nor": [{}]}


@dataclass(frozen=True, slots=True)
class Condition:
    """Of the documents of one collection. `base`: old enough and matched; `held`: by any of these; `old`: not kept by
    keepNewest; `unmarked`: not anonymised before. Empty parts ask for nothing."""

    base: Sequence[Document]
    held: Sequence[Document]
    old: Sequence[Document]
    unmarked: Sequence[Document]
    cutoff: datetime | None

    @property
    def all(self) -> list[Document]:
        """What a document must be for the rule to touch it."""
        return [*self.base, *self.old, *self.unmarked, *self.unheld]

    @property
    def unheld(self) -> list[Document]:
        """No hold is on it."""
        return [{"$nor": list(self.held)}] if self.held else []


def working_condition(client: Client, place: Place, step: Step, scope: LifecycleScope) -> Condition:
    """UserFault where one that a person wrote may not be carried out, RuleFault where the server does not read it."""
    rule, cutoff = step.rule, step.cutoff(scope.at)
    base: list[Document] = []
    if rule.column is not None:
        base += aged(rule.column)
        if cutoff is not None:
            base.append({rule.column: {"$lt": cutoff}})
    if rule.where is not None:
        base.append(read_filter(rule.where).query)
    holds = [hold for hold in holds_of(scope.order, step, scope.at) if hold.where is not None]
    for hold in holds:
        _demand_known(client, place, hold)
    condition = Condition(
        base=base,
        held=[read_filter(hold.where or "").query for hold in holds],
        old=_newest_kept(client, place, step),
        unmarked=[{rule.mark_column: {"$eq": None}}] if rule.mark_column is not None else [],
        cutoff=cutoff,
    )
    with stepping(f"reading the conditions of rule {rule.name}", rows=False):
        words = [*condition.all, {"$or": [*condition.held, NOTHING]}]
        client[place.database][place.name].find_one({"_id": {"$in": []}, "$and": words})
    return condition


def aged(column: str) -> list[Document]:
    """Filters for documents in which a field is one instant."""
    return [*plain(column), {column: {"$type": "date"}}]


def instant(document: Document, path: str) -> datetime | None:
    """A field of a document that is an instant, and one that a calendar of ours has."""
    found: object = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, DatetimeMS):
        return None
    return found if isinstance(found, datetime) else None


def _newest_kept(client: Client, place: Place, step: Step) -> list[Document]:
    """The filter that keepNewest makes of the collection as it is now: older than the oldest of those to keep."""
    keep, column = step.rule.limits.keep_newest, step.rule.column
    if not keep or column is None:
        return []
    with stepping(f"looking for the newest {keep} documents of {place.full}", rows=False):
        found = client[place.database][place.name].find(both(aged(column)), {column: 1, "_id": 0})
        last = next(iter(found.sort(column, -1).skip(keep - 1).limit(1).allow_disk_use(True)), None)
    limit = instant(last, column) if last is not None else None
    return [{column: {"$lt": limit}}] if limit is not None else [NOTHING]


def _demand_known(client: Client, place: Place, hold: HoldOrder) -> None:
    """No server refuses a filter on a field that is misspelt: it holds nothing, and nobody would see it."""
    for path in sorted(read_filter(hold.where or "").fields):
        with stepping(f"looking for {path} in {place.full}", rows=False):
            documents = client[place.database][place.name]
            known = documents.find_one({path: {"$exists": True}}, {"_id": 1}) or not documents.find_one({}, {"_id": 1})
        if not known:
            message = (
                f"hold {hold.name} asks for the field {path}, which no document of {place.full} has; correct it, or"
                " take the hold out, or nothing is touched"
            )
            raise UserFault(Reason.CONDITION_REFUSED, message)
