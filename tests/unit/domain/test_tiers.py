"""What a tier asks for, and whether a timetable can meet it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from databosun.api.v1alpha1.database import Objectives as Overrides
from databosun.domain.errors import UserFault
from databosun.domain.tiers import Objectives, objective_out_of_reach, tier_objectives

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("tier", "rto", "rpo"),
    [
        (1, 15 * MINUTE, 5 * MINUTE),
        (2, HOUR, HOUR),
        (3, 4 * HOUR, 24 * HOUR),
        (4, 24 * HOUR, 7 * 24 * HOUR),
    ],
)
def test_the_tiers(tier: int, rto: timedelta, rpo: timedelta) -> None:
    assert tier_objectives(tier, None) == Objectives(rto, rpo)


def test_one_objective_may_differ() -> None:
    assert tier_objectives(1, Overrides(rpo="2m")) == Objectives(rto=15 * MINUTE, rpo=2 * MINUTE)
    assert tier_objectives(1, Overrides(rto="1h")) == Objectives(rto=HOUR, rpo=5 * MINUTE)


def test_a_bad_objective_names_its_field() -> None:
    with pytest.raises(UserFault, match=r"spec\.objectives\.rpo is 200y; expected"):
        tier_objectives(1, Overrides(rpo="200y"))
    with pytest.raises(UserFault, match=r"spec\.objectives\.rto"):
        tier_objectives(1, Overrides.model_construct(rto="soon"))
    with pytest.raises(UserFault, match=r"spec\.tier is 7; expected 1 to 4"):
        tier_objectives(7, None)


def test_backups_half_an_objective_apart_survive_one_failure() -> None:
    assert objective_out_of_reach(30 * MINUTE, HOUR) is None
    assert objective_out_of_reach(HOUR, HOUR) == (
        "RPO 1h cannot be met: backups are up to 1h apart, so 2h are lost if one fails;"
        " expected at most 30m apart, or continuous"
    )


def test_a_shipped_log_counts_by_its_lag() -> None:
    assert objective_out_of_reach(24 * HOUR, 5 * MINUTE, max_lag=MINUTE) is None
    assert objective_out_of_reach(HOUR, 5 * MINUTE, max_lag=15 * MINUTE) == (
        "RPO 5m cannot be met: the log may lag 15m behind; expected continuous.maxLag of at most the RPO"
    )
