"""Kubernetes Events: what a person who looks at an object should read. Few, and never twice in a short time."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from databosun.runtime.clock import Clock

logger = logging.getLogger(__name__)

COMPONENT: Final = "databosun"
LONGEST_MESSAGE: Final = 1024
QUIET_SECONDS: Final = 600.0
MOST_REMEMBERED: Final = 4096
POST_TIMEOUT: Final = 10.0

Involved = Mapping[str, str]
"""The object that an Event is about: apiVersion, kind, namespace, name, uid."""

Create = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Creates an Event of these contents in a namespace."""


@dataclass(slots=True)
class _Heard:
    """One message about one object: when it was posted last, and what was swallowed since."""

    posted: float
    swallowed: int
    first: datetime


class EventRecorder:
    """Posts Events: the same message about the same object every ten minutes at most, with the count since."""

    def __init__(self, create: Create, clock: Clock, instance: str, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._create = create
        self._clock = clock
        self._instance = instance
        self._quiet = quiet_seconds
        self._heard: OrderedDict[tuple[str, str, str], _Heard] = OrderedDict()

    async def post(self, involved: Involved, reason: str, message: str, *, warning: bool) -> None:
        """Tell people. An Event that cannot be posted is lost, with a line in the log: it never fails its caller."""
        now = self._clock.now()
        heard = self._heard.get((involved["uid"], reason, message))
        if heard is not None and self._clock.monotonic() - heard.posted < self._quiet:
            heard.first = now if not heard.swallowed else heard.first
            heard.swallowed += 1
            return
        self._remember((involved["uid"], reason, message), _Heard(self._clock.monotonic(), 0, now))
        body = build_event(involved, reason, message, warning=warning)
        body |= {
            "reportingInstance": self._instance,
            "source": {"component": COMPONENT},
            "count": 1 + (heard.swallowed if heard is not None else 0),
            "firstTimestamp": _rfc3339(heard.first if heard is not None and heard.swallowed else now),
            "lastTimestamp": _rfc3339(now),
        }
        try:
            async with asyncio.timeout(POST_TIMEOUT):
                await self._create(involved["namespace"], body)
        except Exception as error:
            # An Event is news for people; whatever is wrong with it must not undo or repeat the work that it tells of.
            fields = {"about": dict(involved), "reason": reason, "why": f"{type(error).__name__}: {error}"}
            logger.warning("an Event could not be posted", extra={"fields": fields})

    def _remember(self, key: tuple[str, str, str], heard: _Heard) -> None:
        self._heard[key] = heard
        self._heard.move_to_end(key)
        while len(self._heard) > MOST_REMEMBERED:
            self._heard.popitem(last=False)


def build_event(involved: Involved, reason: str, message: str, *, warning: bool) -> dict[str, Any]:
    """A core/v1 Event without its times and count; `kubectl describe` shows this kind, in every version."""
    name, namespace = involved["name"], involved["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name[:230]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
        "involvedObject": dict(involved),
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…",
        "reportingComponent": COMPONENT,
    }


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
