"""Go through the names of keys with SCAN, a few hundred at a time, and say which of them a rule may take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from databosun.api.lifecycle import HoldOrder, RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.keypatterns import KeyPattern, PatternFault, matches_everything, read_pattern
from databosun.domain.subjectpatterns import SubjectPattern, read_subject_pattern
from databosun.engines.redis.resp import ReplyError, Wire, encode

AT_ONCE = 500
FOREVER, GONE = -1, -2  # what PTTL answers in place of milliseconds


@dataclass(frozen=True, slots=True)
class Names:
    """What a rule asks of a name: its pattern, and those of the holds in force. `person`: whose key must stand in it,
    and where; the server is not told it."""

    pattern: KeyPattern
    holds: tuple[KeyPattern, ...]
    person: tuple[SubjectPattern, bytes] | None = field(default=None, repr=False)

    def takes(self, name: bytes) -> bool:
        """Whether a key of that name is what the rule is about, holds apart."""
        if self.person is None:
            return self.pattern.matches(name)
        pattern, subject = self.person
        return pattern.subject_in(name) == subject

    def held(self, name: bytes) -> bool:
        """Whether a hold keeps a key of that name."""
        return any(hold.matches(name) for hold in self.holds)


@dataclass
class Scan:
    """One pass over a database. A cursor means something to the process that gave it, and to no other."""

    names: Names
    cursor: bytes = b"0"
    ended: bool = False

    def restart(self) -> None:
        """From the start."""
        self.cursor, self.ended = b"0", False

    def next(self, wire: Wire) -> list[bytes]:
        """The next names of the pattern, perhaps none; a name may come twice in one pass, as SCAN has it."""
        said = wire.call("SCAN", self.cursor, "MATCH", self.names.pattern.text, "COUNT", AT_ONCE)
        if not isinstance(said, list) or len(said) != 2 or not isinstance(said[0], bytes):
            msg = f"SCAN gave {type(said).__name__}"
            raise TypeError(msg)
        found = said[1] if isinstance(said[1], list) else []
        self.cursor, self.ended = said[0], said[0] == b"0"
        # Asked here too: what this side does not understand as the server does is not touched.
        return [one for one in dict.fromkeys(found) if isinstance(one, bytes) and self.names.takes(one)]


@dataclass(frozen=True, slots=True)
class Seen:
    """A key as it was looked at: milliseconds that it has to live, and seconds that nobody used it."""

    name: bytes
    left: int
    idle: int | None = None

    def taken_by(self, rule: RuleOrder) -> bool:
        """Whether a rule would take it, holds apart; the script that acts asks the same."""
        if rule.idle_seconds is not None and (self.idle is None or self.idle < rule.idle_seconds):
            return False
        if rule.expire_seconds is None:
            return True
        return self.left == FOREVER or (rule.shorten and self.left > rule.expire_seconds * 1000)

    def used(self, at: datetime) -> datetime | None:
        """When it was last."""
        return at - timedelta(seconds=self.idle) if self.idle is not None else None


def names_of(rule: RuleOrder, holds: Iterable[HoldOrder], subject: str | None = None) -> Names:
    """`subject`: the key of the person that the rule is about. UserFault where a pattern cannot be understood."""
    if rule.keys is None:
        message = f"rule {rule.name} is on {rule.table or 'a subject'}, and Redis has keys; expected target.keyPattern"
        raise UserFault(Reason.ACTION_UNSUPPORTED, message)
    held = tuple(_read(f"hold {one.name}", one.keys) for one in holds)
    if subject is not None:
        try:
            pattern = read_subject_pattern(rule.keys)
            return Names(pattern.scan, held, (pattern, pattern.read_subject(subject)))
        except PatternFault as fault:
            raise UserFault(Reason.CONDITION_REFUSED, f"rule {rule.name}: {fault}") from fault
    if matches_everything(rule.keys) and not rule.every_key:
        message = f"rule {rule.name}: every name matches {rule.keys!r}; expected target.everyKey, where that is meant"
        raise UserFault(Reason.CONDITION_REFUSED, message)
    return Names(_read(f"rule {rule.name}", rule.keys), held)


def look_at(wire: Wire, rule: RuleOrder, names: Sequence[bytes]) -> list[Seen]:
    """Those that are still there; nobody's use of them is counted by it."""
    asked = [("PTTL",)] if rule.idle_seconds is None else [("PTTL",), ("OBJECT", "IDLETIME")]
    wire.send(b"".join(encode(*words, name) for name in names for words in asked))
    answers = wire.answers(len(names) * len(asked))
    for one in answers:
        if isinstance(one, ReplyError):
            raise one
    found = []
    for number, name in enumerate(names):
        left, *idle = answers[number * len(asked) : (number + 1) * len(asked)]
        if isinstance(left, int) and left != GONE:
            found.append(Seen(name, left, idle[0] if idle and isinstance(idle[0], int) else None))
    return found


def shown(name: bytes) -> str:
    """A name as text, to be hashed."""
    return name.decode("utf-8", "backslashreplace")


def _read(what: str, text: str | None) -> KeyPattern:
    try:
        return read_pattern(text or "")
    except PatternFault as fault:
        message = f"{what}: the pattern {text!r} is not understood: {fault}"
        raise UserFault(Reason.CONDITION_REFUSED, message) from fault
