"""Auto becomes Physical or Logical, and says why; alike in every engine that has both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault


@dataclass(frozen=True, slots=True)
class Choice:
    """The method to use and the notes that go with it."""

    method: Method
    notes: tuple[str, ...] = ()


def choose_method(wanted: Method, database: str | None, findings: Sequence[Finding]) -> Choice:
    """Decide, from the findings of both methods. UserFault where an explicit method has a blocking one."""
    if wanted is Method.SNAPSHOT:
        message = "method is Snapshot, which exists for RDS only; expected Auto, Physical or Logical"
        raise UserFault(Reason.UNSUPPORTED_METHOD, message)
    if wanted is Method.AUTO:
        return _automatic(database, findings)
    _demand(wanted, findings)
    notes: tuple[str, ...] = ()
    if wanted is Method.PHYSICAL and database is not None:
        notes = (
            f"{Reason.WHOLE_SERVER}: connection.database is {database}, but a Physical backup holds the whole server "
            "with all databases",
        )
    return Choice(wanted, notes)


def _automatic(database: str | None, findings: Sequence[Finding]) -> Choice:
    if database is not None:
        _demand(Method.LOGICAL, findings)
        note = (
            f"{Reason.AUTO_METHOD}: Logical, because connection.database is {database} and a physical backup would "
            "hold the whole server"
        )
        return Choice(Method.LOGICAL, (note,))
    obstacle = blocking(Method.PHYSICAL, findings)
    if obstacle is None:
        return Choice(
            Method.PHYSICAL,
            (f"{Reason.AUTO_METHOD}: Physical, because the whole server is backed up and it restores fastest",),
        )
    _demand(Method.LOGICAL, findings)
    note = f"{Reason.AUTO_METHOD}: Logical, because Physical is not possible: {obstacle.reason}: {obstacle.message}"
    return Choice(Method.LOGICAL, (note + (f"; to mend it: {obstacle.fix}" if obstacle.fix else ""),))


def blocking(method: Method, findings: Sequence[Finding]) -> Finding | None:
    """The first finding that makes the method impossible."""
    return next((finding for finding in findings if method.value in finding.blocks), None)


def _demand(method: Method, findings: Sequence[Finding]) -> None:
    obstacle = blocking(method, findings)
    if obstacle is not None:
        fix = f"; to mend it: {obstacle.fix}" if obstacle.fix else ""
        raise UserFault(obstacle.reason, f"{method.value} is not possible: {obstacle.message}{fix}")
