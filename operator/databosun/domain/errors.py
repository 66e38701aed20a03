"""Errors that say who must act. The queue's worker and the agent map them in one place each."""

from __future__ import annotations


class DatabosunError(Exception):
    """A failure with a machine-readable reason (CamelCase) and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class UserFault(DatabosunError):
    """The user must act: a spec, a Secret, a grant. Never retried until something changes."""


class WorldFault(DatabosunError):
    """Nobody must act: an API, a network or a store is away. Retried with back-off."""


class SafetyStop(DatabosunError):
    """A human must act: an interlock refused. Never retried by itself."""
