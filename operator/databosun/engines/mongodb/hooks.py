"""A user's command before or after a backup."""

from __future__ import annotations

import json
from typing import Any

from bson import json_util
from pymongo import timeout
from pymongo.errors import OperationFailure, PyMongoError

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backuppolicy import Hook
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.mongodb.connect import opened
from databosun.engines.mongodb.server import choose_primary


def run_command_hook(target: Target, hook: Hook) -> None:
    """Run it on the primary, in the target's database where it names one, else in `admin`.

    UserFault(HookFailed | HookTimeout) where the command is at fault; the driver's errors where the server went away.
    """
    command = _command(hook)
    with opened(target, choose_primary(target)) as client:
        try:
            with timeout(parse_duration(hook.timeout).total_seconds()):
                client[target.database.database or "admin"].command(command)
        except OperationFailure as error:
            said = " ".join(str(error).split())[:500]
            raise UserFault(Reason.HOOK_FAILED, f"hook {hook.name}: {said}; correct its sql") from error
        except PyMongoError as error:
            if not error.timeout:
                raise
            message = f"hook {hook.name} took longer than its timeout of {hook.timeout}; raise it, or do less in it"
            raise UserFault(Reason.HOOK_TIMEOUT, message) from error


def _command(hook: Hook) -> dict[str, Any]:
    """One command as Extended JSON, such as {"fsync": 1}."""
    try:
        found = json_util.loads(hook.sql or "")
    except (json.JSONDecodeError, ValueError, TypeError) as error:
        message = f'hook {hook.name}: its sql is no command in Extended JSON ({error}); expected such as {{"ping": 1}}'
        raise UserFault(Reason.HOOK_FAILED, message) from error
    if not isinstance(found, dict) or not found:
        message = f'hook {hook.name}: its sql is no command; expected an object such as {{"ping": 1}}'
        raise UserFault(Reason.HOOK_FAILED, message)
    return found
