"""Stopping wakes everything, once."""

from __future__ import annotations

import pytest

from databosun.agent.stop import Stop, Stopped


def test_subscribers_are_told_once_and_late_ones_at_once() -> None:
    stop, told = Stop(), []
    stop.subscribe(lambda error: told.append(("early", error.reason)))
    stop.subscribe(lambda error: told.append(("gone", error.reason)))()
    stop.set("Interrupted", "by a signal")
    stop.set("DeadlineExceeded", "too late to matter")
    stop.subscribe(lambda error: told.append(("late", error.reason)))
    assert told == [("early", "Interrupted"), ("late", "Interrupted")]
    with pytest.raises(Stopped, match="Interrupted: by a signal"):
        stop.check()


def test_before_that_work_goes_on() -> None:
    Stop().check()
