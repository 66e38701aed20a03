"""What things are called at the target: after the restore, so that no two restores meet, and each finds its own."""

from __future__ import annotations

import hashlib

from databosun.domain.restorenames import short_id

LONGEST = 63  # bytes of a name; a longer one would be cut by the server, silently
_TELLING = 6


def staged_name(name: str, uid: str) -> str:
    """Of the database, or the schema, that something is restored into first."""
    return _with(name, staged_suffix(uid))


def before_name(name: str, uid: str) -> str:
    """Of what was there before."""
    return _with(name, f"_before_{short_id(uid)}")


def staged_suffix(uid: str) -> str:
    """What the names of all that is staged end with."""
    return f"_restore_{short_id(uid)}"


def _with(name: str, suffix: str) -> str:
    room = LONGEST - len(suffix)
    data = name.encode()
    if len(data) <= room:
        return name + suffix
    # Two long names may begin alike.
    telling = hashlib.sha256(data).hexdigest()[:_TELLING]
    return data[: room - _TELLING].decode("utf-8", "ignore") + telling + suffix
