"""Follow a run of any kind to its verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Generic, NoReturn, TypeVar

from databosun.api.v1alpha1.reasons import Reason
from databosun.cli.findings import what_to_do
from databosun.cli.options import Where
from databosun.cli.output import Screen
from databosun.cli.progress import FINAL, Follower, follower
from databosun.cli.running import OK, run
from databosun.cli.session import Session
from databosun.controllers.seen import Seen
from databosun.domain.errors import UserFault, WorldFault
from databosun.kube.errors import AlreadyExists
from databosun.kube.resources import Object, Resource

TIMED_OUT: Final = 124
LOOK_EVERY: Final = 1.0
# The operator answers within seconds; a person should not wait for one that is not there.
PICKED_UP_WITHIN: Final = timedelta(seconds=30)

S = TypeVar("S", bound=Seen[Any, Any])


class Run(Generic[S]):
    """One kind of run: how it is read, what it is called for short, and how its verdict is told."""

    def __init__(
        self,
        resource: Resource,
        short: str,
        parse: Callable[[Mapping[str, Any]], S],
        verdict: Callable[[Session, S], int],
    ) -> None:
        self._resource = resource
        self._short = short
        self._parse = parse
        self._verdict = verdict

    def by_hand(
        self,
        where: Where,
        start: Callable[[Session], Awaitable[S]],
        what: str,
        *,
        wait: bool,
        timeout: timedelta | None,
    ) -> NoReturn:
        """Start one, say so, and follow it where that is asked. Ctrl-C ends the waiting, never the run."""
        started: list[str] = []

        async def work(session: Session) -> int:
            meta = (await start(session)).meta
            started.append(f"-n {meta.namespace} {meta.name}")
            created = f"{self._resource.kind.lower()}.{self._resource.group}/{meta.name} created"
            session.screen.out.print(created, markup=False)
            return await self.follow(session, meta.name, timeout) if wait else OK

        def interrupted(screen: Screen) -> None:
            if started:
                screen.note(f"the {what} goes on; see: kubectl get {self._short} {started[0]}")

        run(where, work, interrupted=interrupted)

    async def create(self, session: Session, make: Callable[[datetime], Object]) -> S:
        """Create one. WorldFault where two names in a row were taken."""
        for _ in range(2):
            body = make(session.clock.now())
            try:
                return self._parse(await session.kube.create(self._resource, session.namespace, body))
            except AlreadyExists:
                continue
        message = "two names in a row were taken; try again"
        raise WorldFault(Reason.NAME_TAKEN, message)

    async def follow(self, session: Session, name: str, limit: timedelta | None) -> int:
        """Show how it goes, and return the exit code of its verdict; 124 where it goes on after `limit`."""
        started = session.clock.monotonic()
        hinted = False
        with follower(session.screen, f"{session.namespace}/{name}") as shown:
            while True:
                seen = await self._look(session, name, shown)
                if seen is not None and seen.status.phase in FINAL:
                    break
                waited = timedelta(seconds=session.clock.monotonic() - started)
                if limit is not None and waited >= limit:
                    see = f"kubectl get {self._short} -n {session.namespace} {name}"
                    shown.say(f"still going on after {limit}; see: {see}")
                    return TIMED_OUT
                if not hinted and waited >= PICKED_UP_WITHIN and seen is not None and seen.status.phase is None:
                    shown.say("the operator has not picked it up yet; is it there? kubectl bosun doctor")
                    hinted = True
                await session.clock.sleep(LOOK_EVERY)
        return self._verdict(session, seen)

    async def _look(self, session: Session, name: str, shown: Follower) -> S | None:
        """The run as it is; None where the API server is away for the moment. UserFault where it was deleted."""
        try:
            body = await session.kube.get(self._resource, session.namespace, name)
        except WorldFault as fault:
            shown.say(f"{fault.message}; trying again")
            return None
        if body is None:
            kind = self._resource.kind
            message = f"{kind} {session.namespace}/{name} was deleted while it was being waited for"
            raise UserFault(Reason.NOT_FOUND, message)
        seen = self._parse(body)
        shown.show(seen)
        return seen


def tell_failure(session: Session, seen: Seen[Any, Any], kind: str) -> None:
    """Say why a run did not end as it should, and what to do."""
    failure, name = seen.status.failure, f"{seen.meta.namespace}/{seen.meta.name}"
    reason, message = (failure.reason, failure.message) if failure else ("Failed", "no reason is recorded")
    session.screen.note(f"{kind} {name} {str(seen.status.phase).lower()}: {reason}: {message}")
    for line in (failure.log_tail or "").splitlines()[-5:] if failure else ():
        session.screen.note(f"  {line}")
    if todo := what_to_do(reason):
        session.screen.note(f"  {todo}")
