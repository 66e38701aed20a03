"""A user's commands before or after a backup."""

from __future__ import annotations

import shlex

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backuppolicy import Hook
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError
from databosun.engines.redis.topology import choose_master


def run_command_hook(target: Target, hook: Hook) -> None:
    """Run `sql` on the master: one command a line, in the words of redis-cli, each within the hook's timeout.

    UserFault(HookFailed) where a command is at fault, WorldFault where the server went away or took too long.
    """
    commands = [words for line in (hook.sql or "").splitlines() if (words := _words(hook, line))]
    if not commands:
        raise UserFault(Reason.HOOK_FAILED, f"hook {hook.name} has no commands in sql; expected one a line")
    seconds = parse_duration(hook.timeout).total_seconds()
    with open_wire(target, choose_master(target).endpoint) as wire:
        for words in commands:
            try:
                wire.call(*words, seconds=seconds)
            except ReplyError as error:
                message = f"hook {hook.name}: {words[0]}: {error}; correct its sql, or grant the user what it needs"
                raise UserFault(Reason.HOOK_FAILED, message) from error


def _words(hook: Hook, line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        message = f"hook {hook.name}: {line!r} cannot be read as a command: {error}"
        raise UserFault(Reason.HOOK_FAILED, message) from error
