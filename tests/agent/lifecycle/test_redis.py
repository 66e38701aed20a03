"""Rules on keys of Redis and Valkey: what goes, what stays, and what is refused before anything is touched."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.lifecycle import pacemaker
from databosun.agent.lifecycle.ledger import Ledger
from databosun.api.lifecycle import ActionType, HoldOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.domain.keypatterns import PatternFault, read_pattern
from databosun.domain.lifecycleview import plan_status
from databosun.engines.lifecycle import hash_key
from databosun.engines.redis.lifecycle import keys, scan
from databosun.engines.redis.lifecycle import master as mastering
from databosun.engines.redis.lifecycle.faults import GRANTS
from databosun.engines.redis.lifecycle.keys import RedisKeys
from databosun.engines.redis.resp import ReplyError
from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.redislifecycling import (
    LASTING,
    NAME,
    OTHERS,
    SESSIONS,
    SMALL,
    RedisKeeper,
    admit,
    after_looks,
    after_steps,
    expire,
    prepare,
    rule,
)
from support.redisserver import PRODUCTS, Server, content
from support.rulekeeping import DAY, HASH_KEY, NOW, result_of
from support.waiting import eventually

pytestmark = pytest.mark.servers
LONG = 10 * DAY
MONTH = 30 * DAY * 1000


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Server]]:
    """Servers, each made on first use."""
    found: dict[str, Server] = {}
    yield found
    for server in found.values():
        server.remove()


def keeper_of(made: dict[str, Server], product: str, folder: Path) -> RedisKeeper:
    """A fresh database and a pod."""
    if product not in made:
        made[product] = Server(product)
    prepare(made[product])
    return RedisKeeper(made[product], Workplace(folder / "pod"), make_age_key(folder))


@pytest.fixture(params=PRODUCTS)
def keeper(request: pytest.FixtureRequest, made: dict[str, Server], tmp_path: Path) -> RedisKeeper:
    """Of each product."""
    return keeper_of(made, request.param, tmp_path)


@pytest.fixture
def plain(made: dict[str, Server], tmp_path: Path) -> RedisKeeper:
    """Of Redis 7, where products do not differ."""
    return keeper_of(made, "redis", tmp_path)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has been the master for a year."""
    monkeypatch.setattr(mastering, "_known", lambda *_: 365 * DAY)


def idle(keeper: RedisKeeper, name: str, seconds: int, value: str = "old") -> None:
    """A key that nobody used for so long."""
    keeper.server.call("SET", "made", value)
    dumped = keeper.server.call("DUMP", "made")
    assert isinstance(dumped, bytes)
    keeper.server.call("RESTORE", name, 0, dumped, "REPLACE", "IDLETIME", seconds)
    keeper.server.call("DEL", "made")


def refused(keeper: RedisKeeper, asked: RuleOrder, **more: Any) -> tuple[str, str]:
    """Reason and message of a rule that touches nothing."""
    before = keeper.ends().keys()
    done = keeper.carry_out(asked, **more)["sessions"]
    assert (done.state, keeper.ends().keys()) == (RuleState.REFUSED, before)
    assert done.failure is not None
    return done.failure.reason, done.failure.message


def test_a_look_counts_measures_and_changes_nothing(keeper: RedisKeeper) -> None:
    before = keeper.ends().keys()
    found = keeper.look(rule(), expire(name="ends"))
    one, ends = (facts.counts for facts in found.facts)
    assert (one.rows, one.eligible, ends.eligible) == (SESSIONS + OTHERS, SESSIONS, LASTING)
    assert one.pattern is not None
    assert (one.pattern.keys, one.pattern.lasting) == (SESSIONS, LASTING)
    used = keeper.server.calls([("MEMORY", "USAGE", NAME.format(number=number)) for number in range(SESSIONS)])
    assert one.bytes == one.pattern.bytes == sum(size for size in used if isinstance(size, int))
    names = {hash_key(HASH_KEY.encode(), [NAME.format(number=number)]) for number in range(SESSIONS)}
    assert len(one.samples) == 10
    assert set(one.samples) < names
    assert keeper.ends().keys() == before
    assert "anna" not in found.model_dump_json()
    shown = plan_status(found, "run").rules
    assert [(each.name, each.table, each.refusals) for each in shown] == [
        ("sessions", "db0 session:*", []),
        ("ends", "db0 session:*", []),
    ]


