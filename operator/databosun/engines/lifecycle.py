"""The seam between the agent and an engine for lifecycle rules: look at tables, and change rows in small steps.

Every step is one committed transaction that says in its own conditions what it may touch: the rule's age and condition,
the holds, and for rows that were archived the very content that was. So a step that is repeated, or that is interrupted
at any moment, does no harm. An engine that has no such way is refused with a reason (`registry.load_lifecycle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from databosun.api.lifecycle import CallFact, HoldOrder, LifecycleOrder, RuleFacts, RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.domain.hashing import HASH_CHARACTERS, Keyed
from databosun.domain.lifecycle import Step, changed_calls
from databosun.engines.base import Target

Key = tuple[str, ...]
Feed = Callable[[Callable[[bytes], None]], int]
"""Hands over bytes to what it is given, and returns how many rows are in them."""


class Trouble(StrEnum):
    """What to do about a statement that failed. BUSY: wait, and try it smaller. LOST: connect anew. PERMANENT: it would
    fail again."""

    BUSY = "Busy"
    LOST = "Lost"
    PERMANENT = "Permanent"


class RuleFault(DatabosunError):
    """A step of a rule failed; nothing of it was committed, except where the connection was lost in its last moment."""

    def __init__(self, reason: str, message: str, trouble: Trouble, sqlstate: str | None = None) -> None:
        super().__init__(reason, message)
        self.trouble = trouble
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class LifecycleScope:
    """What a session is for. `key`: what columns and keys are hashed with, where there is one. `subject`: the key of
    whoever is to be erased; no statement repeats it."""

    order: LifecycleOrder
    at: datetime
    lock_milliseconds: int
    statement_seconds: float
    key: bytes | None = field(default=None, repr=False)
    subject: str | None = field(default=None, repr=False)
    pulse: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Strain:
    """How the server bears it. `unseen`: replicas whose lag the login may not see; `advice`: what would show it.
    `busy`: what else it has to do first, in words."""

    replica_lag_seconds: float = 0.0
    replicas: int = 0
    unseen: int = 0
    advice: str = ""
    busy: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """What a rule could still take. `oldest`: by its age column."""

    eligible: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One committed step. `looked`: rows it took up, none means the end; `keys`: of the rows that it changed."""

    looked: int
    keys: tuple[Key, ...] = ()
    children: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capture:
    """Rows of one snapshot, remembered to be written out and then deleted: lists side by side, since there are many.

    `table`: the one they lie in. `marks`: what is another for each row once anything in it is: a hash of all of it, or
    its version. `places`: where each lay, for an engine that finds rows so; `file`: what they lay in; `since`: the
    first transaction whose rows cannot be among them; `reader`: the session outside which none of these means anything.
    """

    table: str
    keys: Sequence[Key] = ()
    marks: Sequence[str] = ()
    places: Sequence[str] = ()
    file: int = 0
    since: int = 0
    reader: object = None

    def listed(self, begin: int, rows: int) -> dict[Key, str]:
        """The marks of so many from one on, by their keys."""
        end = begin + rows
        return dict(zip(self.keys[begin:end], self.marks[begin:end], strict=True))


def hash_key(key: bytes, parts: Iterable[str]) -> str:
    """A row's key, so that who has the secret can find it again, and nobody else."""
    return hash_keys(key, [parts])[0]


