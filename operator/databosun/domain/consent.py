"""What a person agreed to: one plan, by its hash, until an instant. Every plan that waits for consent asks here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """An Approval, as far as it decides; `by` is whose word it is."""

    name: str
    plan_hash: str
    not_after: datetime
    by: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return now < self.not_after


def in_force(given: Iterable[Consent], plan_hash: str, now: datetime) -> Consent | None:
    """The consent to this very plan, of several the one that holds longest; None where there is none now."""
    fit = [one for one in given if one.plan_hash == plan_hash and one.holds(now)]
    return max(fit, key=lambda one: (one.not_after, one.name), default=None)
