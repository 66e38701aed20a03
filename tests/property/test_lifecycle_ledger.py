"""The account of a rule: whatever was killed when, no run touches more rows than its limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from databosun.agent.lifecycle.ledger import Account, Event


@st.composite
def attempts(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    """Rows granted, of these rows done, and whether the link that says so was written before the agent was killed."""
    return [
        (granted, draw(st.integers(0, granted)), draw(st.booleans()))
        for granted in draw(st.lists(st.integers(1, 50), max_size=30))
    ]


@given(attempts(), st.integers(1, 200), st.sampled_from(["deleted", "anonymized"]))
def test_no_more_rows_are_touched_than_the_limit_allows(
    chunks: list[tuple[int, int, bool]], limit: int, what: str
) -> None:
    account, touched, number = Account(), 0, 0
    for granted, done, told in chunks:
        allowed = min(granted, limit - account.spent)
        if allowed <= 0:
            break
        number += 1
        account.take(number, {"event": Event.GRANTED, "rows": allowed})
        touched += min(done, allowed)
        if told:
            account.take(number + 1, {"event": Event.DONE, "of": number, what: min(done, allowed), "batches": 1})
            number += 1
        assert touched <= account.spent <= limit


@given(attempts())
def test_an_account_is_the_same_whoever_reads_the_links(chunks: list[tuple[int, int, bool]]) -> None:
    links = []
    for granted, done, told in chunks:
        links.append({"event": Event.ARCHIVED, "rows": granted, "artefacts": [{"name": "x"}]})
        if told:
            links.append({"event": Event.DONE, "of": len(links), "deleted": done, "changed": granted - done})
    one, other = Account(), Account()
    for number, link in enumerate(links, start=1):
        one.take(number, link)
    for number, link in enumerate(links, start=1):
        other.take(number, {**link, "event": str(link["event"])})
    assert one == other
    assert one.archived == sum(granted for granted, _, _ in chunks)
    assert one.deleted + one.changed == sum(granted for granted, _, told in chunks if told)
