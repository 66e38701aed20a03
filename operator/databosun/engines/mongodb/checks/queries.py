"""Checks that a user writes: one command that only reads, one value."""

from __future__ import annotations

import json
from typing import Any

from bson import json_util

from databosun.api.drill import Check, CheckResult
from databosun.engines.checking import compare_age, compare_canary, compare_value
from databosun.engines.mongodb.checks.scene import Scene

_READING = ("find", "aggregate", "count", "distinct")
_WRITING = frozenset({"$out", "$merge"})


def ask(scene: Scene, check: Check) -> object:
    """The one value that a check's command gives. ValueError where it gives something else, or may write."""
    command = _command(check)
    with scene.server.client(silent=check.timeout_seconds) as client:
        found = client[scene.database_of(client, check)].command(command)
    name = next(iter(command))
    if name == "count":
        return int(found["n"])
    values = list(found["values"]) if name == "distinct" else [_field(one) for one in found["cursor"]["firstBatch"]]
    if len(values) != 1:
        msg = f"the command gives {len(values)} values; one was expected"
        raise ValueError(msg)
    return values[0]


def check_query(scene: Scene, check: Check) -> CheckResult:
    """The value compares as asked; true is 1."""
    found = ask(scene, check)
    wanted = check if check.value is not None else check.model_copy(update={"value": "1"})
    return compare_value(wanted, int(found) if isinstance(found, bool) and check.value is None else found)


def check_canary(scene: Scene, check: Check) -> CheckResult:
    """A known value is there, exactly."""
    return compare_canary(check, ask(scene, check))


def check_freshness(scene: Scene, check: Check) -> CheckResult:
    """The newest instant that the command gives is no older than asked, at the instant of the drill."""
    return compare_age(check, ask(scene, check), scene.assumed_at)


def _command(check: Check) -> dict[str, Any]:
    if not check.query:
        msg = f"check {check.name} of type {check.type} needs a query: one command in Extended JSON"
        raise ValueError(msg)
    try:
        found = json_util.loads(check.query)
    except (json.JSONDecodeError, TypeError) as error:
        msg = f'the query is no command in Extended JSON ({error}); expected such as {{"count": "orders"}}'
        raise ValueError(msg) from error
    if not isinstance(found, dict) or next(iter(found), None) not in _READING:
        msg = f"the query is none of the commands {', '.join(_READING)}; a check may not change what it looks at"
        raise ValueError(msg)
    if any(_WRITING & set(stage) for stage in _stages(found.get("pipeline"))):
        msg = "the pipeline writes its result; a check may not change what it looks at"
        raise ValueError(msg)
    return {**found, "cursor": {}} if "aggregate" in found else found


def _stages(pipeline: object) -> list[dict[str, Any]]:
    """Also those inside of other stages, where the server would refuse them by itself."""
    found: list[dict[str, Any]] = []
    for stage in pipeline if isinstance(pipeline, list) else []:
        if isinstance(stage, dict):
            found.append(stage)
            for inner in stage.values():
                found += _stages(inner) if isinstance(inner, list) else []
                found += _stages(inner.get("pipeline")) if isinstance(inner, dict) else []
    return found


def _field(document: dict[str, Any]) -> object:
    """The one field besides `_id`, or `_id` where it stands alone."""
    values = [value for name, value in document.items() if name != "_id"] or list(document.values())
    if len(values) != 1:
        msg = f"the command gives documents of {len(values)} fields; one was expected (use a projection)"
        raise ValueError(msg)
    return values[0]
