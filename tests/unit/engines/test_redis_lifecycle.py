"""The pure parts of rules on keys: what keeps a step from beginning, what kind of trouble an answer is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from databosun.domain.errors import WorldFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.redis.lifecycle import master
from databosun.engines.redis.lifecycle.faults import stepping
from databosun.engines.redis.resp import ReplyError

CALM = {
    "master_repl_offset": "1000",
    "repl_backlog_size": "1000",
    "slave0": "ip=a,port=1,state=online,offset=900,lag=1",
}


@pytest.mark.parametrize(
    ("said", "took", "words"),
    [
        ({}, 0.01, ""),
        ({}, 0.5, "took 0.50 s to answer"),
        ({"slave0": "ip=a,port=1,state=online,offset=400,lag=0"}, 0.0, "a replica is behind by 600 bytes"),
        ({"slave1": "ip=b,port=1,state=wait_bgsave,offset=0,lag=0"}, 0.0, "1 replicas are being copied to"),
        ({"lazyfree_pending_objects": "100001"}, 0.0, "100001 values wait to be freed"),
    ],
)
def test_a_server_that_has_other_things_to_do_is_waited_for(said: dict[str, str], took: float, words: str) -> None:
    found = {**CALM, **said}
    replicas = [master._pairs(text) for name, text in found.items() if name.startswith("slave")]
    busy = master._busy(found, replicas, took)
    assert (words in busy, bool(busy)) == (True, bool(words))


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("READONLY You can't write against a read only replica.", Trouble.LOST),
        ("ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write", Trouble.LOST),
        ("LOADING Redis is loading the dataset in memory", Trouble.LOST),
        ("NOREPLICAS Not enough good replicas to write.", Trouble.BUSY),
        ("BUSY Redis is busy running a script.", Trouble.BUSY),
        ("MISCONF Redis is configured to save RDB snapshots", Trouble.BUSY),
        ("WRONGTYPE Operation against a key", Trouble.PERMANENT),
        ("NOPERM this user has no permissions to run the 'unlink' command", Trouble.PERMANENT),
    ],
)
def test_what_passes_by_itself_is_told_from_what_does_not(said: str, trouble: Trouble) -> None:
    with pytest.raises(RuleFault) as caught, _failing(ReplyError(said)):
        pass
    assert caught.value.trouble is trouble
    if "NOPERM" in said:
        assert caught.value.reason == "PermissionDenied"
        assert "ACL SETUSER keeper ~PATTERN" in caught.value.message


def test_a_connection_that_is_gone_is_made_anew() -> None:
    with pytest.raises(RuleFault) as caught, _failing(WorldFault("ConnectionLost", "it hung up")):
        pass
    assert (caught.value.trouble, caught.value.reason) == (Trouble.LOST, "ConnectionLost")


@contextmanager
def _failing(error: Exception) -> Iterator[None]:
    with stepping("working", "keeper"):
        yield
        raise error