@pytest.mark.parametrize("asked", [rule(), expire()])
def test_asking_for_grants_does_nothing_of_what_is_granted(keeper: RedisKeeper, asked: RuleOrder) -> None:
    keeper.server.call("SET", read_pattern("session:*").specimen, 1)
    keeper.look(asked)
    assert keeper.ends()["session:"] == -1


def test_a_delete_takes_the_keys_of_the_pattern_and_no_others(keeper: RedisKeeper) -> None:
    ran = keeper.enforce(rule(), batch=SMALL)
    (done,) = result_of(ran).outcomes
    assert (done.state, done.deleted, done.remaining) == (RuleState.COMPLETED, SESSIONS, 0), done
    assert done.bytes_logical > SESSIONS * 100
    assert len(keeper.names()) == OTHERS
    assert not keeper.names("session:*")
    assert keeper.server.calls([("DBSIZE",)], db=3) == [10]
    archive = keeper.archive()
    listed: set[str] = set()
    for link in archive.links():
        if "keys" in link:
            packed = archive.store.get(f"{archive.root}/audit/{link['number']:06d}.keys.zst", limit=1 << 24)
            listed |= set(archive.unpack(packed).decode().split())
    assert listed == {hash_key(HASH_KEY.encode(), [NAME.format(number=one)]) for one in range(SESSIONS)}
    assert "anna" not in ran.output + result_of(ran).model_dump_json() + str(archive.links())


def test_a_rule_works_on_the_database_of_its_number(keeper: RedisKeeper) -> None:
    keeper.number = "3"
    assert keeper.look(rule()).facts[0].tables[0].name == "db3 session:*"
    assert keeper.carry_out(rule())["sessions"].deleted == 10
    assert len(keeper.names()) == SESSIONS + OTHERS


def test_an_end_is_given_to_keys_that_have_none_and_is_never_put_off(keeper: RedisKeeper) -> None:
    before = keeper.ends()
    done = keeper.carry_out(expire(), batch=SMALL)["sessions"]
    assert (done.state, done.expiring, done.deleted, done.remaining) == (RuleState.COMPLETED, LASTING, 0, 0)
    for name, left in keeper.ends().items():
        if not name.startswith("session:"):
            assert left == -1
        elif before[name] == -1:
            assert 0 < left <= DAY * 1000
        else:
            assert DAY * 1000 < left <= before[name]
    assert keeper.carry_out(expire())["sessions"].expiring == 0


def test_a_longer_end_is_brought_nearer_only_where_that_is_said(keeper: RedisKeeper) -> None:
    keeper.server.call("PEXPIRE", NAME.format(number=0), 5000_000)
    done = keeper.carry_out(expire(shorten=True))["sessions"]
    ends = {left for name, left in keeper.ends().items() if name.startswith("session:")}
    assert done.expiring == SESSIONS - 1
    assert min(ends) <= 5000_000 < max(ends) <= DAY * 1000


@pytest.mark.parametrize("asked", [rule(), expire(shorten=True)])
def test_what_a_hold_names_survives_every_action(keeper: RedisKeeper, asked: RuleOrder) -> None:
    holds = [
        HoldOrder(name="case", keys="session:*:1[0-4]", reason="court"),
        HoldOrder(name="over", keys="session:*:2?", reason="court", until=NOW.replace(year=2020)),
    ]
    held = {NAME.format(number=number) for number in range(10, 15)}
    before = keeper.ends()
    counts = keeper.look(asked, holds=holds).facts[0].counts
    assert (counts.eligible, counts.held) == (SESSIONS - 5, 5)
    done = keeper.carry_out(asked, holds=holds, batch=SMALL)["sessions"]
    after = keeper.ends()
    assert done.deleted + done.expiring == SESSIONS - 5
    assert {name: after[name] for name in held} == {name: before[name] for name in held}
    assert all(one == -1 for one in (after[name] for name in held))


