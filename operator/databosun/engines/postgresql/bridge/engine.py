"""The bridge's Protocol for PostgreSQL: whole databases, or chosen tables of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from databosun.api.drill import Check, Level
from databosun.api.result import PlacedResult
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.bridging import Bridge, BridgeOrder, Found, StagedCopy, Standing
from databosun.engines.postgresql.bridge import databases, tables
from databosun.engines.postgresql.bridge.handover import hand_over_steps
from databosun.engines.postgresql.bridge.live import demand_free_tables
from databosun.engines.postgresql.bridge.roles import drop_roles, forget_roles
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.postgresql.recovery.facts import read_backup
from databosun.engines.recovery import Copy


class PostgreSQLBridge:
    """PostgreSQL 14 to 18, into a server of the backup's major version or a newer one."""

    def look(self, target: Target, order: BridgeOrder) -> Found:
        """By name and comment."""
        with guarded("looking for what an earlier attempt left"):
            server = Server(target, order.databases)
            if order.tables:
                return tables.look_for_tables(server, order.databases[0], order.uid)
            return databases.look_for_databases(server, order.uid)

    def examine(self, target: Target, order: BridgeOrder, manifest: Mapping[str, Any]) -> None:
        """All that can be known before anything is fetched."""
        with guarded("looking at the target"):
            wanted = databases.wanted_databases(order, manifest)
            _demand_named(target, wanted)
            server = Server(target, wanted)
            _demand_version(server, manifest)
            if order.tables:
                tables.demand_database(server, wanted[0])
                demand_free_tables(server, order, wanted[0])
            else:
                # Whether it is empty in the backup is known only once that is restored; then it is left out.
                named = [name for name in wanted if name != "postgres" or order.databases or len(wanted) == 1]
                databases.demand_places(server, order, named)

    def stage(
        self, target: Target, order: BridgeOrder, copy: Copy, checks: Sequence[Check], level: Level
    ) -> StagedCopy:
        """On an error all of it is taken away again."""
        if not isinstance(copy, RunningCopy):
            raise TypeError(copy)
        held = copy.databases()
        wanted = tuple(order.databases) or held
        if missing := [name for name in wanted if name not in held]:
            message = f"at the point that was restored there is no database {', '.join(missing)}; there are {held}"
            raise UserFault(Reason.NO_SUCH_DATABASE, message)
        try:
            with guarded("restoring into the target"):
                server = Server(target, wanted)
                if order.tables:
                    return tables.stage_tables(server, order, copy, wanted[0], level)
                return databases.stage_databases(server, order, copy, wanted, checks, level)
        except DatabosunError as fault:
            raise self._cleaned(target, order, fault) from fault

    def seal(self, target: Target, order: BridgeOrder, story: Mapping[str, Any]) -> None:
        """In the comments of what is staged."""
        with guarded("marking what is staged"):
            if order.tables:
                tables.seal_tables(Server(target), order, order.databases[0], story, moved=False)
            else:
                databases.seal_databases(Server(target, order.databases), order, story)

    def place(self, target: Target, order: BridgeOrder) -> tuple[PlacedResult, ...]:
        """One transaction; where its end is not known, what is there says how it ended."""
        found = self.look(target, order)
        if found.standing is Standing.PLACED:
            return found.placed
        if found.standing is not Standing.STAGED:
            message = "what was staged is not there any more, or not all of it; nothing was put in place"
            raise UserFault(Reason.SCHEMA_CHANGED, message)
        try:
            with guarded("putting the restored data in place"):
                if order.tables:
                    return tables.place_tables(Server(target), order, order.databases[0], found.story)
                names = [one.database for one in found.placed]
                return databases.place_databases(Server(target, names), order, found.placed)
        except WorldFault:
            again = self.look(target, order)
            if again.standing is Standing.PLACED:
                return again.placed
            raise

    def settle(self, target: Target, order: BridgeOrder) -> None:
        """The comments of the originals."""
        with guarded("taking marks away"):
            server = Server(target, order.databases)
            if order.tables:
                tables.settle_tables(server, order.uid, order.databases[0])
            else:
                databases.settle_databases(server, order.uid)
            forget_roles(server, order.uid)

    def discard(self, target: Target, order: BridgeOrder) -> tuple[str, ...]:
        """What is staged, and the roles that were made for it."""
        with guarded("removing what was staged"):
            server = Server(target, order.databases)
            gone = (
                tables.discard_tables(server, order.uid, order.databases[0])
                if order.tables
                else databases.discard_databases(server, order.uid)
            )
            return (*gone, *drop_roles(server, order.uid))

    def hand_over(self, placed: Sequence[PlacedResult], target: Target) -> list[str]:
        """How to go on, and how to drop what was put aside."""
        return hand_over_steps(placed, target)

    def _cleaned(self, target: Target, order: BridgeOrder, fault: DatabosunError) -> DatabosunError:
        """The fault, and in which state the target is."""
        try:
            self.discard(target, order)
        except DatabosunError as left:
            state = f"what was staged could not be removed ({left.message}); the next attempt removes it"
        else:
            state = "the target is as it was"
        return type(fault)(fault.reason, f"{fault.message}; {state}")


def _demand_version(server: Server, manifest: Mapping[str, Any]) -> None:
    backup, facts = read_backup(manifest), server.facts
    if facts.major < backup.major:
        message = (
            f"backup {backup.id} is of PostgreSQL {backup.version}, {server.session.endpoint} runs {facts.version}: a "
            f"dump loads into servers of its own version or newer ones; use a target of at least {backup.major}"
        )
        raise UserFault(Reason.TARGET_OLDER, message)


def _demand_named(target: Target, wanted: Sequence[str]) -> None:
    only = target.database.database
    if only is not None and tuple(wanted) != (only,):
        message = (
            f"the target's connection names database {only} alone, and {', '.join(wanted)} would be restored; say "
            f"selection.databases: [{only}], or name a target whose connection is the whole server"
        )
        raise UserFault(Reason.TARGET_IS_ONE_DATABASE, message)


BRIDGE: Bridge = PostgreSQLBridge()
