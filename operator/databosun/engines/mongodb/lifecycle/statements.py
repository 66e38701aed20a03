"""Commands of a lifecycle, and what is to be done about one that failed: wait, connect anew, or give up.

What the server says of a write may repeat what stands in a document (a duplicate key, a validator's details): of these
only the number and its name are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from bson.errors import BSONError
from pymongo.errors import AutoReconnect, CursorNotFound, OperationFailure, PyMongoError

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.lifecycle import LifecycleScope, RuleFault, Trouble
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.faults import driver_fault, number_of

# By numbers, which never change (error_codes.yml of the server): locks, conflicts, time, scarce memory and disk.
_BUSY = frozenset({24, 39, 46, 50, 112, 117, 146, 202, 225, 246, 251, 262, 290, 292, 14031, 11601})
# Elections, shutdowns, and a majority that does not answer: what was written may stand, or not.
_LOST = frozenset({6, 7, 43, 64, 89, 91, 134, 189, 9001, 10107, 11600, 11602, 13435, 13436})
_DISCREET = frozenset({13, 18, 26, 50, 59, 238, 8000})
SAFE_SECONDS = 60  # for a majority to have what was written
_WORK_SECONDS = 10.0  # of a step, besides what it waits for others


@dataclass(frozen=True, slots=True)
class Place:
    """A collection."""

    database: str
    name: str

    @property
    def full(self) -> str:
        """As facts have it."""
        return f"{self.database}.{self.name}"


@contextmanager
def stepping(doing: str, *, rows: bool = True) -> Iterator[None]:
    """Turn what the driver raises inside into a RuleFault. `rows`: documents are written, and nothing of them is
    repeated."""
    try:
        yield
    except (PyMongoError, BSONError) as error:
        number = number_of(error)
        if rows and isinstance(error, OperationFailure) and number not in _DISCREET:
            raise refused(number, str((error.details or {}).get("codeName") or ""), doing) from error
        fault = driver_fault(error, doing, "")
        raise RuleFault(fault.reason, fault.message, trouble_of(error)) from error
    except OSError as error:
        raise RuleFault(Reason.CONNECTION_LOST, f"{doing}: {error}", Trouble.LOST) from error


def trouble_of(error: Exception) -> Trouble:
    """By the kind of an error, or its number."""
    if isinstance(error, (AutoReconnect, CursorNotFound)):
        return Trouble.LOST
    number = number_of(error)
    if number in _LOST:
        return Trouble.LOST
    return Trouble.BUSY if number in _BUSY else Trouble.PERMANENT


def refused(number: int, name: str, doing: str) -> RuleFault:
    """The error of a write, by its number alone."""
    trouble = Trouble.LOST if number in _LOST else Trouble.BUSY if number in _BUSY else Trouble.PERMANENT
    said = f"{doing}: the server refused with error {number}{f' ({name})' if name else ''}"
    return RuleFault(Reason.DATABASE_ERROR, f"{said}; its log says more, which may repeat what stands there", trouble)


@dataclass(frozen=True, slots=True)
class Written:
    """What a command that writes came to. `fault`: of some of its parts; the others are done."""

    count: int
    fault: RuleFault | None = None


def write(client: Client, place: Place, command: Mapping[str, Any], scope: LifecycleScope, doing: str) -> Written:
    """Delete or update, until a majority has it. RuleFault where the command as a whole failed, or may have."""
    whole: Document = {
        **command,
        "ordered": False,
        "maxTimeMS": int(scope.lock_milliseconds + _WORK_SECONDS * 1000),
        "writeConcern": {"w": "majority", "wtimeout": SAFE_SECONDS * 1000},
    }
    with stepping(doing):
        answer = client[place.database].command(whole)
    unsafe = answer.get("writeConcernError")
    if unsafe:
        # It is written here, and may be taken back by an election.
        message = f"{doing}: no majority of the replica set had it within {SAFE_SECONDS} s (error {unsafe.get('code')})"
        raise RuleFault(Reason.CONNECTION_LOST, message, Trouble.LOST)
    failed = answer.get("writeErrors") or []
    fault = refused(int(failed[0].get("code") or 0), str(failed[0].get("codeName") or ""), doing) if failed else None
    return Written(int(answer.get("n") or 0), fault)


def no_collection(name: str) -> NoReturn:
    """There is none of that name."""
    raise UserFault(Reason.NO_SUCH_TABLE, f"there is no collection {name}")
