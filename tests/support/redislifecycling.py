"""Lifecycle rules on keys of a real server of Redis or Valkey."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, LimitsOrder, RuleOrder
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.lifecycle import Batch
from databosun.engines.redis.lifecycle.faults import GRANTS
from databosun.engines.redis.lifecycle.keys import RedisKeys
from databosun.engines.redis.resp import ReplyError
from support import rulekeeping
from support.pgserver import PASSWORD
from support.redisserver import Server
from support.rulekeeping import DAY, ROLE

SMALL = {"rows": 20, "target_milliseconds": 1000, "pause_milliseconds": 0}
SESSIONS, LASTING, OTHERS = 300, 200, 100
NAME = "session:anna@example.com:{number}"


def rule(name: str = "sessions", **more: Any) -> RuleOrder:
    """Delete all sessions."""
    limits = LimitsOrder(**{"max_rows_per_run": 10_000_000, "max_percent": 100, **more.pop("limits", {})})
    return RuleOrder(**{"name": name, "action": ActionType.DELETE, "keys": "session:*", "limits": limits, **more})


def expire(seconds: int = DAY, **more: Any) -> RuleOrder:
    """Give an end to all sessions."""
    return rule(**{"action": ActionType.EXPIRE, "expire_seconds": seconds, **more})


def prepare(server: Server) -> None:
    """Sessions, of which some have an end, and other keys; another database; a login with what is documented."""
    server.call("FLUSHALL")
    names = [NAME.format(number=number) for number in range(SESSIONS)]
    server.calls([
        *(("SET", name, f"secret of {name}" * 5) for name in names),
        *(("PEXPIRE", name, 30 * DAY * 1000) for name in names[LASTING:]),
        *(("SET", f"order:{number}", number) for number in range(OTHERS - 2)),
        ("SET", "sessions", 1), ("HSET", b"\x00\xff session:", "a", 1),
    ])  # fmt: skip
    server.calls([("SET", name, 1) for name in names[:10]], db=3)
    admit(server)


def admit(server: Server, grants: str = f"~* {GRANTS}") -> None:
    """The login of the keeper, with these rights and no others."""
    words = ["reset", "on", f">{PASSWORD}", "resetchannels", "-@all", *grants.split()]
    server.call("ACL", "SETUSER", ROLE, *words)


class RedisKeeper(rulekeeping.Keeper[Server]):
    """A pod beside a server."""

    engine = EngineName.REDIS
    number: str | None = None

    @property
    def database(self) -> DatabaseTarget:
        """As the number of a database is told."""
        return super().database.model_copy(update={"database": self.number})

    def names(self, pattern: str = "*") -> set[bytes]:
        """The keys that are there."""
        said = self.server.call("KEYS", pattern)
        assert isinstance(said, list)
        return {one for one in said if isinstance(one, bytes)}

    def cut(self) -> None:
        """End the agent's sessions at the server."""
        with suppress(ReplyError):  # there is none just now
            self.server.call("CLIENT", "KILL", "USER", ROLE)

    def ends(self) -> dict[str, int]:
        """Milliseconds that each key has to live; -1: for ever."""
        names = sorted(self.names())
        said = self.server.calls([("PTTL", name) for name in names])
        return {name.decode("latin-1"): left for name, left in zip(names, said, strict=True) if isinstance(left, int)}


def after_steps(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], Any]) -> None:
    """Do something after each step."""
    original, count = RedisKeys.take, [0]

    def stepped(self: RedisKeys, rows: int) -> Batch:
        batch = original(self, rows)
        count[0] += 1
        do(count[0])
        return batch

    monkeypatch.setattr(RedisKeys, "take", stepped)


def after_looks(monkeypatch: pytest.MonkeyPatch, do: Callable[[list[bytes]], Any]) -> None:
    """Do something between a look at names and what is done to their keys."""
    original = RedisKeys._look

    def looked(self: RedisKeys, master: Any, keys: int) -> None:
        original(self, master, keys)
        do(list(self._found))

    monkeypatch.setattr(RedisKeys, "_look", looked)
