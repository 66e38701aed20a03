"""People in a server of Redis or Valkey, and the pod beside it that erases one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from databosun.api.lifecycle import ActionType, LimitsOrder, RuleOrder
from databosun.api.targets import DatabaseTarget
from databosun.engines.redis import ENGINE
from databosun.engines.redis.lifecycle.faults import GRANTS
from databosun.engines.redis.resp import Wire
from support.erasing import ERASER, SUBJECT, Forgetter
from support.pgserver import PASSWORD
from support.redisserver import Server

READS = "+type +get +lrange +sscan +hscan +zscan +xrange +dump"
PATTERNS = {"things": "user:$(subject):*", "sessions": "session:{$(subject)}", "mail": "$(subject)"}
OTHERS = 200


def keys_rule(name: str, pattern: str, **more: Any) -> RuleOrder:
    """The keys of one person."""
    limits = LimitsOrder(max_rows_per_run=10_000, max_percent=100)
    return RuleOrder(**{"name": name, "keys": pattern, "action": ActionType.DELETE, "limits": limits, **more})


def hers(subject: str = SUBJECT) -> list[tuple[str | bytes | int, ...]]:
    """Commands that write one of each type for a person."""
    user = f"user:{subject}"
    return [
        ("HSET", f"{user}:profile", "name", "Ada", "photo", b"\x00\xff"), ("RPUSH", f"{user}:cart", "book", "lamp"),
        ("SADD", f"{user}:tags", "math"), ("ZADD", f"{user}:scores", "1.5", "chess"),
        ("XADD", f"{user}:events", "1-1", "did", "log in"), ("SET", f"session:{{{subject}}}", "token", "EX", 90_000),
        ("SET", subject, "dear Ada"),
    ]  # fmt: skip


def populate(server: Server, subject: str = SUBJECT) -> None:
    """Keys of one person among those of others, also named nearly alike; in another database too; and logins."""
    server.call("FLUSHALL")
    near = [f"x{subject}", f"{subject}x", subject.upper() if subject.upper() != subject else "y", f"{subject}\n"]
    server.calls([
        *hers(subject),
        *(("SET", f"user:person{n}:profile", n) for n in range(OTHERS)),
        *(("SET", f"user:{one}:profile", 1) for one in near), *(("SET", one, 1) for one in near),
        ("SET", f"user:{subject}", 1), ("SET", f"users:{subject}:profile", 1), ("SET", b"user:\xff\xfe:profile", 1),
    ])  # fmt: skip
    server.calls([("SET", f"user:{subject}:profile", 1)], db=3)
    words = ["reset", "on", f">{PASSWORD}", "resetchannels", "-@all", "~*", *GRANTS.split(), *READS.split()]
    server.call("ACL", "SETUSER", ERASER, *words)


def names(wire: Wire) -> set[bytes]:
    """The keys that are there."""
    said = wire.call("KEYS", "*")
    assert isinstance(said, list)
    return {one for one in said if isinstance(one, bytes)}


@dataclass
class RedisForgetter(Forgetter):
    """Of Redis or Valkey."""

    engine = ENGINE  # type: ignore[assignment]
    login = (ERASER, PASSWORD)

    @property
    def server(self) -> Server:
        """The one that people are in."""
        found: Server = self.yard.its
        return found

    @property
    def database(self) -> DatabaseTarget:
        """How the agent reaches it."""
        found: DatabaseTarget = self.yard.database()
        return found

    def everywhere(self) -> list[RuleOrder]:
        """All of the patterns."""
        return [keys_rule(name, pattern) for name, pattern in PATTERNS.items()]

    def names(self) -> set[bytes]:
        """The keys that are there."""
        with self.server.connect() as wire:
            return names(wire)

    def theirs(self) -> set[bytes]:
        """The person's keys, by their names as they were written."""
        return {str(words[1]).encode() for words in hers(self.subject)}
