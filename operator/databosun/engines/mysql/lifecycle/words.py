"""What a condition that a person wrote says, word by word: it must stay in its place, and answer the same each time.

The server has no way to say what an expression calls, and some of its functions wait, lock or remember. So only the
functions that are known to do none of that may be called, and stored functions, which the plan is bound to. Everything
is read as a server with an empty `sql_mode` reads it, as the sessions of a lifecycle have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mysql.lifecycle.functions import KEYWORDS, STEADY

# Beyond ASCII every character is one of a name to the server, a space that does not break too.
_NAME = "[A-Za-z_$\x80-\U0010ffff][0-9A-Za-z_$\x80-\U0010ffff]*"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\n\r\f\v]+|--(?=[\x00-\x20\x7f])[^\n]*|--\Z|\#[^\n]*|/\*(?![!+]|M!).*?\*/)
    |(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    |(?P<name>`(?:[^`]|``)*`)
    |(?P<word>[0-9]*{_NAME})
    |(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
# What has an effect, or ends, begins or aims a statement; none of them is a name without quotes.
_FORBIDDEN = frozenset({"into", "procedure", "update", "lock", "outfile", "dumpfile", "delimiter", "next", "previous"})
_FORBIDDEN_MARKS = {
    ";": "a semicolon",
    "@": "a variable",
    "?": "a placeholder",
    ":": "an assignment",
    "\\": "a backslash outside of a text",
    "\0": "a zero byte",
}


@dataclass(frozen=True, slots=True)
class Word:
    """One token. `kind`: text, name (in backticks), word, number or mark."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """As the server compares names of functions and columns."""
        bare = self.text[1:-1].replace("``", "`") if self.kind == "name" else self.text
        return bare.lower()


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one text. `names`: all that may name something; `called`: stored functions, `schema.name` where it says so;
    `own`: words of the server before a bracket, which mean a stored function where one is called so: `trim (x)` does,
    and `trim(x)` does not. `selects`: it reads tables or views."""

    names: frozenset[str]
    called: frozenset[str]
    own: frozenset[str]
    selects: bool


def read_condition(text: str) -> Reading:
    """UserFault(ConditionRefused) where it is no single expression; VolatileCondition where it calls what waits, locks,
    remembers, or answers otherwise each time."""
    found = tuple(_tokens(text))
    depth = 0
    for word in found:
        if word.kind == "mark" and word.text in "()":
            depth += 1 if word.text == "(" else -1
            if depth < 0:
                raise _refused(text, "it closes a bracket that it did not open")
        elif word.kind == "mark" and word.text in _FORBIDDEN_MARKS:
            raise _refused(text, f"it has {_FORBIDDEN_MARKS[word.text]}")
        elif word.kind == "word" and word.name in _FORBIDDEN:
            raise _refused(text, f"it has the word {word.text}")
    if depth:
        raise _refused(text, "it leaves a bracket open")
    if not found:
        raise _refused(text, "it is empty")
    return _reading(text, found)


def mentioned(text: str) -> frozenset[str]:
    """All words and names in a body that the server has: too many rather than too few, those in comments and texts
    too."""
    return frozenset(re.findall(_NAME, text.lower()))


def _tokens(text: str) -> Iterator[Word]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # a mark matches anything
            raise _refused(text, "it cannot be read")
        at, kind = found.end(), str(found.lastgroup)
        if kind == "mark" and found[0] in "'\"`":
            raise _refused(text, f"it leaves a {found[0]} open")
        if kind == "mark" and text.startswith("/*", found.start()):
            raise _refused(text, "it has a comment that is not closed, or that the server carries out")
        if kind != "space":
            yield Word(kind, found[0])


def _reading(text: str, words: tuple[Word, ...]) -> Reading:
    called: set[str] = set()
    own: set[str] = set()
    for at, word in enumerate(words):
        following = words[at + 1].text if at + 1 < len(words) else ""
        if word.kind not in ("word", "name") or following != "(":
            continue
        if at >= 2 and words[at - 1].text == "." and words[at - 2].kind in ("word", "name"):
            called.add(f"{words[at - 2].name}.{word.name}")
        else:
            known = (word.kind == "word" and word.name in KEYWORDS) or word.name in STEADY
            (own if known else called).add(word.name)
    names = frozenset(word.name for word in words if word.kind in ("word", "name"))
    return Reading(names, frozenset(called), frozenset(own), bool(names & {"select", "table", "with"}))


def _refused(text: str, why: str) -> UserFault:
    message = f"the condition {text!r} is no single one: {why}; write one expression on the table's own columns"
    return UserFault(Reason.CONDITION_REFUSED, message)
