"""Patterns of key names in which a person's key stands: `user:$(subject):*`.

The person's key has one place in a name and one end there, so that every name is read in one way only, and no character
of the key means anything to a pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

from databosun.domain.keypatterns import KeyPattern, PatternFault, pieces, read_pattern

PLACE = "$(subject)"
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SubjectPattern:
    """`scan`: what the server is told, with any key in the place of the person's. `until`: the character that ends the
    key; empty where the name ends with it."""

    text: str
    scan: KeyPattern
    until: bytes
    _before: KeyPattern | None
    _after: KeyPattern | None

    def subject_in(self, name: bytes) -> bytes | None:
        """The key that stands in a name of this pattern."""
        length = len(self._before.specimen) if self._before is not None else 0
        if self._before is not None and not self._before.matches(name[:length]):
            return None
        found, rest = name[length:], b""
        if self.until:
            end = found.find(self.until)
            found, rest = (found[:end], found[end:]) if end >= 0 else (b"", b"")
        if not found or (self._after is not None and not self._after.matches(rest)):
            return None
        return found

    def read_subject(self, subject: str) -> bytes:
        """As names hold it. PatternFault where its end in a name could not be told."""
        told = subject.encode()
        if self.until and self.until in told:
            message = f"the subject's key has {self.until.decode()!r} in it, which ends it in the names of {self.text}"
            raise PatternFault(message)
        return told


def read_subject_pattern(text: str) -> SubjectPattern:
    """PatternFault where the person's key has no place in it, several, or one that a name could show otherwise."""
    parts = pieces(text, PLACE)
    if parts.count(PLACE) != 1:
        message = f"expected {PLACE} in it once, outside of brackets; it is there {parts.count(PLACE)} times"
        raise PatternFault(message)
    at = parts.index(PLACE)
    before, after = parts[:at], parts[at + 1 :]
    if "*" in before:
        message = f"a * stands before {PLACE}, so that nobody knows where the key begins; name each beginning"
        raise PatternFault(message)
    if (before and before[-1][0] in _WILD) or (after and after[0][0] in _WILD):
        message = (
            f"beside {PLACE} stands what matches several characters; expected a plain one, such as :, or names of other"
            " people would match: user:4* is user:42 too"
        )
        raise PatternFault(message)
    return SubjectPattern(
        text=text,
        scan=read_pattern("".join((*before, "*", *after))),
        until=after[0][-1].encode() if after else b"",
        _before=read_pattern("".join(before)) if before else None,
        _after=read_pattern("".join(after)) if after else None,
    )
