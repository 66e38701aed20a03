"""An engine without a database that restores a file: its copies answer every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from databosun.api.drill import Check, CheckOutcome, CheckResult, Level
from databosun.api.v1alpha1.backup import Position
from databosun.engines.recovery import Reached, RecoveryPlan
from support.fakeengine import FakeEngine


@dataclass
class Copied:
    """A recovered copy of nothing."""

    reached: Reached = field(default_factory=lambda: Reached(Position(lsn="0/3000100")))
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def builtin(self, _level: Level) -> tuple[Check, ...]:
        return ()

    def check(self, check: Check) -> CheckResult:
        return CheckResult(name=check.name, type=check.type, severity=check.severity, outcome=CheckOutcome.PASSED)

    def finish(self) -> None:
        pass

    def kill(self) -> None:
        pass


@dataclass
class Restoring(FakeEngine):
    """An engine that restores a file; `meanwhile` happens before it is placed."""

    meanwhile: Callable[[], None] = lambda: None

    def inspect(self, *_: Any) -> str:
        return "all of it"

    def room_for(self, _chain: Any) -> int:
        return 0

    def hand_over(self, *_: Any) -> list[str]:
        return []

    @contextmanager
    def recover(self, plan: RecoveryPlan, _source: Any) -> Iterator[Copied]:
        (plan.place / "data").mkdir()
        (plan.place / "data" / "from").write_text(str(plan.chain[-1]["id"]))
        yield Copied()
        self.meanwhile()
