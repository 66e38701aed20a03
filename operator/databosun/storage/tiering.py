"""What is asked of a bucket whose objects move between classes of storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class BucketRules:
    """The lifecycle rules of a bucket. `minimum_size`: what goes for all transitions, handed back as it was read.
    `unknown`: elements of the server's answer that this release would lose if it wrote the rules back."""

    rules: tuple[Mapping[str, Any], ...] = ()
    minimum_size: str | None = None
    unknown: tuple[str, ...] = ()


class Tiered(Protocol):
    """A store with classes of storage. Raises what `port.py` says."""

    def bucket_rules(self) -> BucketRules:
        """All lifecycle rules of the bucket, those of others included."""
        ...

    def put_bucket_rules(self, rules: Sequence[Mapping[str, Any]], minimum_size: str | None) -> None:
        """Replace all lifecycle rules of the bucket."""
        ...

    def classes(self, prefix: str) -> Mapping[str, str]:
        """The storage class of every object below a folder."""
        ...

    def tags(self, key: str) -> Mapping[str, str]:
        """The tags of one object. ObjectMissing."""
        ...

    def thaw(self, key: str, speed: str, days: int) -> None:
        """Ask for a readable copy of an archived object; harmless where that is under way or there. ObjectMissing."""
        ...

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of one object. ObjectMissing."""
        ...
