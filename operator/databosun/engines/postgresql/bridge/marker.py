"""What is written down at the target while a restore is on its way there: in the comment of what was staged.

A comment moves with its database when that is renamed, in the same transaction; so a later attempt sees exactly what
an earlier one had done, wherever that was ended. The comment of the original takes its place in the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KEY = "databosun"


@dataclass(frozen=True, slots=True)
class Marker:
    """`comment`: what the original says in this place. `moved`: it is in place (schemas; a database's name says it)."""

    uid: str
    run: str
    name: str
    comment: str | None = None
    moved: bool = False
    story: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As it is written."""
        fields = {
            "restore": self.run,
            "uid": self.uid,
            "name": self.name,
            "comment": self.comment,
            "moved": self.moved,
            "story": dict(self.story),
        }
        return json.dumps({_KEY: fields}, separators=(",", ":"), sort_keys=True)


def read_marker(comment: str | None) -> Marker | None:
    """None where a comment is somebody else's."""
    if not comment or not comment.startswith(f'{{"{_KEY}"'):
        return None
    try:
        fields = json.loads(comment)[_KEY]
        return Marker(
            uid=str(fields["uid"]),
            run=str(fields["restore"]),
            name=str(fields["name"]),
            comment=fields.get("comment"),
            moved=bool(fields.get("moved")),
            story=fields.get("story") or {},
        )
    except (ValueError, KeyError, TypeError):
        return None