@pytest.mark.parametrize(
    ("hold", "reason", "words"),
    [
        (HoldOrder(name="case", reason="court"), "BlockedByHold", "holds all of it"),
        (HoldOrder(name="case", table="orders", reason="court"), "RuleNotReadable", "Redis has no tables"),
        (HoldOrder(name="case", keys="a[b", reason="court"), "RuleNotReadable", "bracket is not closed"),
    ],
)
def test_a_hold_that_cannot_be_told_apart_holds_all(
    plain: RedisKeeper, hold: HoldOrder, reason: str, words: str
) -> None:
    found = refused(plain, rule(), holds=[hold])
    assert found[0] == reason
    assert words in found[1]


def test_a_rule_stops_at_its_limits(plain: RedisKeeper) -> None:
    first = plain.carry_out(rule(limits={"max_rows_per_run": 50}), batch=SMALL)["sessions"]
    assert (first.state, first.deleted, first.remaining) == (RuleState.LIMITED, 50, SESSIONS - 50)
    reason, message = refused(plain, rule(limits={"max_percent": 50}))
    assert reason == "PlanGrew"
    assert f"{SESSIONS - 50} of {SESSIONS + OTHERS - 50} keys match" in message


@pytest.mark.parametrize("pattern", ["*", "**", "?*"])
def test_a_pattern_that_means_every_key_is_refused_until_that_is_said(plain: RedisKeeper, pattern: str) -> None:
    reason, message = refused(plain, rule(keys=pattern))
    assert reason == "RuleNotReadable"
    assert "target.everyKey" in message
    assert refused(plain, rule(keys=pattern, every_key=True, limits={"max_percent": 90}))[0] == "PlanGrew"
    assert plain.carry_out(rule(keys=pattern, every_key=True))["sessions"].state is RuleState.COMPLETED
    assert not plain.names()


@pytest.mark.usefixtures("known")
def test_keys_that_nobody_used_go_and_those_that_somebody_used_stay(keeper: RedisKeeper) -> None:
    for number in range(40):
        idle(keeper, NAME.format(number=number), LONG + number * 60)
    idle(keeper, NAME.format(number=50), LONG - 3600)
    asked = rule(idle_seconds=LONG)
    counts = keeper.look(asked).facts[0].counts
    assert (counts.eligible, counts.inflow_per_day) == (40, 1)
    assert counts.oldest is not None
    assert abs((NOW - counts.oldest).total_seconds() - LONG - 39 * 60) < 60
    keeper.server.call("GET", NAME.format(number=0))
    done = keeper.carry_out(asked)["sessions"]
    assert (done.deleted, done.remaining) == (39, 0)
    assert NAME.format(number=0).encode() in keeper.names()
    assert len(keeper.names("session:*")) == SESSIONS - 39


