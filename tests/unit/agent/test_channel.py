"""Chunks are handed on in order, in bounded number, and a failure wakes whoever waits."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.agent.channel import CHUNK_BYTES, Channel, Coalescer


def test_a_slow_reader_holds_the_writer_up() -> None:
    channel, taken = Channel(3), []

    def write() -> None:
        for number in range(50):
            channel.put(b"%d" % number)
        channel.put(None)

    writer = threading.Thread(target=write)
    writer.start()
    while (chunk := channel.get()) is not None:
        taken.append(bytes(chunk))
    writer.join()
    assert taken == [b"%d" % n for n in range(50)]
    assert channel.deepest <= 3


@pytest.mark.parametrize("waits_in", ["put", "get"])
def test_a_failure_wakes_who_waits(waits_in: str) -> None:
    channel, seen = Channel(1), []

    def wait() -> None:
        try:
            if waits_in == "get":
                channel.get()
            else:
                channel.put(b"1")
                channel.put(b"2")
        except ValueError as error:
            seen.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    channel.fail(ValueError("first"))
    channel.fail(ValueError("second"))
    thread.join(30)
    assert not thread.is_alive()
    assert seen == ["first"]


@given(
    st.lists(st.tuples(st.sampled_from([bytes, bytearray, memoryview]), st.integers(0, CHUNK_BYTES * 2)), max_size=6)
)
def test_no_byte_is_lost_changed_or_kept_by_reference(pieces: list[tuple[type, int]]) -> None:
    coalescer, out, expected = Coalescer(), [], bytearray()
    for number, (kind, size) in enumerate(pieces):
        data = bytes([number + 1]) * size
        expected += data
        given_ = bytearray(data)
        out += coalescer.feed(data if kind is bytes else given_ if kind is bytearray else memoryview(given_))
        given_[:] = b"\xff" * len(given_)  # the engine uses its buffer again
    out += coalescer.flush()
    assert b"".join(out) == bytes(expected)
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in out)
