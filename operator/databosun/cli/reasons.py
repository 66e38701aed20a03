"""Reasons of faults that only the command line has. People see the messages; programs may look at these."""

from __future__ import annotations

from enum import StrEnum


class CliReason(StrEnum):
    """Why a command could not do what it was asked for."""

    ANONYMOUS = "Anonymous"
    NO_ANSWER = "NoAnswer"
    BAD_USAGE = "BadUsage"
    SEVERAL_POLICIES = "SeveralPolicies"
    POLICY_DOES_NOT_COVER = "PolicyDoesNotCover"
    PLAN_CHANGED = "PlanChanged"
    SUPERSEDED = "Superseded"
