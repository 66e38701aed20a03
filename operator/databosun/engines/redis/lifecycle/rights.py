"""What a login lacks for a rule, found without doing it: the server looks at grants when it queues a command of a
transaction, and this one is thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.lifecycle import ActionType, RuleOrder
from databosun.domain.keypatterns import KeyPattern
from databosun.engines.redis.resp import ReplyError, Wire, encode

_READS = frozenset({"scan", "dbsize", "pttl", "object|idletime", "memory|usage"})


@dataclass(frozen=True, slots=True)
class Lacking:
    """The command that grants it, if something is missing. `reads`: so much that not even counting is possible."""

    grants: tuple[str, ...] = ()
    reads: bool = False


def lacking(wire: Wire, rule: RuleOrder, pattern: KeyPattern, user: str) -> Lacking:
    """Each command and the keys of the pattern."""
    asked = _asked(rule, pattern.specimen)
    try:
        wire.call("MULTI")
    except ReplyError as error:
        if not str(error).startswith("NOPERM"):
            raise
        return Lacking((_grant(user, ["multi", "discard", *asked], pattern.text),), reads=True)
    wire.send(b"".join(encode(*words) for words in asked.values()) + encode("DISCARD"))
    *answers, _ = wire.answers(len(asked) + 1)
    refused = {name: str(said) for name, said in zip(asked, answers, strict=True) if str(said).startswith("NOPERM")}
    keys = any(_is_about_keys(said) for said in refused.values())
    names = [name for name, said in refused.items() if not _is_about_keys(said)]
    if not refused:
        return Lacking()
    grant = _grant(user, names, pattern.text if keys else None)
    return Lacking((grant,), reads=keys or not _READS.isdisjoint(names))


def _is_about_keys(said: str) -> bool:
    """Before version 7, and since."""
    return "access one of the keys" in said or "access a key" in said


def _asked(rule: RuleOrder, name: bytes) -> dict[str, tuple[str | bytes | int, ...]]:
    """By what is granted."""
    found: dict[str, tuple[str | bytes | int, ...]] = {
        "scan": ("SCAN", 0),
        "dbsize": ("DBSIZE",),
        "pttl": ("PTTL", name),
        "memory|usage": ("MEMORY", "USAGE", name),
        "eval": ("EVAL", "return 0", 1, name),
    }
    if rule.idle_seconds is not None:
        found["object|idletime"] = ("OBJECT", "IDLETIME", name)
    if rule.action is ActionType.EXPIRE:
        found["pexpire"] = ("PEXPIRE", name, 1)
    else:
        found["unlink"] = ("UNLINK", name)
    return found


def _grant(user: str, names: list[str], pattern: str | None) -> str:
    keys = [_quoted(f"~{pattern}")] if pattern is not None else []
    return " ".join(["ACL SETUSER", user or "default", *keys, *(f"+{name}" for name in names)])


def _quoted(text: str) -> str:
    """As redis-cli reads words."""
    if not set(text) & set(" '\"\\"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
