"""What moving backups would break is refused with its arithmetic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.tiering import StorageClass, TransitionOrder
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.domain.claims import RetentionRules
from databosun.domain.errors import UserFault
from databosun.domain.lifecycleorder import order_digest, order_of
from databosun.domain.tierconflicts import DrillSeen, RetentionSeen, longest_kept, tier_conflicts
from databosun.domain.whereabouts import Whereabouts

DAY = timedelta(days=1)
GUIDE = [(30, "STANDARD_IA"), (90, "GLACIER"), (365, "DEEP_ARCHIVE")]


def steps(*pairs: tuple[int, str]) -> list[TransitionOrder]:
    return [TransitionOrder(days=days, storage_class=StorageClass(name)) for days, name in pairs or GUIDE]


def policy(**rules: Any) -> RetentionSeen:
    return RetentionSeen("nightly", RetentionRules(**rules), DAY)


def said(
    *policies: RetentionSeen, drills: tuple[DrillSeen, ...] = (), at: list[TransitionOrder] | None = None
) -> list[str]:
    return [one.message for one in tier_conflicts(at or steps(), policies, drills)]


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        ({"daily": 30, "monthly": 84}, 2604),
        ({"yearly": 7}, 2562),
        ({"keep_last": 10}, 10),
        ({"recovery_window": 30 * DAY}, 31),
        ({"daily": 3, "keep_forever": "Yearly"}, None),
        ({}, None),
    ],
)
def test_how_long_a_policy_may_keep(rules: dict[str, Any], days: int | None) -> None:
    assert longest_kept(policy(**rules)).days == days


def test_the_guides_steps_fit_the_critical_preset() -> None:
    assert said(policy(daily=30, monthly=84)) == []


def test_a_class_that_is_paid_for_longer_than_anything_is_kept_is_refused() -> None:
    (one,) = said(policy(daily=14, monthly=12))
    assert one == (
        "DEEP_ARCHIVE after 365 d is billed for 180 d at least, until day 545, and no BackupPolicy keeps a backup"
        " longer than 372 d (nightly, monthly: 12): leave that step out, or keep backups longer"
    )
    assert said(policy(daily=14, monthly=12), policy()) == []


def test_the_recovery_window_stays_readable() -> None:
    kept = {"monthly": 84, "recovery_window": 90 * DAY}
    (one,) = said(policy(**kept))
    assert "GLACIER after 90 d would take the backups that the recoveryWindow of BackupPolicy nightly" in one
    assert "up to 91 d old (90d and an interval of 1d)" in one
    assert said(policy(**kept), at=steps((30, "STANDARD_IA"), (91, "GLACIER"))) == []


def test_drills_of_any_age_are_not_sent_to_the_archive() -> None:
    drills = (DrillSeen("all", "Random", timedelta(minutes=15)), DrillSeen("new", "Latest", timedelta(minutes=15)))
    glacier, deep = said(policy(monthly=84), drills=drills)
    assert "RestoreDrill all takes backups of any age (selection.from: Random) and must be done in 15m" in glacier
    assert "takes up to 5h" in glacier
    assert "takes up to 12h" in deep
    assert said(policy(monthly=84), drills=drills, at=steps((30, "STANDARD_IA"), (60, "GLACIER_IR"))) == []


def spec(transitions: list[dict[str, Any]] | None = None) -> LifecyclePolicySpec:
    action: dict[str, Any] = {"type": "StorageTransition"}
    if transitions is not None:
        action["transitions"] = transitions
    return LifecyclePolicySpec.model_validate(
        {
            "databaseRef": {"name": "orders"},
            "storageRef": {"name": "prod"},
            "rules": [{"name": "cold", "action": action}],
        }
    )


def test_without_steps_those_of_the_guide_are_taken() -> None:
    (rule,) = order_of(spec(), Whereabouts("uid")).rules
    assert [(one.days, one.storage_class) for one in rule.transitions] == GUIDE
    same = spec([{"days": days, "class": name} for days, name in GUIDE])
    assert order_digest(order_of(same, Whereabouts("uid"))) == order_digest(order_of(spec(), Whereabouts("uid")))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([(29, "STANDARD_IA")], r"transitions\[0\].days is 29; expected 30 or more"),
        ([(30, "STANDARD_IA"), (59, "GLACIER")], r"transitions\[1\].days is 59; expected 60 or more: STANDARD_IA is"),
        (
            [(90, "GLACIER"), (365, "STANDARD_IA")],
            r"transitions\[1\].class is STANDARD_IA after GLACIER; expected a co",
        ),
        ([(90, "GLACIER"), (100, "DEEP_ARCHIVE")], r"transitions\[1\].days is 100; expected 180 or more"),
    ],
)
def test_steps_that_no_store_takes_are_refused(asked: list[tuple[int, str]], message: str) -> None:
    with pytest.raises(UserFault, match=message):
        order_of(spec([{"days": days, "class": name} for days, name in asked]), Whereabouts("uid"))
