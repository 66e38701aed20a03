"""From a user's checks to the agent's, and from its figures to whole numbers."""

from __future__ import annotations

import pytest

from databosun.api.drill import CheckOutcome, CheckResult, CheckType, Operator, PointKind, RecoveryPoint, Severity
from databosun.api.v1alpha1.proving import CopyCheck
from databosun.domain.errors import UserFault
from databosun.domain.measured import (
    GIB,
    asked_checks,
    check_results,
    for_people,
    recovery_point,
    scratch_for,
    target_point,
)


def test_checks_reach_the_agent_as_they_were_written() -> None:
    said = {"name": "fresh", "type": "Freshness", "query": "select now()", "maxAge": "2h", "severity": "Warning"}
    (asked,) = asked_checks([CopyCheck.model_validate(said)])
    assert (asked.type, asked.severity, asked.max_age_seconds) == (CheckType.FRESHNESS, Severity.WARNING, 7200.0)
    assert (asked.operator, asked.timeout_seconds) == (Operator.EQUAL, 600.0)


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">="])
def test_every_operator_has_its_own(operator: str) -> None:
    said = {"name": "q", "type": "Query", "query": "select 1", "value": "1", "operator": operator}
    (asked,) = asked_checks([CopyCheck.model_validate(said)])
    assert asked.operator == operator.replace("==", "=")


def test_a_time_of_nothing_is_named_with_its_check() -> None:
    said = {"name": "fresh", "type": "Freshness", "query": "select now()", "maxAge": "0s"}
    with pytest.raises(UserFault, match="check fresh: maxAge is 0s"):
        asked_checks([CopyCheck.model_validate(said)])


def test_what_failed_is_shown_first_since_the_rest_may_be_cut() -> None:
    def result(name: str, outcome: CheckOutcome) -> CheckResult:
        return CheckResult(name=name, type=CheckType.QUERY, severity=Severity.CRITICAL, outcome=outcome)

    found = check_results([result("a", CheckOutcome.PASSED), result("b", CheckOutcome.FAILED)])
    assert found is not None
    assert [one.name for one in found] == ["b", "a"]
    assert check_results([]) is None


def test_points_go_there_and_back() -> None:
    for point in (RecoveryPoint(), RecoveryPoint(kind=PointKind.LSN, lsn="0/1")):
        assert recovery_point(target_point(point)) == point
    assert recovery_point(None) == RecoveryPoint()


def test_scratch_holds_the_chain_and_what_combining_it_makes() -> None:
    assert scratch_for([]) == 10 * GIB
    assert scratch_for([GIB]) == 10 * GIB
    assert scratch_for([100 * GIB]) == 112 * GIB
    assert scratch_for([100 * GIB, 10 * GIB]) == 233 * GIB


def test_seconds_for_people() -> None:
    assert [for_people(seconds) for seconds in (0.04, 12.34, 59.94, 61.0, 552.4)] == [
        "0.0s",
        "12.3s",
        "59.9s",
        "1m1s",
        "9m12s",
    ]