@pytest.mark.usefixtures("known")
def test_a_key_that_is_used_between_the_look_and_the_delete_stays(
    keeper: RedisKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        idle(keeper, NAME.format(number=number), LONG)
    saved = NAME.format(number=7).encode()
    after_looks(monkeypatch, lambda _: keeper.server.call("GET", saved))
    done = keeper.carry_out(rule(idle_seconds=LONG))["sessions"]
    assert done.deleted == 39
    assert saved in keeper.names()


def test_an_end_that_the_application_sets_meanwhile_stays(keeper: RedisKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    name = NAME.format(number=7)
    after_looks(monkeypatch, lambda _: keeper.server.call("PEXPIRE", name, MONTH))
    done = keeper.carry_out(expire())["sessions"]
    assert done.expiring == LASTING - 1
    assert keeper.ends()[name] > DAY * 1000


def test_keys_without_idle_times_are_not_deleted_by_them(plain: RedisKeeper) -> None:
    reason, message = refused(plain, rule(idle_seconds=LONG))
    assert reason == "RuleNotReadable"
    assert "is known to have been the master for" in message
    plain.server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        assert "keeps no idle times under maxmemory-policy allkeys-lfu" in refused(plain, rule(idle_seconds=1))[1]
        assert plain.carry_out(rule())["sessions"].state is RuleState.COMPLETED
    finally:
        plain.server.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize("asked", [rule(), expire(), rule(idle_seconds=LONG)])
@pytest.mark.usefixtures("known")
def test_what_is_not_granted_is_named_with_the_command_that_grants_it(keeper: RedisKeeper, asked: RuleOrder) -> None:
    done = {ActionType.DELETE: "unlink", ActionType.EXPIRE: "pexpire"}[asked.action]
    for grants, words in (
        ("+info", ["~session:*", "+multi", f"+{done}"]),
        (f"~* {GRANTS} -scan -eval", ["+scan +eval"]),
        (f"~order:* {GRANTS}", ["~session:*"]),
        (f"~* {GRANTS} -{done}", [f"+{done}"]),
    ):
        admit(keeper.server, grants)
        facts = keeper.look(asked).facts[0]
        (command,) = facts.grants
        assert command.startswith("ACL SETUSER keeper ")
        assert all(word in command for word in words), command
        assert refused(keeper, asked)[0] == "PermissionDenied"
        while command:
            keeper.server.call(*command.split())
            again = keeper.look(asked).facts[0]
            assert (again.fault, len(again.grants) <= 1) == (None, True)
            command = again.grants[0] if again.grants else ""
        assert keeper.look(asked).facts[0].counts.rows == SESSIONS + OTHERS
    for name in range(3):
        idle(keeper, NAME.format(number=name), LONG)
    assert keeper.carry_out(asked)["sessions"].state is RuleState.COMPLETED


def test_actions_that_keys_do_not_have_are_refused(plain: RedisKeeper) -> None:
    asked = rule(action=ActionType.ARCHIVE)
    assert "this release has no Archive for Redis; it has Delete, Expire" in refused(plain, asked)[1]
    assert "Redis has keys; expected target.keyPattern" in refused(plain, rule(keys=None, table="orders"))[1]


def test_another_pattern_or_number_is_another_plan(plain: RedisKeeper) -> None:
    hashes = [plain.look(one).plan_hash for one in (rule(), rule(keys="session*"), rule(idle_seconds=1), expire())]
    plain.number = "3"
    assert len({*hashes, plain.look(rule()).plan_hash}) == 5
    plain.number = None
    plain.server.call("SET", "session:more", 1)
    assert plain.look(rule()).plan_hash == hashes[0]
    ran = plain.enforce(rule(), approved=hashes[1])
    assert ran.result.reason == "PlanChanged"
    assert len(plain.names()) == SESSIONS + OTHERS + 1


def test_a_lost_connection_is_made_anew(plain: RedisKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    after_steps(monkeypatch, lambda number: plain.cut() if number in (2, 4) else None)
    ran = plain.enforce(rule(), batch=SMALL)
    (done,) = result_of(ran).outcomes
    assert done.state is RuleState.COMPLETED, done
    assert SESSIONS - 2 * 20 <= done.deleted <= SESSIONS
    assert len(plain.names()) == OTHERS
    assert any("connections were lost" in note for note in result_of(ran).notes)


def test_an_attempt_goes_on_where_one_that_died_stopped(plain: RedisKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        """As a process does: it says nothing more."""

    def die(number: int) -> None:
        if number == 3:
            patch.setattr(Ledger, "write", dead)
            raise Died

    def dead(*_: Any, **__: Any) -> int:
        raise Died

    hash_of = plain.look(limited := rule(limits={"max_rows_per_run": 250})).plan_hash
    with monkeypatch.context() as patch:
        after_steps(patch, die)
        with suppress(Died):
            plain.enforce(limited, approved=hash_of, batch=SMALL)
    gone = SESSIONS - len(plain.names("session:*"))
    assert 60 <= gone < 250
    done = result_of(plain.enforce(limited, approved=hash_of, attempt=2, batch=SMALL)).outcomes[0]
    assert done.state is RuleState.LIMITED
    assert SESSIONS - len(plain.names("session:*")) == gone  # for all that it knows, all that was granted is
    plain.runs += 1
    assert plain.carry_out(rule(), batch=SMALL)["sessions"].deleted == SESSIONS - gone


def test_replicas_have_what_their_master_did(made: dict[str, Server], tmp_path: Path) -> None:
    """Also where Redis 6 would send scripts, and a replica has its own idea of who used what."""
    master = Server("redis6", settings=["lua-replicate-commands no"])
    replica = Server("redis6", settings=["lua-replicate-commands no"])
    try:
        replica.follow(master)
        prepare(master)
        keeper = RedisKeeper(master, Workplace(tmp_path / "pod"), make_age_key(tmp_path))
        assert keeper.carry_out(expire(shorten=True, keys="session:*[0-4]"))["sessions"].expiring == SESSIONS // 2
        assert keeper.carry_out(rule(keys="session:*[5-9]"))["sessions"].deleted == SESSIONS // 2
        master.call("SET", "last", 1)
        eventually("the replica has it all", lambda: replica.call("GET", "last") == b"1")
        with master.connect() as one, replica.connect() as other:
            assert content(one) == content(other)
    finally:
        master.remove()
        replica.remove()


@pytest.mark.parametrize("product", PRODUCTS)
def test_patterns_are_understood_as_the_server_does(made: dict[str, Server], tmp_path: Path, product: str) -> None:
    keeper = keeper_of(made, product, tmp_path)
    keeper.server.call("FLUSHALL")
    chance = random.Random(5)
    letters = "ab-]^["
    names = {
        "".join(chance.choice([*letters, "\\", "é", "*", "?"]) for _ in range(chance.randint(1, 4))) for _ in range(300)
    }
    keeper.server.calls([("SET", name, 1) for name in names])
    pieces = [*letters, "*", "?", "[", "]", "[^", "[a-b]", "\\", "\\*", "[ab]", "é", "-", "[]", "**"]
    read = 0
    for _ in range(1500):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 6)))
        with suppress(PatternFault):
            pattern = read_pattern(text)
            said = keeper.server.call("SCAN", 0, "MATCH", text, "COUNT", 10_000)
            assert isinstance(said, list)
            assert isinstance(said[1], list)
            assert {one.encode() for one in names if pattern.matches(one.encode())} == set(said[1]), text
            assert pattern.matches(pattern.specimen), text
            read += 1
    assert read > 500


def test_a_long_stretch_of_other_keys_is_no_end(plain: RedisKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one pass: another one would find what the first had left."""
    monkeypatch.setattr(scan, "AT_ONCE", 5)
    monkeypatch.setattr(keys, "SCAN_SECONDS", 0)
    passes: list[RedisKeys] = []
    monkeypatch.setattr(RedisKeys, "restart", passes.append)
    done = plain.carry_out(rule(keys="session:*:29?"), batch=SMALL)["sessions"]
    assert (done.state, done.deleted, passes) == (RuleState.COMPLETED, 10, [])


def test_a_script_takes_few_keys_at_once(plain: RedisKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    original = RedisKeys._act

    def act(self: RedisKeys, master: Any, picked: list[bytes]) -> list[bytes]:
        taken.append(len(picked))
        return original(self, master, picked)

    plain.server.calls([("SET", f"session:{number}", 1) for number in range(2000)])
    monkeypatch.setattr(RedisKeys, "_act", act)
    done = plain.carry_out(rule(), batch={"rows": 100_000, "target_milliseconds": 60_000, "pause_milliseconds": 0})
    assert done["sessions"].deleted == 2000 + SESSIONS
    assert max(taken) <= 250


def test_a_step_waits_while_the_server_has_other_things_to_do(
    plain: RedisKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["3 values wait to be freed", ""]
    monkeypatch.setattr(mastering, "_busy", lambda *_: said.pop(0) if said else "")
    monkeypatch.setattr(pacemaker, "LOOK_SECONDS", 0.05)
    ran = plain.enforce(rule())
    assert result_of(ran).outcomes[0].throttled_seconds >= 0.05
    assert [one["message"] for one in ran.lines if one["event"] == "throttled"] == ["3 values wait to be freed"]


def test_the_number_of_a_database_is_demanded(plain: RedisKeeper) -> None:
    plain.number = "shop"
    plain.runs += 1
    ran = plain.place.run(plain.task(rule()), database=plain.database)
    assert ran.result.reason == "NoSuchDatabase"
    with pytest.raises(ReplyError):
        plain.server.call("SELECT", "shop")