def hash_keys(key: bytes, keys: Iterable[Iterable[str]]) -> list[str]:
    """The same of many."""
    hashed = Keyed(key).digits("\x1f".join(parts).encode() for parts in keys)
    return [digits[:HASH_CHARACTERS] for digits in hashed]


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a rule stands on in the server, as its facts have it."""

    tables: Sequence[TableFact]
    calls: Sequence[CallFact] = ()


def demand_server(scope: LifecycleScope, found: str | None) -> None:
    """UserFault where the server is known to be another than the one that the order is for."""
    server = scope.order.server
    if server is None or None in (server.system, found) or server.system == found:
        return
    message = (
        f"the server that answers at {', '.join(server.hosts)} is {found}, and the plan is for {server.system}; nothing"
        " was done: find out where the name leads. If that is right, let a backup or a look at the Database see it, and"
        " approve the plan that the next dry run shows"
    )
    raise UserFault(Reason.PLAN_CHANGED, message)


def plan_changed(table: str, known: Definitions, now: Definitions) -> SafetyStop:
    """What was approved was about other tables, or called other functions, than there are now."""
    found = "; ".join(changed_calls(known.calls, now.calls)) or f"a table, key or trigger of {table} changed"
    message = (
        f"{found}, while the rule was carried out; it stops here, and the plan has to be looked at and approved anew"
    )
    return SafetyStop(Reason.PLAN_CHANGED, message)


class RowWork(Protocol):
    """The work of one rule on rows, in the order of a key, from where it came to. Errors: RuleFault; SafetyStop where
    the table, or what goes along with its rows, is another by now: the step is taken back."""

    @property
    def definition(self) -> str:
        """What makes a table for the archived rows, such as SQL."""
        ...

    @property
    def definition_name(self) -> str:
        """Of the object that it lies in, beside the parts."""
        ...

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next rows, at most so many; nothing looked at: the end of the table."""
        ...

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """Read the next rows, at most so many. `write(form, feed)` is called for each form that they are archived in,
        such as `jsonl`. Without rows: the end of the table, and nothing was written."""
        ...

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """Delete those rows `begin` to `begin + rows` of a capture that are still as they were captured and that the
        rule still takes."""
        ...

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """Which of these keys of a capture are in its table."""
        ...

    def restart(self) -> None:
        """Begin at the start of the table again."""
        ...

    def left(self) -> Left:
        """Count what the rule could still take."""
        ...


class PartitionWork(Protocol):
    """The work of one rule on whole partitions. Errors: RuleFault."""

    def remove(self, partition: str, rows: int) -> Batch | None:
        """Drop or detach one, after a look at its bounds and rows under a lock that keeps writers out. None: it must
        stay by what it is now, or holds more than so many rows."""
        ...

    def left(self) -> Left:
        """Count the old rows that lie in it still."""
        ...


class IndexWork(Protocol):
    """The work of one rule on an index by which the server deletes by itself. Errors: RuleFault; SafetyStop where
    another one is in its way by now."""

    def ensure(self) -> str:
        """Make or change it, or leave it as it is. As the server returns it then, in words."""
        ...

    def stop(self) -> bool:
        """Take it away, if it is one that a rule of this project made and is still as a rule makes it, and see that it
        is gone. False: there is none of ours, and nothing was touched."""
        ...

    def adrift(self) -> Sequence[HoldOrder]:
        """The holds in force of which nobody can say what they are on: any of them may be on documents of the rule."""
        ...

    def left(self) -> Left:
        """Count what is old enough."""
        ...


def no_index(rule: RuleOrder) -> UserFault:
    """The engine has no such index."""
    message = f"{rule.action} of rule {rule.name}: only MongoDB has indexes that delete by age"
    return UserFault(Reason.UNSUPPORTED_ENGINE, message)


class LifecycleSession(Protocol):
    """A login at the server that takes writes."""

    @property
    def dbname(self) -> str:
        """The database of the server that it works in."""
        ...

    @property
    def engine_version(self) -> str:
        """Of the server."""
        ...

    def look(self, rule: RuleOrder) -> RuleFacts:
        """The facts of one rule; changes nothing. What the server refuses to say of it stands in `fault`."""
        ...

    def definitions(self, rule: RuleOrder) -> Definitions:
        """What a rule stands on as it is now."""
        ...

    def rows(self, step: Step) -> RowWork:
        """Begin to work on a rule."""
        ...

    def partitions(self, step: Step) -> PartitionWork:
        """Begin to work on a rule."""
        ...

    def indexes(self, step: Step) -> IndexWork:
        """Begin to work on a rule."""
        ...

    def size(self, step: Step) -> int:
        """Bytes of a rule's table on disk, with its indexes and partitions, or of what holds its keys; 0 where there is
        none."""
        ...

    def strain(self) -> Strain:
        """How the server bears it."""
        ...

    def renew(self) -> None:
        """Connect anew, to whichever host takes writes now."""
        ...


class LifecycleEngine(Protocol):
    """What an engine does for lifecycles: `LIFECYCLE` in its module."""

    def open(self, target: Target, scope: LifecycleScope) -> AbstractContextManager[LifecycleSession]:
        """Log in. Errors: UserFault, WorldFault."""
        ...
