"""A scripted server that speaks MongoDB's wire protocol: members of replica sets, routers and what they refuse.

It is asked by the real driver, over a real socket, and answers what a test has it say. Data are lists of documents.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import bson
from bson import Int64, ObjectId
from bson.timestamp import Timestamp

_HEADER = struct.Struct("<iiii")
_REPLY, _QUERY, _MESSAGE = 1, 2004, 2013
Document = dict[str, Any]


class Refused(Exception):
    """An error of the server's."""

    def __init__(self, code: int, said: str = "refused", name: str = "Refused") -> None:
        super().__init__(said)
        self.code = code
        self.name = name


class HungUp(Exception):
    """It closes the connection instead of an answer."""


class MongoPeer:
    """One member. `spaces`: documents by `database.collection`; `refused`: commands or spaces that are not allowed.

    `on`: answers by command, which win. `calls`: what was asked. `close` it in the end.
    """

    def __init__(self, *, role: str = "primary", set_name: str | None = "rs0", version: str = "7.0.5") -> None:
        self.version = version
        self.spaces: dict[str, list[Document]] = {}
        self.listed: dict[str, list[Document]] = {}
        self.refused: set[str] = set()
        self.on: dict[str, Callable[[Document], Document]] = {}
        self.calls: list[Document] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.port: int = self._server.server_address[1]
        self.hello: Document = {"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWireVersion": 21,
                                "maxWriteBatchSize": 100_000, "minWireVersion": 0, "readOnly": False,
                                "isWritablePrimary": role == "primary", "ok": 1.0}  # fmt: skip
        if set_name:
            self.hello |= {"setName": set_name, "me": self.name, "hosts": [self.name], "secondary": role == "secondary"}
        if role == "router":
            self.hello |= {"msg": "isdbgrid", "isWritablePrimary": True}
        self._serve()

    @property
    def name(self) -> str:
        """As members name it."""
        return f"127.0.0.1:{self.port}"

    def wrote(self, seconds: int, increment: int = 1, *, majority: int | None = None, term: int = 1) -> MongoPeer:
        """It has the oplog up to there; a majority (the same where absent) to `majority`, of the same increment."""
        ts, known = Timestamp(seconds, increment), Timestamp(seconds if majority is None else majority, increment)
        self.hello["lastWrite"] = {
            "opTime": {"ts": ts, "t": Int64(term)}, "lastWriteDate": datetime.fromtimestamp(seconds, UTC),
            "majorityOpTime": {"ts": known, "t": Int64(term)},
        }  # fmt: skip
        return self

    def keep_oplog(self, *entries: Document) -> MongoPeer:
        """Have these entries, and be at the last of them."""
        self.spaces["local.oplog.rs"] = [*entries]
        self.spaces["local.system.replset"] = [{"_id": "rs0", "settings": {"replicaSetId": ObjectId(b"0" * 12)}}]
        last = entries[-1]["ts"]
        return self.wrote(last.time, last.inc, term=int(entries[-1]["t"]))

    def asked(self, command: str, space: str = "") -> list[Document]:
        """The commands of that name, about a space where one is given."""
        database, _, name = space.partition(".")
        return [one for one in self.calls if next(iter(one)) == command
                and (not space or (one["$db"], one[command]) == (database, name))]  # fmt: skip

    def close(self) -> None:
        """Stop, and hang up on everybody."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def again(self) -> None:
        """Start anew after `close`, at the same port."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._serve()

    def _serve(self) -> None:
        self._server.peer = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, command: Document) -> Document:
        """What it says to a command."""
        name = next(iter(command))
        self.calls.append(command)
        space = f"{command.get('$db')}.{command[name]}"
        try:
            if name in self.refused or (isinstance(command[name], str) and space in self.refused):
                raise Refused(13, f"not authorized on {command.get('$db')} to execute command {name}")
            given = self.on.get(name) or getattr(self, f"_{name.lower()}", None)
            if given is None:
                raise Refused(59, f"no such command: '{name}'")
            return {"ok": 1.0, **given(command)}
        except Refused as error:
            return {"ok": 0.0, "code": error.code, "errmsg": str(error), "codeName": error.name}

    # --- commands

    def _hello(self, _: Document) -> Document:
        return {**self.hello, "localTime": datetime.now(UTC)}

    def _ismaster(self, command: Document) -> Document:
        return {**self._hello(command), "helloOk": True, "ismaster": self.hello["isWritablePrimary"]}

    def _ping(self, _: Document) -> Document:
        return {}

    def _endsessions(self, _: Document) -> Document:
        return {}

    def _buildinfo(self, _: Document) -> Document:
        return {"version": self.version}

    def _listdatabases(self, _: Document) -> Document:
        names = {space.partition(".")[0] for space in (*self.spaces, *(f"{one}." for one in self.listed))}
        return {"databases": [{"name": name} for name in sorted(names)], "totalSize": 1}

    def _listcollections(self, command: Document) -> Document:
        database = command["$db"]
        names = [space.partition(".")[2] for space in self.spaces if space.startswith(f"{database}.")]
        found = self.listed.get(database, [{"name": name, "type": "collection", "options": {}} for name in names])
        wanted = (command.get("filter") or {}).get("name")
        return _cursor(f"{database}.$cmd", [one for one in found if wanted is None or one["name"] == wanted])

    def _listindexes(self, command: Document) -> Document:
        space = f"{command['$db']}.{command['listIndexes']}"
        return _cursor(space, [{"v": 2, "key": {"_id": 1}, "name": "_id_"}])

    def _find(self, command: Document) -> Document:
        space = f"{command['$db']}.{command['find']}"
        found = [one for one in self.spaces.get(space, []) if _fits(one, command.get("filter") or {})]
        if (command.get("sort") or {}).get("$natural") == -1:
            found.reverse()
        limit = command.get("limit") or len(found)
        return _cursor(space, found[:limit])


