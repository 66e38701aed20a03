"""Redis for the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from databosun.api.drill import Check, CheckType
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from support.engineyard import EngineYard
from support.recoverypod import RecoveryPod
from support.redisdoc import followed, tools_of
from support.redisserver import PASSWORD, USER, Server, content, open_socket, program, served


def both() -> str:
    """Where the servers of the image are, for DATABOSUN_REDIS_BIN."""
    return ":".join(str(program(product).parent) for product in ("redis", "valkey"))


@dataclass
class RedisYard(EngineYard):
    """A filled server of Redis or Valkey."""

    server: Server | None = None
    name = EngineName.REDIS
    method = Method.PHYSICAL
    username = USER
    password = PASSWORD

    @property
    def its(self) -> Server:
        """The server."""
        assert self.server is not None
        return self.server

    @property
    def port(self) -> int:
        """Of the server."""
        return self.its.port

    def contents(self) -> object:
        """Keys and values."""
        with self.its.connect() as wire:
            return content(wire)

    def change(self) -> None:
        """Keys of several types more."""
        self.its.calls([("SET", "later", 1), ("RPUSH", "list", "later"), ("HSET", "hash", "later", 1), ("DEL", "set")])
        self.its.calls([("SET", "later", 1)], db=11)

    def roll(self) -> None:
        """Files end by themselves, each quarter of `maxLag`."""
        self.its.call("SET", "rolled", 77)

    def sessions(self) -> int:
        """Of the backup's account."""
        said = self.its.call("CLIENT", "LIST")
        assert isinstance(said, bytes)
        return sum(f"user={USER} " in line for line in said.decode().splitlines())

    def broken_query(self) -> Check:
        """Of a counter that is another."""
        return self.good_query().model_copy(update={"value": "41"})

    def good_query(self) -> Check:
        """Of a counter."""
        return Check(name="counter", type=CheckType.QUERY, query="GET counter", value="42")

    @contextmanager
    def served(self, data: Path) -> Iterator[object]:
        """Started by a server that keeps an append-only file, which never looks at dump.rdb."""
        yield served(self.its.product, data, self.folder, "appendonly yes")

    @contextmanager
    def followed(self, markdown: str, folder: Path) -> Iterator[object]:
        """In one shell."""
        tools = tools_of(self.its.product, self.folder / "tools")
        with followed(markdown, folder, tools) as (socket, _), open_socket(socket) as wire:
            yield content(wire)

    def pod(self) -> RecoveryPod:
        """With both servers, as the image has them."""
        return self.fresh_pod(environment={"DATABOSUN_REDIS_BIN": both()})
