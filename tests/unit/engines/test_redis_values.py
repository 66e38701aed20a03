"""Lists that others take from while they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from databosun.domain.errors import UserFault
from databosun.engines.redis.resp import Wire
from databosun.engines.redis.values import AT_ONCE, LIST_AT_ONCE_BYTES, TRIES, read_value

LARGE = LIST_AT_ONCE_BYTES + 1


class Peer:
    """A server of one list, on which others work after some of our questions."""

    def __init__(self, meanwhile: Callable[[list[bytes], int], None]) -> None:
        self.elements = [b"%d" % number for number in range(3 * AT_ONCE)]
        self.asked = 0
        self.longest = 0
        self._meanwhile = meanwhile

    def call(self, command: str, name: bytes, first: int, last: int) -> list[bytes]:
        """LRANGE, and then what others do."""
        assert (command, name) == ("LRANGE", b"cart")
        found = self.elements[first:] if last == -1 else self.elements[first : last + 1]
        self.asked += 1
        self.longest = max(self.longest, len(found))
        self._meanwhile(self.elements, self.asked)
        return found


def _read(peer: Peer, size: int | None) -> Any:
    found = read_value(cast(Wire, peer), b"cart", "list", size)
    assert found is not None
    return found["value"]


def _numbers(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def _pop_once(elements: list[bytes], asked: int) -> None:
    if asked == 1:
        del elements[:100]


def _pop(elements: list[bytes], asked: int) -> None:
    del elements[: 1 + asked % 2]


def test_a_small_list_is_one_answer() -> None:
    peer = Peer(_pop)
    assert _read(peer, LIST_AT_ONCE_BYTES) == _numbers(0, 3 * AT_ONCE)
    assert peer.asked == 1


@pytest.mark.parametrize("size", [LARGE, None])
def test_a_large_list_from_which_others_took_is_read_anew(size: int | None) -> None:
    peer = Peer(_pop_once)
    assert _read(peer, size) == _numbers(100, 3 * AT_ONCE)
    assert peer.longest == AT_ONCE


def test_what_was_taken_or_put_in_the_middle_is_seen() -> None:
    def work(elements: list[bytes], asked: int) -> None:
        if asked == 2:
            del elements[10]
            elements.insert(2 * AT_ONCE + 10, b"new")

    peer = Peer(work)
    assert _read(peer, LARGE) == [one.decode() for one in peer.elements]


def test_what_is_only_put_behind_the_end_keeps_nobody_waiting() -> None:
    peer = Peer(lambda elements, asked: elements.append(b"later %d" % asked))
    found = _read(peer, LARGE)
    assert found[: 3 * AT_ONCE] == _numbers(0, 3 * AT_ONCE)
    assert peer.asked <= 10, "each piece twice"


def test_a_large_list_that_never_stands_still_is_refused_and_not_named() -> None:
    peer = Peer(_pop)
    with pytest.raises(UserFault) as caught:
        _read(peer, LARGE)
    assert caught.value.reason == "RuleNotReadable"
    assert f"changed each of {TRIES} times" in caught.value.message
    assert "cart" not in caught.value.message
