"""Slots that were answered and not yet written down: where much is due, Jobs come before what is told of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from databosun.api.v1alpha1.databasestatus import PolicyCursor
from databosun.controllers.seen import SeenDatabase
from databosun.domain.database import slot_of
from databosun.domain.plan import CreateRun
from databosun.runtime.queue import Key


class Answered:
    """Cursors of policies as they were when their runs were created, until they stand in Database.status.

    A kill loses them, and costs nothing: a scheduled run says by its name which slot it answers.
    """

    def __init__(self) -> None:
        self._cursors: dict[Key, tuple[str, list[PolicyCursor]]] = {}

    @staticmethod
    def may_wait(create: Iterable[CreateRun]) -> bool:
        """Whether the cursors can be found again from the runs' names: of run-now they could not."""
        return all(action.kind == "Backup" and slot_of(action.name) is not None for action in create)

    def note(self, key: Key, seen: SeenDatabase, cursors: list[PolicyCursor]) -> None:
        """The runs are created; their cursors are to be written by a later look."""
        self._cursors[key] = seen.meta.uid, cursors

    def forget(self, key: Key) -> None:
        """They are written, or the Database is gone."""
        self._cursors.pop(key, None)

    def over(self, key: Key, seen: SeenDatabase) -> SeenDatabase:
        """The Database as if they were written."""
        uid, cursors = self._cursors.get(key, ("", []))
        if uid != seen.meta.uid:
            return seen
        return replace(seen, status=seen.status.model_copy(update={"policies": cursors}))
