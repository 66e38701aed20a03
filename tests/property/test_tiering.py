"""Objects that move: chains whole, nothing that is needed, nothing back; and the rules of others as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.tiering import StorageClass, ThawSpeed, TransitionOrder
from databosun.domain.bucketrules import Owner, conflicts, differences, is_ours, merge, render, text_of
from databosun.domain.tiering import (
    Move,
    StoredBackup,
    StoredObject,
    Tiering,
    coldness,
    decide_tiering,
    due_class,
    thaw_time,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = Owner("c1", "shop", "cold", "prod/shop/orders/backups/")
CLASSES = st.sampled_from(list(StorageClass))
ANY_CLASS = st.sampled_from(["STANDARD", "REDUCED_REDUNDANCY", *StorageClass])


@st.composite
def transitions(draw: st.DrawFn) -> list[TransitionOrder]:
    classes = sorted(draw(st.sets(CLASSES, min_size=1)), key=coldness)
    days = sorted(draw(st.sets(st.integers(1, 400), min_size=len(classes), max_size=len(classes))))
    return [TransitionOrder(days=day, storage_class=one) for day, one in zip(days, classes, strict=True)]


@st.composite
def stores(draw: st.DrawFn) -> list[StoredBackup]:
    """Backups that stand on each other, or on some that are gone."""
    count = draw(st.integers(0, 8))
    ages = sorted((draw(st.integers(0, 500)) for _ in range(count)), reverse=True)
    found: list[StoredBackup] = []
    for number, age in enumerate(ages):
        below = draw(st.sampled_from([None, "gone", *(one.id for one in found)]))
        objects = [StoredObject(f"{number}/{part}", 10, draw(ANY_CLASS)) for part in range(draw(st.integers(1, 2)))]
        found.append(
            StoredBackup(
                id=f"b{number}",
                at=NOW - age * DAY,
                line=(draw(st.sampled_from(["daily", "weekly"])), "Physical"),
                stands_on=(below,) if below else (),
                held=draw(st.booleans()) and draw(st.booleans()),
                objects=tuple(objects),
            )
        )
    return found


def chain_of(backups: list[StoredBackup], one: str) -> set[str]:
    """All that stand on it or that it stands on, however far."""
    found = {one}
    while True:
        more = {b.id for b in backups if b.id in found or found & set(b.stands_on)}
        more |= {other for b in backups if b.id in found for other in b.stands_on}
        if more <= found:
            return found
        found |= more


def apply(backups: list[StoredBackup], found: Tiering) -> list[StoredBackup]:
    """As the bucket is once all has moved."""
    to = {one.key: move.storage_class for move in found.moves for one in move.objects}
    return [
        StoredBackup(
            one.id, one.at, one.line, one.stands_on, one.held,
            tuple(StoredObject(o.key, o.bytes, to.get(o.key, o.storage_class)) for o in one.objects),
        )
        for one in backups
    ]  # fmt: skip


@given(stores(), transitions(), st.sets(st.sampled_from([f"b{number}" for number in range(8)]), max_size=2))
def test_only_whole_chains_move_and_none_that_is_needed(
    backups: list[StoredBackup], steps: list[TransitionOrder], keep: set[str]
) -> None:
    found = decide_tiering(steps, backups, keep, NOW)
    known = {one.id: one for one in backups}
    newest = {line: max((one for one in backups if one.line == line), key=lambda b: (b.at, b.id)).id
              for line in {one.line for one in backups}}  # fmt: skip
    taken: set[str] = set()
    for move in found.moves:
        ids = {one.id for one in move.backups}
        assert not ids & taken
        taken |= ids
        for one in ids:
            assert chain_of(backups, one) == ids, "a chain is cut, or stands on what is gone"
        assert not ids & set(newest.values())
        assert not ids & keep
        assert not any(known[one].held for one in ids)
        assert move.storage_class == due_class(steps, NOW - max(known[one].at for one in ids))
        assert all(coldness(one.storage_class) < coldness(move.storage_class) for one in move.objects)


@given(stores(), transitions())
def test_children_are_tagged_before_what_they_stand_on(
    backups: list[StoredBackup], steps: list[TransitionOrder]
) -> None:
    for move in decide_tiering(steps, backups, (), NOW).moves:
        seen: set[str] = set()
        for one in move.backups:
            assert not seen & set(one.stands_on)
            seen.add(one.id)


@given(stores(), transitions(), st.randoms(use_true_random=False))
def test_the_order_plays_no_part_and_what_moved_moves_no_more(
    backups: list[StoredBackup], steps: list[TransitionOrder], random: Any
) -> None:
    found = decide_tiering(steps, backups, (), NOW)
    shuffled = list(backups)
    random.shuffle(shuffled)
    assert decide_tiering(steps, shuffled, (), NOW) == found
    assert decide_tiering(steps, apply(backups, found), (), NOW).moves == ()


@given(stores(), transitions(), st.integers(0, 400))
def test_time_moves_a_chain_down_and_never_up(
    backups: list[StoredBackup], steps: list[TransitionOrder], later: int
) -> None:
    def classes(moves: tuple[Move, ...]) -> dict[str, int]:
        return {one.id: coldness(move.storage_class) for move in moves for one in move.backups}

    now = classes(decide_tiering(steps, backups, (), NOW).moves)
    then = classes(decide_tiering(steps, backups, (), NOW + later * DAY).moves)
    assert all(then.get(one, 0) >= level for one, level in now.items())


@given(st.sets(ANY_CLASS), st.sampled_from(list(ThawSpeed)))
def test_a_thaw_waits_for_the_slowest_class(classes: set[str], speed: ThawSpeed) -> None:
    """As Amazon's own table says."""
    hours = {
        ("Expedited", "GLACIER"): 1 / 12,
        ("Standard", "GLACIER"): 5,
        ("Standard", "DEEP_ARCHIVE"): 12,
        ("Bulk", "GLACIER"): 12,
        ("Bulk", "DEEP_ARCHIVE"): 48,
    }
    cold = classes & {"GLACIER", "DEEP_ARCHIVE"}
    wanted = [hours.get((str(speed), str(one))) for one in cold]
    found = thaw_time(classes, speed)
    assert (found is None) == (None in wanted)
    assert found is None or found == timedelta(hours=max((one for one in wanted if one), default=0))


