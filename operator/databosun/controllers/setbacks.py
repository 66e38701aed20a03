"""What a Job did not manage for a policy's backups: why, and when it is tried again, each time after a longer pause."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Setback:
    """The newest of one or more failures in a row."""

    why: str
    tries: int
    until: datetime


class Setbacks:
    """By policy and by what was tried. Kept in memory alone: an operator that starts anew tries each once more at once,
    and pauses again from there."""

    def __init__(self, most: timedelta) -> None:
        self._most = most
        self._known: dict[str, dict[str, Setback]] = {}

    def of(self, policy: str, tried: Collection[str]) -> Mapping[str, Setback]:
        """Those of what is still to be tried. All others of that policy are forgotten."""
        left = {at: one for at, one in self._known.get(policy, {}).items() if at in tried}
        if left:
            self._known[policy] = left
        else:
            self._known.pop(policy, None)
        return dict(left)

    def note(self, policy: str, tried: Collection[str], why: str, now: datetime) -> None:
        """Each of these failed, once more or for the first time."""
        known = self._known.setdefault(policy, {})
        for at in tried:
            tries = known[at].tries + 1 if at in known else 1
            known[at] = Setback(why, tries, now + pause(tries, self._most))


def pause(tries: int, most: timedelta) -> timedelta:
    """How long nothing is tried after so many failures in a row."""
    return min(most, FIRST * (1 << min(tries - 1, 16)))
