"""Whether a Redis that is struck keeps what it acknowledged, by its own INFO."""

from __future__ import annotations

import pytest

from databosun.engines.redis.failover.guards import kept_guard
from databosun.engines.redis.failover.nodes import parse_node

KEEPS = {
    "role": "master",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
}


@pytest.mark.parametrize(
    ("said", "observed"),
    [
        ({"aof_enabled": "0"}, "appendonly no"),
        ({"aof_last_write_status": "err"}, "aof_last_write_status err"),
        ({"aof_rewrite_in_progress": "1"}, "aof_rewrite_in_progress 1"),
        ({"aof_rewrite_scheduled": "1"}, "aof_rewrite_scheduled 1"),
    ],
)
def test_one_that_may_come_back_with_less_is_not_to_be_struck(said: dict[str, str], observed: str) -> None:
    guard = kept_guard(parse_node(_info(KEEPS | said)))
    assert (guard.ok, guard.observed) == (False, observed)
    assert guard.message
    assert kept_guard(parse_node(_info(KEEPS))).ok


def test_one_that_says_nothing_of_it_is_not_taken_to_keep_anything() -> None:
    assert not kept_guard(parse_node(b"role:master\r\n")).ok
    assert not kept_guard(None).ok


def _info(said: dict[str, str]) -> bytes:
    return "".join(f"{name}:{value}\r\n" for name, value in said.items()).encode()
