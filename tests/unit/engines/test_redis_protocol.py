"""The copier against a scripted server: whatever a version or a network does to a full synchronisation."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.redis.connect import Endpoint
from databosun.engines.redis.resp import ReplyError, Wire, encode
from databosun.engines.redis.server import ServerFacts, parse_info
from databosun.engines.redis.sync import Synced, full_sync

HISTORY = b"0123456789abcdef0123456789abcdef01234567"
MARK = b"m" * 39 + b"!"
DATA = b"REDIS0009" + bytes(range(256)) * 40
OK = b"+OK\r\n"
INFO = b"# Server\r\nredis_version:6.0.16\r\n# Replication\r\nrole:master\r\n"


def facts(more: bytes = b"") -> ServerFacts:
    """What a server says of itself."""
    return parse_info(INFO + more, Endpoint("peer", 6379, "10.0.0.9"))


def scripted(pieces: Sequence[bytes], commands: int = 3) -> tuple[Wire, list[bytes]]:
    """A wire whose peer reads one command before each answer, sends the rest at once, and hangs up."""
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []

    def serve() -> None:
        with theirs, suppress(BrokenPipeError):  # who has heard enough hangs up
            for piece in pieces[:commands]:
                heard.append(theirs.recv(65536))
                theirs.sendall(piece)
            for piece in pieces[commands:]:
                theirs.sendall(piece)

    threading.Thread(target=serve, daemon=True).start()
    return Wire(ours, "peer:6379"), heard


def copied(*pieces: bytes, about: ServerFacts | None = None) -> tuple[Synced, bytes, list[bytes]]:
    """A full synchronisation with that peer."""
    wire, heard = scripted(pieces)
    out = bytearray()
    with wire:
        synced = full_sync(wire, about or facts(), "backup", datetime.now(UTC) + timedelta(seconds=20), out.extend)
    return synced, bytes(out), heard


def begun(header: bytes) -> bytes:
    """Line feeds while the server forks, the point, line feeds while it saves, the header."""
    return b"\n\n+FULLRESYNC " + HISTORY + b" 4711\r\n\n\n" + header + b"\r\n"


def test_a_copy_of_known_length_is_taken_to_its_end_and_no_further() -> None:
    synced, data, heard = copied(OK, OK, begun(b"$%d" % len(DATA)), DATA + b"*1\r\n$4\r\nPING\r\n")
    assert (synced, data) == (Synced(HISTORY.decode(), 4711, len(DATA)), DATA)
    assert heard == [encode("REPLCONF", "capa", "eof", "capa", "psync2"), encode("REPLCONF", "rdb-only", 1),
                     encode("PSYNC", "?", -1)]  # fmt: skip


def test_a_server_that_knows_no_rdb_only_is_copied_too() -> None:
    unknown = b"-ERR Unrecognized REPLCONF option: rdb-only\r\n"
    assert copied(OK, unknown, begun(b"$%d" % len(DATA)), DATA)[1] == DATA


@given(st.lists(st.integers(0, len(DATA) + len(MARK)), max_size=30))
def test_a_mark_is_found_however_the_stream_is_cut(cuts: list[int]) -> None:
    stream = DATA + MARK
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    synced, data, _ = copied(OK, OK, begun(b"$EOF:" + MARK), *pieces)
    assert (data, synced.bytes) == (DATA, len(DATA))


@pytest.mark.parametrize("header", [b"$EOF:" + MARK, b"$%d" % (len(DATA) + 1)])
@pytest.mark.parametrize("sent", [0, 1, 39, 41, len(DATA)])
def test_a_stream_that_ends_early_is_no_copy(header: bytes, sent: int) -> None:
    with pytest.raises(WorldFault, match=r"ConnectionLost: .*peer:6379 ended the copy"):
        copied(OK, OK, begun(header), DATA[:sent])


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (b"-NOPERM this user has no permissions to run the 'psync' command\r\n", UserFault, "PermissionDenied"),
        (b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n", WorldFault, "ReplicaStale"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", WorldFault, "ServerNotReady"),
        (b"-MISCONF errors writing to disk\r\n", WorldFault, "ServerOutOfResources"),
        (b"-ERR max number of clients reached\r\n", WorldFault, "TooManyConnections"),
        (b"+CONTINUE\r\n", WorldFault, "ProtocolError"),
        (b"+FULLRESYNC\r\n", WorldFault, "ProtocolError"),
        (begun(b"$-1"), WorldFault, "ProtocolError"),
        (begun(b"$EOF:short"), WorldFault, "ProtocolError"),
        (b"HTTP/1.1 400 Bad Request\r\n", WorldFault, "ProtocolError"),
        (b"", WorldFault, "ConnectionLost"),
    ],
)
def test_what_a_server_says_instead_names_who_must_act(answer: bytes, kind: type[DatabosunError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        copied(OK, OK, answer)
    assert caught.value.reason == reason


def test_a_server_of_the_newer_format_is_told_that_it_can_be_read() -> None:
    newer = facts(b"server_name:valkey\r\nvalkey_version:9.1.2\r\n")
    wire, heard = scripted([OK, OK, OK, begun(b"$4") + b"DATA"], commands=4)
    with wire:
        full_sync(wire, newer, "", datetime.now(UTC) + timedelta(seconds=20), lambda _: None)
    assert heard[2] == encode("REPLCONF", "version", "9.0.0")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"$-1\r\n", None), (b"*-1\r\n", None), (b":-7\r\n", -7), (b"$0\r\n\r\n", b""),
        (b"*3\r\n$1\r\na\r\n*1\r\n:2\r\n$-1\r\n", [b"a", [2], None]), (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
        (b"$%d\r\n%b\r\n" % (600_000, b"x" * 600_000), b"x" * 600_000),
    ],
)  # fmt: skip
def test_answers_are_understood(data: bytes, expected: object) -> None:
    wire, _ = scripted([data])
    with wire:
        assert wire.call("ASK") == expected


def test_an_error_inside_an_answer_is_one_of_several() -> None:
    wire, _ = scripted([b"+OK\r\n-ERR no\r\n:1\r\n"])
    with wire:
        wire.send(encode("A"))
        first, second, third = wire.answers(3)
    assert (first, str(second), third) == (b"OK", "ERR no", 1)
    assert isinstance(second, ReplyError)


def test_waiting_is_watched_and_ends() -> None:
    """A peer that says nothing: the pulse runs, and may end it; else the time that is allowed does."""
    ours, theirs = socket.socketpair()
    beats: Iterator[None] = iter([None])

    def pulse() -> None:
        try:
            next(beats)
        except StopIteration:
            raise WorldFault("Interrupted", "told to stop") from None

    with theirs, Wire(ours, "peer", pulse) as wire, pytest.raises(WorldFault, match="Interrupted"):
        wire.call("PING")
    ours, theirs = socket.socketpair()
    with theirs, Wire(ours, "peer") as wire, pytest.raises(WorldFault, match=r"ConnectionLost: .*does not answer"):
        wire.call("PING", seconds=0.5)


def test_facts_are_read_from_what_a_server_says() -> None:
    found = facts(
        b"slave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\nslave1:ip=10.0.0.3,port=6379,state=wait_bgsave\r\n"
        b"min_slaves_good_slaves:1\r\nmodule:name=ReJSON,ver=1,api=1\r\nmodule:name=lua,ver=1\r\n"
        b"db0:keys=3,expires=1,avg_ttl=0\r\nmaster_replid:abc\r\ncluster_enabled:0\r\n"
    )
    assert [(one.host, one.port) for one in found.replicas] == [("10.0.0.2", 6380)]
    assert (found.good_replicas, found.modules, found.keys, found.product) == (1, ("ReJSON",), {0: 3}, "Redis")
    assert facts().good_replicas is None
