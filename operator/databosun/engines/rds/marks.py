"""Names and tags of what is made in the account, and the only test of whether something there is ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.engines.managed import Origin, Visit

SNAPSHOT, DRILL = "databosun-", "databosun-drill-"
CLUSTER, NAMESPACE, DATABASE, UID, RUN, BEGAN, EXPIRES = (
    f"databosun.io/{word}" for word in ("cluster", "namespace", "database", "database-uid", "run", "began", "expires")
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is: of which installation, and of which Database there."""

    cluster: str
    namespace: str
    uid: str

    @classmethod
    def of(cls, visit: Visit, origin: Origin | None = None) -> Owner:
        """That of a visit, or of a backup that was taken by another cluster, or for another Database."""
        if origin is not None:
            return cls(origin.cluster, origin.namespace, origin.database_uid)
        return cls(visit.cluster, visit.namespace, visit.database_uid)

    def digest(self, run: str) -> str:
        """Twelve digits that no other installation, namespace, database or run has."""
        text = "/".join((self.cluster, self.namespace, self.uid, run))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def snapshot(self, run: str) -> str:
        """The snapshot of a run: the same run, the same name. At most 255 characters are allowed."""
        return f"{SNAPSHOT}{self.digest(run)}-{_slug(run)[:64]}".rstrip("-")

    def instance(self, run: str, attempt: int) -> str:
        """The temporary instance of one attempt of a drill. At most 63 characters are allowed."""
        return f"{DRILL}{self.digest(run)}-a{attempt}"

    def tags(self, visit: Visit, **more: datetime) -> list[dict[str, str]]:
        """What everything of a run carries from its first moment on."""
        pairs = {
            CLUSTER: self.cluster,
            NAMESPACE: self.namespace,
            DATABASE: visit.database,
            UID: self.uid,
            RUN: visit.run,
        }
        pairs |= {f"databosun.io/{name}": at.isoformat() for name, at in more.items()}
        return [{"Key": key, "Value": value} for key, value in pairs.items()]

    def owns(self, said: Mapping[str, Any], run: str | None = None) -> bool:
        """Whether something carries our tags, and those of that run."""
        found = tags_of(said)
        mine = (found.get(CLUSTER), found.get(NAMESPACE), found.get(UID)) == (self.cluster, self.namespace, self.uid)
        return mine and bool(self.cluster and self.uid) and (run is None or found.get(RUN) == run)


def tags_of(said: Mapping[str, Any]) -> dict[str, str]:
    """The tags in a description."""
    pairs: Iterable[Mapping[str, str]] = said.get("TagList", ())
    return {one["Key"]: one.get("Value", "") for one in pairs}


def instant_of(said: Mapping[str, Any], tag: str) -> datetime | None:
    """An instant that a tag says; None where it says none."""
    try:
        return datetime.fromisoformat(tags_of(said).get(tag, ""))
    except ValueError:
        return None


def _slug(text: str) -> str:
    """Letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
