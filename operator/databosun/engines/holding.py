"""Holds of which nobody can say what they are on: while there is one, nothing is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from databosun.api.lifecycle import HoldOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import in_force
from databosun.engines.lifecycle import LifecycleScope


def demand_held(scope: LifecycleScope, is_table: Callable[[str], bool]) -> None:
    """UserFault where a hold is on no table: one that is misspelt would hold nothing, and nobody would see it."""
    for _, fault in adrift(scope, is_table):
        raise fault


def adrift(scope: LifecycleScope, is_table: Callable[[str], bool]) -> Iterator[tuple[HoldOrder, UserFault]]:
    """The holds in force that are on no table that is there, and what to say of each: it may be meant for any."""
    for hold in scope.order.holds:
        if not in_force(hold, scope.at):
            continue
        if hold.keys is not None:
            message = f"hold {hold.name} is on keys {hold.keys}, and this database has tables; say which one it is on"
            yield hold, UserFault(Reason.NO_SUCH_TABLE, message)
        elif hold.table is not None and not is_table(hold.table):
            message = (
                f"hold {hold.name} is on {hold.table}, and there is no table of that name; correct it, or take the"
                " hold out, or nothing is touched"
            )
            yield hold, UserFault(Reason.NO_SUCH_TABLE, message)
