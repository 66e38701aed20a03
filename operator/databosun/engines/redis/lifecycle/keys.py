"""Work on the keys of one rule: the next ones that SCAN gives, each step one script.

A script is one moment to everybody else: what is asked of a key and what is done to it cannot come apart. So it asks
again what the rule asks; names are all that was decided before, and a name is what a key keeps. What a script did is
sent to replicas as single commands, by the names and ends that the master found.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.lifecycle import Step
from databosun.engines.lifecycle import Batch, Capture, Feed, Key, Left, LifecycleScope, RuleFault, Trouble
from databosun.engines.redis.lifecycle.counts import count_left
from databosun.engines.redis.lifecycle.faults import stepping
from databosun.engines.redis.lifecycle.master import Master, demand_idle_times, demand_same
from databosun.engines.redis.lifecycle.scan import Names, Scan, shown
from databosun.engines.redis.resp import encode

MOST_KEYS = 250  # of one script, in whose time the server does nothing else
SCAN_SECONDS = 0.2  # that a step looks for names

# Before version 7 a script could be set to be sent whole, for each replica to find out for itself.
_SCRIPT = """
if redis.replicate_commands then redis.replicate_commands() end
local idle, after, shorten = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1'
local done = {}
for place, name in ipairs(KEYS) do
  local left = redis.call('PTTL', name)
  local taken = left ~= -2
  if taken and idle >= 0 then
    local found = redis.call('OBJECT', 'IDLETIME', name)
    taken = found and found >= idle
  end
  if taken and after ~= '' then
    taken = left == -1 or (shorten and left > tonumber(after))
    if taken then redis.call('PEXPIRE', name, after) end
  elseif taken then
    redis.call('UNLINK', name)
  end
  if taken then done[#done + 1] = place end
end
return done
"""


class RedisKeys:
    """`RowWork` of `engines/lifecycle.py`: of keys."""

    definition_name = ""

    def __init__(
        self, connected: Callable[[], Master], step: Step, scope: LifecycleScope, names: Names, user: str
    ) -> None:
        self._connected = connected
        self._rule = step.rule
        self._scope = scope
        self._names = names
        self._user = user
        self._scan = Scan(names)
        self._found: deque[bytes] = deque()
        self._master: Master | None = None
        self._checked()

    @property
    def definition(self) -> str:
        """There is none."""
        raise self._unsupported()

    def restart(self) -> None:
        """From the start of the database."""
        self._scan.restart()
        self._found.clear()

    def take(self, rows: int) -> Batch:
        """Give an end to, or delete, the next keys."""
        with stepping(f"working on rule {self._rule.name}", self._user):
            master = self._checked()
            demand_same(master)
            self._look(master, min(rows, MOST_KEYS))
            picked = list(islice(self._found, min(rows, MOST_KEYS)))
            taken = self._act(master, picked) if picked else []
        for _ in picked:
            self._found.popleft()
        # A stretch without such names is no end.
        looked = len(picked) or (0 if self._scan.ended else 1)
        return Batch(looked, tuple((shown(name),) for name in taken))

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """There is no such work."""
        raise self._unsupported()

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """There is no such work."""
        raise self._unsupported()

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """There is no such work."""
        raise self._unsupported()

    def left(self) -> Left:
        """What it could still take."""
        with stepping(f"counting for rule {self._rule.name}", self._user):
            wire = self._checked().wire
            return count_left(wire, self._rule, self._names, self._scope.at, self._scope.pulse)

    def _checked(self) -> Master:
        """The login as it is now. Another process has other cursors, and another master knows of other reads."""
        master = self._connected()
        if master is not self._master:
            if self._master is not None and self._master.run_id != master.run_id:
                self.restart()
            if self._rule.idle_seconds is not None:
                demand_idle_times(master, self._rule.name, self._rule.idle_seconds)
            self._master = master
        return master

    def _look(self, master: Master, keys: int) -> None:
        until = time.monotonic() + SCAN_SECONDS
        while len(self._found) < keys and not self._scan.ended:
            self._scope.pulse()
            self._found += [one for one in self._scan.next(master.wire) if not self._names.held(one)]
            if time.monotonic() >= until:
                break

    def _act(self, master: Master, picked: Sequence[bytes]) -> list[bytes]:
        rule = self._rule
        idle = rule.idle_seconds if rule.idle_seconds is not None else -1
        after = rule.expire_seconds * 1000 if rule.expire_seconds is not None else ""
        master.wire.send(encode("EVAL", _SCRIPT, len(picked), *picked, idle, after, int(rule.shorten)))
        done = master.wire.answer()
        places = done if isinstance(done, list) else []
        return [picked[one - 1] for one in places if isinstance(one, int)]

    def _unsupported(self) -> RuleFault:
        message = f"rule {self._rule.name}: keys are not archived"
        return RuleFault(Reason.ACTION_UNSUPPORTED, message, Trouble.PERMANENT)
