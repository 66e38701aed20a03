"""What an update in the oplog does to a document: a new one, operators, or the differences of MongoDB 5 and later.

Differences: https://github.com/mongodb/mongo/blob/master/src/mongo/db/update/document_diff_serialization.h describes
`i` and `u` (fields set), `d` (fields removed), `s…` (differences inside a field), and for arrays `a`, `l` (new length),
`u…` and `s…` by index. Whatever else is there is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


class UnknownUpdate(ValueError):
    """An update whose meaning is not known."""


def updated(document: Document, update: Mapping[str, Any]) -> Document:
    """The document after the update `o` of an entry. UnknownUpdate."""
    if "diff" in update and update.get("$v") == 2:
        return _object(document, update["diff"])
    operators = [name for name in update if name.startswith("$") and name != "$v"]
    if not operators:
        return {"_id": document["_id"], **update} if "_id" in document else dict(update)
    found: Document = _copied(document)
    for name in operators:
        if name not in ("$set", "$unset"):
            msg = f"the update operator {name}"
            raise UnknownUpdate(msg)
        for path, value in update[name].items():
            _put(found, path.split("."), value, remove=name == "$unset")
    return found


def _object(document: Mapping[str, Any], diff: Mapping[str, Any]) -> Document:
    """Fields removed, then set in place or behind the others, then those with differences inside."""
    found = dict(document)
    for section, value in diff.items():
        if section == "d":
            for name in value:
                found.pop(name, None)
        elif section == "u":
            found.update(value)
        elif section == "i":
            for name, inserted in value.items():
                found.pop(name, None)  # an inserted field stands behind the others, also where it was there
                found[name] = inserted
        elif section.startswith("s") and len(section) > 1:
            found[section[1:]] = _inside(found.get(section[1:]), value)
        else:
            msg = f"the section {section!r} of a difference"
            raise UnknownUpdate(msg)
    return found


def _inside(value: Any, diff: Mapping[str, Any]) -> Any:
    """A field that a later state has as something else keeps it: the entry behind this one says what it becomes."""
    if diff.get("a"):
        return _array(value, diff) if isinstance(value, list) else value
    return _object(value, diff) if isinstance(value, Mapping) else value


def _array(value: list[Any], diff: Mapping[str, Any]) -> list[Any]:
    found = list(value)
    for section, change in diff.items():
        if section == "a":
            continue
        if section == "l":
            found = found[:change] + [None] * (change - len(found))
        elif section[:1] in ("u", "s") and section[1:].isdigit():
            index = int(section[1:])
            found += [None] * (index + 1 - len(found))
            found[index] = change if section[0] == "u" else _inside(found[index], change)
        else:
            msg = f"the section {section!r} of an array's difference"
            raise UnknownUpdate(msg)
    return found


def _put(document: Document, path: list[str], value: Any, *, remove: bool) -> None:
    """Set or remove what a dotted path names; a number is an index where the parent is an array."""
    place: Any = document
    for name in path[:-1]:
        if isinstance(place, list):
            index = int(name)
            place += [{} for _ in range(index + 1 - len(place))]
            place = place[index]
        else:
            if not isinstance(place.get(name), (dict, list)):
                if remove:
                    return
                place[name] = {}
            place = place[name]
    last = path[-1]
    if isinstance(place, list):
        index = int(last)
        place += [None] * (index + 1 - len(place))
        place[index] = None if remove else value
    elif remove:
        place.pop(last, None)
    else:
        place[last] = value


def _copied(value: Any) -> Any:
    """A copy that shares no dict or list."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
