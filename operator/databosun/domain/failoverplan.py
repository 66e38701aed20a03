"""The plan of a failover test and its hash: what an Approval consents to, and what the agent finds before it moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from databosun.api.failover import FailoverMode, FailoverPlan


def make_plan(
    run_uid: str, provider: str, mode: FailoverMode, primary: str, candidate: str, members: Iterable[str]
) -> FailoverPlan:
    """The plan. Lag and load are no part of it: they are guards, looked at anew each time."""
    named = {
        "provider": provider,
        "mode": str(mode),
        "primary": primary,
        "candidate": candidate,
        "members": sorted(set(members)),
    }
    text = json.dumps({"run": run_uid, **named}, sort_keys=True)
    return FailoverPlan.model_validate({**named, "hash": hashlib.sha256(text.encode()).hexdigest()[:16]})
