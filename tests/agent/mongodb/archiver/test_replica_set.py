"""Which member's oplog is shipped, what of it counts, what elections and rollbacks make of it: scripted members."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64

from agent.mongodb.conftest import target_of
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.domain.wal import first_history, lsn_of, parse_lsn
from databosun.engines.base import Target
from databosun.engines.mongodb.archiver import ARCHIVER
from databosun.engines.mongodb.positions import FILE_SECONDS
from support.mongoarchiving import Life
from support.mongopeer import MongoPeer, Refused, entry
from support.waiting import eventually

pytestmark = pytest.mark.servers

Make = Callable[..., MongoPeer]
Lives = Callable[[Target], Life]
# The first second of a file that lies a little in the past.
BEGAN = (int(time.time()) // FILE_SECONDS - 20) * FILE_SECONDS


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Lives]:
    """One life of an archiver after the other, into one folder."""
    made: list[Life] = []

    def make(target: Target) -> Life:
        made.append(Life(target, tmp_path))
        return made[-1]

    yield make
    for life in made:
        life.stop.set()


def entries(*seconds: int, term: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [entry(BEGAN + second, term=term, **more) for second in seconds]


def shipped(life: Life) -> list[tuple[int, int]]:
    """Second and term of all that the store has."""
    return [(one["ts"].time - BEGAN, int(one["t"])) for _, data in life.files() for one in bson.decode_all(data)]


def is_look(command: dict[str, Any]) -> bool:
    """Whether entries from one to another are asked for."""
    return "$lte" in str(command.get("filter"))


def until(life: Life, *seconds: int) -> None:
    """Wait until the store has just these, and end."""
    known = list(seconds)
    eventually(f"the store has {known}", lambda: bool(life.line.lsn) and [one for one, _ in shipped(life)] == known)
    life.end()


def test_only_what_a_majority_has_is_shipped_and_vouched_for(members: Make, live: Lives) -> None:
    peer = members().keep_oplog(*entries(0, 1, 2, 3)).wrote(BEGAN + 3, majority=BEGAN + 1)
    life = live(target_of(peer))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    assert shipped(life) == [(0, 1), (1, 1)]
    assert life.line.recoverable_at == datetime.fromtimestamp(BEGAN, UTC)
    peer.wrote(BEGAN + 3)
    before = datetime.now(UTC)
    eventually("all is", lambda: (life.line.recoverable_at or before) > before)
    until(life, 0, 1, 2, 3)
    asked = [one for one in peer.asked("find", "local.oplog.rs") if is_look(one)]
    assert asked
    assert {one["readConcern"]["level"] for one in asked} == {"majority"}
    assert not any(one.get("noCursorTimeout") or one.get("tailable") for one in peer.calls)


def test_silence_is_vouched_for_only_where_no_other_can_have_been_elected(members: Make, live: Lives) -> None:
    first, second = members().keep_oplog(*entries(0, 1)), members(role="secondary")
    first.hello["hosts"] = second.hello["hosts"] = [first.name, second.name]
    began = datetime.now(UTC)
    life = live(target_of(first))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    vouched = life.line.recoverable_at
    assert vouched is not None
    # It looked after it began, and before now.
    assert began - timedelta(seconds=16) < vouched < datetime.now(UTC) - timedelta(seconds=14)
    life.end()


def test_a_primary_that_steps_down_is_left_for_the_one_that_follows(members: Make, live: Lives) -> None:
    old, new = members().keep_oplog(*entries(0, 1)), members(role="secondary")
    old.hello["hosts"] = new.hello["hosts"] = [old.name, new.name]
    life = live(target_of(old))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    new.keep_oplog(*entries(0, 1), *entries(40, 41, term=2))
    old.hello |= {"isWritablePrimary": False, "secondary": True}
    new.hello |= {"isWritablePrimary": True, "secondary": False}
    until(life, 0, 1, 40, 41)
    assert life.line.host == new.name
    assert not life.log().gaps


def test_a_branch_that_an_election_took_back_is_a_gap(members: Make, live: Lives) -> None:
    """What the store has can only have been taken back by force: a majority had it."""
    peer = members().keep_oplog(*entries(0, 1, 2))
    until(live(target_of(peer)), 0, 1, 2)
    peer.keep_oplog(*entries(0, term=2), *entries(70, 71, term=2))
    life = live(target_of(peer))
    eventually("it says a gap", lambda: life.line.gaps == 1)
    eventually("it goes on", lambda: shipped(life)[-1:] == [(71, 2)])
    life.end()
    (gap,) = life.log().gaps
    assert gap.reason == "OplogDiverged"
    assert "of term 2" in gap.message
    assert parse_lsn(gap.end) >> 32 == (BEGAN + 70) // FILE_SECONDS


def test_an_oplog_that_is_overrun_while_it_is_read_is_a_gap(members: Make, live: Lives) -> None:
    peer = members().keep_oplog(*entries(0, 1))
    life = live(target_of(peer))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    peer.keep_oplog(*entries(100, 130, 131))
    eventually("it says a gap", lambda: life.line.gaps == 1)
    # 120 begins a file that is whole; of the one before, nobody knows what is gone.
    until(life, 0, 1, 130, 131)
    (gap,) = life.log().gaps
    assert gap.reason == "OplogOverrun"


def test_an_overrun_within_the_file_that_the_store_has_waits_for_the_next_one(members: Make, live: Lives) -> None:
    """Until then it says what is wrong; afterwards the hole is one for whoever lists the log."""
    peer = members().keep_oplog(*entries(0, 1))
    life = live(target_of(peer))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    peer.keep_oplog(*entries(5, 6))
    eventually("it says so", lambda: life.line.trouble is not None and "behind a gap" in life.line.trouble.message)
    assert life.line.trouble
    assert life.line.trouble.reason == "OplogOverrun"
    assert not life.log().gaps
    peer.keep_oplog(*entries(5, 6, FILE_SECONDS))
    until(life, 0, 1, FILE_SECONDS)
    (gap,) = life.log().gaps
    begin = lsn_of(BEGAN // FILE_SECONDS)
    found = life.log().coverage(first_history(), begin, parse_lsn(gap.end) + 1)
    assert not found.whole
    assert begin < found.reached == parse_lsn(gap.begin)


def test_another_set_ends_the_archiver_and_a_sharded_one_is_refused(members: Make, live: Lives) -> None:
    peer = members().keep_oplog(*entries(0, 1))
    life = live(target_of(peer))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    peer.spaces["local.system.replset"][0]["settings"]["replicaSetId"] = bson.ObjectId(b"1" * 12)
    peer.hello["isWritablePrimary"] = False
    eventually("it looks anew", lambda: life.line.trouble is not None)
    peer.hello["isWritablePrimary"] = True
    eventually("it has ended", lambda: life.fault is not None)
    with pytest.raises(WorldFault, match="AnotherServer"):
        life.end()
    peer.spaces["admin.system.version"] = [{"_id": "shardIdentity"}]
    (found,) = ARCHIVER.preflight(target_of(peer), allow_unbounded=False)
    assert found.reason == Reason.SHARDED_UNSUPPORTED


def test_a_missing_grant_is_said_with_the_statement_that_mends_it(members: Make, live: Lives) -> None:
    peer = members().keep_oplog(*entries(0, 1))
    peer.refused.add("local.oplog.rs")
    (found,) = ARCHIVER.preflight(target_of(peer), allow_unbounded=False)
    assert found.reason == Reason.PERMISSION_DENIED
    assert "grantRolesToUser" in (found.fix or "")
    life = live(target_of(peer))
    eventually("it says so", lambda: life.line.trouble is not None)
    trouble = life.line.trouble
    assert trouble
    assert (trouble.reason, trouble.actor) == ("PermissionDenied", "User")
    assert "grantRolesToUser" in trouble.message
    peer.refused.clear()
    until(life, 0, 1)


def lost_cursor(_: dict[str, Any]) -> dict[str, Any]:
    raise Refused(43, "cursor id 77 not found")


def test_a_cursor_that_the_server_gave_up_is_taken_up_again(members: Make, live: Lives) -> None:
    peer = members().keep_oplog(*entries(0, 1))
    life = live(target_of(peer))
    eventually("it is shipped", lambda: life.line.recoverable_at is not None)
    lost = iter([True])

    def find(command: dict[str, Any]) -> dict[str, Any]:
        if is_look(command) and next(lost, False):
            cursor = {"id": Int64(77), "ns": "local.oplog.rs", "firstBatch": peer.spaces["local.oplog.rs"][1:2]}
            return {"cursor": cursor}
        return peer._find(command)

    peer.on |= {"find": find, "getMore": lost_cursor, "killCursors": lambda _: {}}
    peer.keep_oplog(*entries(0, 1, 2, 3))
    until(life, 0, 1, 2, 3)
    assert not life.log().gaps