PREFIXES = st.sampled_from(
    ["", "logs/", "prod/", "prod/shop/orders/backups/", "prod/shop/orders/backups/x", "product/"]
)
TAGS = st.sampled_from([[], [{"Key": "team", "Value": "a"}], [{"Key": "databosun-tier", "Value": "GLACIER"}]])


@st.composite
def foreign(draw: st.DrawFn) -> dict[str, Any]:
    """A rule of others; now and then one with an ID like ours."""
    own = draw(st.sampled_from([False, False, False, True]))
    rule: dict[str, Any] = {
        "ID": f"{OWNER.ids}GLACIER"
        if own
        else draw(st.sampled_from(["one", "two", "databosun/c1/shop/other/GLACIER"])),
        "Status": draw(st.sampled_from(["Enabled", "Disabled"])),
        "Filter": {"And": {"Prefix": draw(PREFIXES), "Tags": draw(TAGS)}},
    }
    for key, value in {
        "Expiration": {"Days": 9},
        "Transitions": [{"Days": 9, "StorageClass": draw(st.sampled_from(["STANDARD_IA", "GLACIER"]))}],
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }.items():
        if draw(st.booleans()):
            rule[key] = value
    return rule


RULES = st.lists(foreign(), max_size=4, unique_by=lambda rule: rule["ID"])


@given(RULES, transitions(), transitions())
def test_rules_of_others_survive_every_merge(
    found: list[dict[str, Any]], first: list[TransitionOrder], second: list[TransitionOrder]
) -> None:
    others = [text_of(rule) for rule in found if not rule["ID"].startswith(OWNER.ids)]
    for steps in (first, second):
        merged = merge(found, render(OWNER, steps), OWNER)
        assert [text_of(rule) for rule in merged.rules if not rule["ID"].startswith(OWNER.ids)] == others
        assert [one for one in merged.rules if is_ours(one, OWNER)] == list(render(OWNER, steps))
        again = merge(merged.rules, render(OWNER, steps), OWNER)
        assert not again.changed
        assert again.rules == merged.rules
        assert not again.clashes
        found = list(merged.rules)


@given(RULES)
def test_a_rule_under_our_id_that_is_not_ours_is_always_said(found: list[dict[str, Any]]) -> None:
    strange = [rule for rule in found if rule["ID"].startswith(OWNER.ids) and not is_ours(rule, OWNER)]
    said = [one.message for one in conflicts(found, OWNER, "prod/shop", ()) if "not of its making" in one.message]
    assert len(said) == len(strange) == len(merge(found, (), OWNER).clashes)


@given(RULES, st.sampled_from(["prod/shop/databosun.json", "prod/shop/orders/backups/b1/manifest.json"]))
def test_whatever_would_delete_or_archive_ours_is_said(found: list[dict[str, Any]], key: str) -> None:
    harmful = {
        rule["ID"]
        for rule in found
        if rule["Status"] == "Enabled"
        and not rule["ID"].startswith(OWNER.ids)
        and not rule["Filter"]["And"]["Tags"]
        and key.startswith(rule["Filter"]["And"]["Prefix"])
        and ("Expiration" in rule or any(one["StorageClass"] == "GLACIER" for one in rule.get("Transitions", ())))
    }
    said = {one.message.split()[1] for one in conflicts(found, OWNER, "prod/shop", ())}
    assert harmful <= said


@given(transitions())
def test_our_rules_only_move_and_bear_one_id_for_each_class(steps: list[TransitionOrder]) -> None:
    rules = render(OWNER, steps)
    assert all(set(rule) == {"ID", "Status", "Filter", "Transitions"} for rule in rules)
    assert [rule["ID"] for rule in rules] == [f"databosun/c1/shop/cold/{one.storage_class}" for one in steps]
    assert not list(conflicts(rules, OWNER, "prod/shop", ()))
    assert not differences(rules, tuple(reversed(rules)))
    changed = [{**rule, "Status": "Disabled"} for rule in rules]
    assert len(differences(rules, changed)) == 2 * len(rules)
