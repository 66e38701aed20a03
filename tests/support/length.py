"""How long what befalls an installation goes on: for moments in `make test`, as long as people fear in `make soak`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Length:
    """All of them."""

    minutes: float  # that a store is away, that an archiver is killed, that an operator has nothing to do
    away_minutes: float  # without an operator
    kills: int  # of an operator
    server_kills: int  # of one on a real API server
    policies: int  # at rest


MOMENTS = Length(minutes=0, away_minutes=0, kills=0, server_kills=0, policies=0)


def full_length() -> Length:
    """What `make soak` takes; less where the environment says so."""
    return Length(
        minutes=float(os.environ.get("SOAK_MINUTES", "10")),
        away_minutes=float(os.environ.get("SOAK_AWAY_MINUTES", "60")),
        kills=int(os.environ.get("SOAK_KILLS", "1000")),
        server_kills=int(os.environ.get("SOAK_SERVER_KILLS", "50")),
        policies=int(os.environ.get("SOAK_POLICIES", "100")),
    )


def lasting(minutes: float, pause: float = 5) -> Iterator[None]:
    """Now, and every few seconds (`pause`) until so long has passed: for looks at what must hold all the time."""
    end = time.monotonic() + 60 * minutes
    yield
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        yield
