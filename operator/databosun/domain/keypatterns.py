"""Patterns of key names, read as Redis reads them, and only those that every release reads alike.

Which keys a hold keeps must be decided where the deletion is, so the patterns are understood here too; a pattern that
the server might understand otherwise, such as a bracket that nobody closes, is refused instead of guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ANY = frozenset("*?")


class PatternFault(ValueError):
    """What is wrong with a pattern."""


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A pattern that was read. `specimen`: a name that it matches."""

    text: str
    specimen: bytes
    _expression: re.Pattern[bytes]

    def matches(self, name: bytes) -> bool:
        """Whether a key has such a name."""
        return self._expression.fullmatch(name) is not None


def matches_everything(text: str) -> bool:
    """Whether a pattern says nothing of a name but, perhaps, how long it is."""
    return set(text) <= _ANY


def read_pattern(text: str) -> KeyPattern:
    """PatternFault where it is empty, or not read alike by every release."""
    if not text:
        message = "it is empty"
        raise PatternFault(message)
    segments, specimen = _segments(text)
    first, *rest = segments
    if not rest:
        return KeyPattern(text, specimen, re.compile(first, re.DOTALL))
    *middle, last = rest
    # What stands between two stars is of one length, so that its first place is as good as any: no way is tried twice.
    between = b"".join(b"(?>.*?%b)" % one for one in middle if one)
    return KeyPattern(text, specimen, re.compile(first + between + b".*" + last, re.DOTALL))


def pieces(text: str, whole: str) -> list[str]:
    """A pattern in its parts: each star, character (with its backslash) and bracket, and `whole` where it stands for
    itself. PatternFault."""
    found, at = [], 0
    while at < len(text):
        end = at + 1
        if text.startswith(whole, at):
            end = at + len(whole)
        elif text[at] == "[":
            end = _class(text, end)[1]
        elif text[at] == "\\":
            end += 1
        found.append(text[at:end])
        at = end
    return found


def _segments(text: str) -> tuple[list[bytes], bytes]:
    """Regular expressions for what stands between the stars; and what matches all of it."""
    found, at, specimen = [b""], 0, b""
    while at < len(text):
        one = text[at]
        at += 1
        if one == "*":
            found.append(b"")
        elif one == "?":
            found[-1] += b"."
            specimen += b"x"
        elif one == "[":
            listed, at = _class(text, at)
            found[-1] += b"[%b]" % b"".join(b"\\x%02x" % one for one in listed)
            specimen += bytes(listed[:1])
        else:
            if one == "\\":
                if at == len(text):
                    message = "it ends with a backslash"
                    raise PatternFault(message)
                one, at = text[at], at + 1
            found[-1] += re.escape(one.encode())
            specimen += one.encode()
    return found, specimen


def _class(text: str, at: int) -> tuple[list[int], int]:
    """What `[` begins: one of these bytes. Returns them, and the place behind it."""
    inverted = text[at : at + 1] == "^"
    at += inverted
    allowed: set[int] = set()
    while text[at : at + 1] != "]":
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-":
            high, at = _bound(text, at + 1)
        if high < low:
            message = f"{chr(low)}-{chr(high)} in brackets runs backwards"
            raise PatternFault(message)
        allowed |= set(range(low, high + 1))
    if not allowed:
        message = "there is nothing in its brackets"
        raise PatternFault(message)
    return sorted(set(range(256)) - allowed if inverted else allowed), at + 1


def _member(text: str, at: int) -> tuple[int, int]:
    if text[at : at + 1] == "\\":
        at += 1
        if text[at + 1 : at + 2] == "-":
            message = "a range in brackets begins with a backslash"
            raise PatternFault(message)
    return _byte(text, at)


def _bound(text: str, at: int) -> tuple[int, int]:
    if text[at : at + 1] in ("]", "\\"):
        message = "a range in brackets has no plain end; write the - with a backslash where it stands for itself"
        raise PatternFault(message)
    return _byte(text, at)


def _byte(text: str, at: int) -> tuple[int, int]:
    if at >= len(text):
        message = "a bracket is not closed; write it with a backslash where it stands for itself"
        raise PatternFault(message)
    if ord(text[at]) > 127:
        message = "a character in brackets takes several bytes, and brackets are about one; write it without them"
        raise PatternFault(message)
    return ord(text[at]), at + 1
