"""Whatever a policy says, it is read or refused with the field's name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, Continuous, Retention, Schedule
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.domain.presets import EffectivePolicy, effective
from databosun.domain.schedule import interval, next_due

DURATIONS = st.one_of(
    st.sampled_from(["0s", "1s", "1m", "90d", "1h30m", "500ms", "7y", "100y", "99999999999999y", "", "1", "-1h"]),
    st.from_regex(r"([0-9]{1,12}(y|w|d|h|ms|m|s)){1,3}", fullmatch=True),
)
SIZES = st.sampled_from(["0", "1Ki", "10Gi", "1.5G", "x", ""])
CRONS = st.one_of(st.sampled_from(["0 2 * * *", "* * * * *", "0 0 30 2 *", "0 0 L * *"]), st.text(max_size=20))
ZONES = st.one_of(st.sampled_from(["UTC", "Europe/Berlin", "localtime"]), st.text(max_size=20))
COUNTS = st.none() | st.integers(0, 10_000)


def stored(model: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects as a cluster may hold them, unchecked by today's schema; what has a default may be left out."""
    needed = {name: values for name, values in fields.items() if model.model_fields[name].is_required()}
    optional = {name: values for name, values in fields.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda some: model.model_construct(**some))


SPECS = stored(
    BackupPolicySpec,
    preset=st.sampled_from([None, "Critical", "Production", "Development"]),
    time_zone=ZONES,
    schedules=st.lists(stored(Schedule, name=st.sampled_from(["a", "b"]), cron=CRONS), max_size=3),
    continuous=st.none() | stored(Continuous, max_lag=DURATIONS, max_retained=SIZES, enabled=st.booleans()),
    retention=st.none()
    | stored(Retention, keep_last=COUNTS, daily=COUNTS, recovery_window=st.none() | DURATIONS, grace=DURATIONS),
    jitter=DURATIONS,
    starting_deadline=DURATIONS,
    start_deadline=DURATIONS,
    deadline=DURATIONS,
)


def read(spec: BackupPolicySpec, engine: EngineName | None) -> EffectivePolicy | UserFault:
    try:
        return effective(spec, engine)
    except UserFault as fault:
        return fault


@settings(max_examples=150, deadline=None)
@given(SPECS, st.sampled_from([None, *EngineName]))
def test_a_policy_is_read_or_refused_by_name(spec: BackupPolicySpec, engine: EngineName | None) -> None:
    policy = read(spec, engine)
    if isinstance(policy, UserFault):
        assert policy.reason == "InvalidSpec"
        assert policy.message.startswith("spec.")
        return
    now = datetime(2026, 6, 1, tzinfo=UTC)
    for row in policy.schedules:
        assert next_due(row.cron, policy.zone, now) > now
        assert 2 * interval(row.cron, policy.zone, now) > timedelta(0)
    assert policy.jitter < policy.starting_deadline
    assert now - (policy.retention.recovery_window or timedelta(0)) < now + policy.deadline
    assert now + policy.retention.grace >= now
    assert policy.document()["timeZone"] == policy.zone