def entry(seconds: int, increment: int = 1, op: str = "n", ns: str = "", o: Document | None = None, *, term: int = 1,
          **more: Any) -> Document:  # fmt: skip
    """One entry of an oplog."""
    return {"op": op, "ns": ns, "o": o or {"msg": "noop"}, "ts": Timestamp(seconds, increment), "t": Int64(term),
            "v": Int64(2), "wall": datetime.fromtimestamp(seconds, UTC), **more}  # fmt: skip


def _cursor(space: str, found: list[Document]) -> Document:
    return {"cursor": {"id": Int64(0), "ns": space, "firstBatch": found}}


def _fits(document: Document, asked: Mapping[str, Any]) -> bool:
    for name, wanted in asked.items():
        value = document.get(name)
        if isinstance(wanted, dict):
            if "$in" in wanted and value not in wanted["$in"]:
                return False
            if "$gte" in wanted and (value is None or value < wanted["$gte"]):
                return False
            if "$lte" in wanted and (value is None or value > wanted["$lte"]):
                return False
        elif value != wanted:
            return False
    return True


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    peer: MongoPeer

    def __init__(self, *given: Any) -> None:
        self.connections = set[socket.socket]()
        super().__init__(*given)


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Answer until the other side hangs up."""
        server = self.server
        assert isinstance(server, _Server)
        server.connections.add(self.request)
        try:
            self._talk(self.request, server.peer)
        except (HungUp, OSError):
            return
        finally:
            server.connections.discard(self.request)

    def _talk(self, connection: socket.socket, peer: MongoPeer) -> None:
        while head := _exactly(connection, _HEADER.size):
            length, number, _, code = _HEADER.unpack(head)
            body = _exactly(connection, length - _HEADER.size)
            if code == _QUERY:
                end = body.index(b"\0", 4) + 1
                answer = bson.encode(peer.answer(bson.decode(body[end + 8 :])))
                data = struct.pack("<iqii", 8, 0, 0, 1) + answer
                kind = _REPLY
            elif code == _MESSAGE:
                data = struct.pack("<Ib", 0, 0) + bson.encode(peer.answer(_message(body)))
                kind = _MESSAGE
            else:
                return
            connection.sendall(_HEADER.pack(len(data) + _HEADER.size, 0, number, kind) + data)


def _message(body: bytes) -> Document:
    """The command of an OP_MSG; documents of a sequence are put into it under its name."""
    command: Document = {}
    more: Document = {}
    at = 4
    while at < len(body):
        (length,) = struct.unpack_from("<i", body, at + 1)
        piece = body[at + 1 : at + 1 + length]
        if body[at] == 0:
            command = bson.decode(piece)
        else:
            end = piece.index(b"\0", 4)
            more[piece[4:end].decode()] = bson.decode_all(piece[end + 1 :])
        at += 1 + length
    return {**command, **more}


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            piece = connection.recv(count - len(data))
        except OSError:
            return b""
        if not piece:
            return b""
        data += piece
    return data
