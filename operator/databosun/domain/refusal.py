"""Why something is not done."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a rule does nothing."""

    reason: Reason
    message: str
