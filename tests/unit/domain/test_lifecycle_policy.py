"""What a LifecyclePolicy comes to: its order, its windows, whose word it stands on, and how its backlog fares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.lifecyclepolicy import LifecycleHistory, LifecyclePolicySpec
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePlanStatus
from databosun.domain.consent import Consent, in_force
from databosun.domain.errors import UserFault
from databosun.domain.lifecyclebacklog import EndedRun, backlog_after, eta_days, since
from databosun.domain.lifecycleorder import effective_lifecycle, order_digest, order_of
from databosun.domain.lifecyclepolicy import PastLifecycleRun, beyond_history, mode_of_next
from databosun.domain.timing import Window, window_at
from databosun.domain.whereabouts import Whereabouts

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SPEC: dict[str, Any] = {
    "databaseRef": {"name": "orders"},
    "storageRef": {"name": "prod"},
    "rules": [
        {
            "name": "old",
            "target": {"table": "public.orders"},
            "match": {"column": "at", "olderThan": "90d", "where": "closed"},
            "action": {"type": "Archive"},
            "limits": {"minRetention": "1y", "keepNewest": 5},
        }
    ],
}


def spec(**more: Any) -> LifecyclePolicySpec:
    return LifecyclePolicySpec.model_validate({**SPEC, **more})


def planned(**rule: Any) -> LifecyclePlanStatus:
    base = {"name": "old", "action": "Delete", "table": "public.orders"}
    return LifecyclePlanStatus.model_validate(
        {"hash": "h1", "orderHash": "o1", "run": "r", "at": NOW, "rules": [{**base, **rule}]}
    )


def test_the_order_says_all_in_the_units_of_an_agent() -> None:
    order = order_of(spec(holds=[{"name": "all", "reason": "case"}]), Whereabouts("uid"))
    (rule,) = order.rules
    assert (rule.older_than_seconds, rule.limits.min_retention_seconds) == (90 * 86400, 365 * 86400)
    assert (rule.limits.max_rows_per_run, rule.limits.max_percent, rule.limits.keep_newest) == (100_000, 10, 5)
    assert (order.database_uid, order.storage, order.holds[0].where) == ("uid", "prod", None)
    assert order.preconditions.backup_within_seconds == 86400
    assert order.preconditions.proven_within_seconds == 100 * 86400


def test_the_digest_is_of_the_rules_and_not_of_when_or_how_gently_they_run() -> None:
    digest = order_digest(order_of(spec(), Whereabouts("uid")))
    gently = spec(schedule={"cron": "0 1 * * *"}, timeBudget="1h", batch={"rows": 5}, suspend=True, mode="Enforce")
    assert order_digest(order_of(gently, Whereabouts("uid"))) == digest
    assert order_digest(order_of(spec(), Whereabouts("other"))) != digest
    assert order_digest(order_of(spec(preconditions={"backupWithin": "2d"}), Whereabouts("uid"))) != digest


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"schedule": {"cron": "61 * * * *"}}, "spec.schedule.cron"),
        ({"schedule": {"cron": "0 1 * * *", "jitter": "2h"}}, "spec.schedule.jitter"),
        ({"windows": [{"cron": "0 1 * * *", "duration": "1s"}]}, "spec.windows[0].duration"),
        ({"timeBudget": "0s"}, "spec.timeBudget"),
    ],
)
def test_what_the_api_server_could_not_refuse_is_refused_by_its_path(more: dict[str, Any], path: str) -> None:
    with pytest.raises(UserFault, match="InvalidSpec") as caught:
        effective_lifecycle(spec(**more))
    assert caught.value.message.startswith(path)


def test_windows_open_and_close() -> None:
    night = Window("0 1 * * *", "UTC", 4 * HOUR)
    assert window_at([], NOW) == (None, None)
    assert window_at([night], NOW) == (NOW + HOUR, None)
    assert window_at([night], NOW + HOUR) == (None, NOW + 21 * HOUR)
    assert window_at([night, Window("30 3 * * *", "UTC", 3 * HOUR)], NOW) == (NOW + 150 * MINUTE, None)


def test_consent_is_to_the_very_plan_until_it_ends() -> None:
    given = [
        Consent("a", "h1", NOW + HOUR, "ada"),
        Consent("b", "h1", NOW + DAY, "bob"),
        Consent("c", "h2", NOW + 2 * DAY, "cy"),
    ]
    assert in_force(given, "h1", NOW) == given[1]
    assert in_force(given, "h3", NOW) is None
    assert in_force(given, "h1", NOW + DAY) is None
    assert mode_of_next(LifecycleMode.ENFORCE, None) is LifecycleMode.DRY_RUN
    assert mode_of_next(LifecycleMode.ENFORCE, given[0]) is LifecycleMode.ENFORCE
    assert mode_of_next(LifecycleMode.ENFORCE, given[0], stops=True) is LifecycleMode.DRY_RUN


def run(mode: LifecycleMode, plan: LifecyclePlanStatus | None, **rule: Any) -> EndedRun:
    results = [{"name": "old", "action": "Delete", "state": "Limited", **rule}] if rule else None
    status = {"phase": "Succeeded", "completionTime": NOW, "plan": plan, "rules": results}
    return EndedRun("r", NOW, mode, LifecycleRunStatus.model_validate(status))


def test_a_backlog_adds_up_over_runs_and_keeps_its_rate_while_runs_are_dry() -> None:
    seen = backlog_after([], run(LifecycleMode.DRY_RUN, planned(eligible=900, inflowPerDay=10)), DAY)
    assert (seen[0].state, seen[0].remaining, seen[0].rate_per_day, seen[0].eta_days) == ("Planned", 900, None, None)
    first = run(LifecycleMode.ENFORCE, planned(eligible=900, inflowPerDay=10), deleted=100, remaining=800)
    seen = backlog_after(seen, first, 12 * HOUR)
    assert (seen[0].processed, seen[0].remaining, seen[0].rate_per_day, seen[0].eta_days) == (100, 800, 200, 5)
    seen = backlog_after(seen, run(LifecycleMode.ENFORCE, planned(eligible=800), deleted=1, anonymized=2), DAY)
    assert (seen[0].processed, seen[0].remaining, seen[0].rate_per_day) == (103, 797, 3)
    seen = backlog_after(seen, run(LifecycleMode.DRY_RUN, planned(eligible=797, inflowPerDay=5)), DAY)
    assert (seen[0].processed, seen[0].rate_per_day, seen[0].eta_days, seen[0].state) == (103, 3, None, "Limited")


def test_a_run_that_found_no_plan_changes_no_number() -> None:
    seen = backlog_after([], run(LifecycleMode.DRY_RUN, planned(eligible=9)), DAY)
    assert backlog_after(seen, run(LifecycleMode.ENFORCE, None), DAY) == seen


def test_days_are_whole_and_never_promised_where_more_comes_than_goes() -> None:
    assert [eta_days(*one) for one in ((0, None, 9), (100, 30, 10), (100, 10, 10), (1, None, 0))] == [0, 5, None, None]
    assert since(None, NOW) is None
    assert since(NOW, NOW) == MINUTE


def test_the_newest_runs_of_each_mode_stay() -> None:
    past = [PastLifecycleRun(f"r{number}", NOW + number * HOUR, number % 2 == 0) for number in range(6)]
    assert beyond_history(past, LifecycleHistory(enforced=1, dry_runs=2)) == ("r0", "r1", "r2")
