"""Whatever backups and erasures there are: who was erased is repeated in all that is older, and in nothing younger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.erasure import MARGIN, subject_hash, to_repeat
from databosun.domain.remains import Kept, remains
from unit.domain.test_erasure import erased

NOW = datetime(2026, 3, 1, tzinfo=UTC)
instants = st.integers(-10_000, 10_000).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(st.lists(st.none() | instants, max_size=8), instants)
def test_what_is_repeated_is_exactly_what_the_data_may_hold(ends: list[datetime | None], data: datetime) -> None:
    ledger = [erased(str(number), verified=end) for number, end in enumerate(ends)]
    repeated = {one.entry.id for one in to_repeat(ledger, data)}
    assert repeated == {str(number) for number, end in enumerate(ends) if end is None or data <= end + MARGIN}


@given(st.lists(st.tuples(instants, st.none() | instants, st.booleans()), max_size=8), instants)
def test_cleared_is_never_said_while_a_backup_holds_the_person(
    backups: list[tuple[datetime, datetime | None, bool]], verified: datetime
) -> None:
    kept = [
        Kept(str(number), at, expires, "held" if held else None) for number, (at, expires, held) in enumerate(backups)
    ]
    found = remains(kept, verified, NOW)
    holding = [one for one in kept if one.at <= verified + MARGIN]
    assert found.backups == len(holding)
    assert (found.cleared_after == "Cleared") == (not holding)
    if any(one.for_ever for one in holding):
        assert found.cleared_after == "Never"
    elif any(one.expires is None for one in holding):
        assert found.cleared_after == "Unknown"
    for one in holding:
        if found.cleared_after[:1].isdigit() and one.expires is not None:
            assert one.expires <= datetime.fromisoformat(found.cleared_after)


@given(st.binary(min_size=32, max_size=64), st.text(max_size=40), st.text(max_size=40))
def test_two_people_have_two_hashes(key: bytes, one: str, other: str) -> None:
    assert (subject_hash(key, one) == subject_hash(key, other)) == (one == other)
