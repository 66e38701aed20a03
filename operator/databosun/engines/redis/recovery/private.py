"""One server of our own: reachable over a socket in a folder of its own, ended with this process whatever happens."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.privateserver import PrivateProcess
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.programs import Program, clean_environment
from databosun.engines.redis.resp import Reply, ReplyError, Wire

FILE = "dump.rdb"
APPEND_FOLDER, APPEND_NAME = "appendonlydir", "appendonly.aof"
_LOOK_SECONDS = 0.02
_LEAST_DATABASES = 16
# As the server names them by itself; a part that is cut is an error, since nothing of ours is.
_PARTS = (("appenddirname", APPEND_FOLDER), ("appendfilename", APPEND_NAME), ("aof-load-truncated", "no"))
_NOISE = ("SYNC", "MASTER", "PRIMARY", "replication ID", "cached")


class PrivateServer(PrivateProcess):
    """Call `start`, then `connect`; `close` in the end.

    It loads its file as a replica, since a master drops at once what has expired meanwhile; `promote` makes it one. The
    master that it names is port 0, which nobody can listen on: it talks to nobody, and never writes its file anew.
    `replay`: it loads the parts of an append-only file instead, which `keep` makes one file of.
    """

    start_seconds = float("inf")  # as long as its data takes to load: the run's deadline ends it
    stop_seconds = 60.0

    def __init__(self, program: Program, data: Path, *, replay: bool = False) -> None:
        super().__init__()
        self.program = program
        self.data = data
        self.replay = replay
        self.socket = self.folder / "socket"

    def start(self, databases: int, pulse: Callable[[], None]) -> None:
        """Start, and wait until all is loaded. SafetyStop(RecoveryFailed) with its own words."""
        config = self.folder / "server.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self._settings(databases)))
        argv = [str(self.program.path), str(config)]
        self.run(argv, clean_environment(self.folder), self._ready, pulse, look=_LOOK_SECONDS)

    def connect(self, pulse: Callable[[], None] = lambda: None) -> Wire:
        """A session of the user who may do everything."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.socket))
        except OSError as error:
            connection.close()
            message = f"the copy does not answer: {error}; {self.said()}"
            raise WorldFault(Reason.CONNECTION_LOST, message) from error
        return Wire(connection, "the copy", pulse)

    def promote(self) -> None:
        """Let it take writes, and let go of what has expired."""
        with self.connect() as wire:
            wire.call("REPLICAOF", "NO", "ONE")

    def keep(self) -> None:
        """Write what was replayed as one file, with all that has expired meanwhile; nothing is appended any more."""
        with self.connect() as wire:
            wire.call("CONFIG", "SET", "appendonly", "no")
        self.save()

    def save(self) -> None:
        """Write what is in memory as one file."""
        with self.connect() as wire:
            wire.call("SAVE", seconds=self.start_seconds)

    def refused(self) -> str:
        """How many commands of the log it answered with an error, and with which; empty where it took them all.

        The source sent none that had changed nothing there: so the copy is another.
        """
        with self.connect() as wire:
            stats, errors = (_text(wire.call("INFO", section)).decode() for section in ("stats", "errorstats"))
        count = re.search(r"^unexpected_error_replies:([1-9]\d*)", stats, re.MULTILINE)
        names = [name for name in re.findall(r"^errorstat_(\w+):", errors, re.MULTILINE) if name != "LOADING"]
        return f"{count[1]} ({', '.join(sorted(names))})" if count else ""

    def keyspace(self) -> dict[int, tuple[int, int]]:
        """Keys, and keys with a time to live, by database."""
        with self.connect() as wire:
            return parse_keyspace(wire.call("INFO", "keyspace"))

    def tells(self, line: str) -> bool:
        """What it says about its data."""
        return not any(word in line for word in _NOISE)

    def broken(self, code: int | None) -> DatabosunError:
        """What its end means."""
        if code == -signal.SIGKILL:
            message = (
                "the copy was killed while it loaded, as the kernel does where a pod takes too much memory; raise "
                "podTemplate.resources.limits.memory"
            )
            return UserFault(Reason.MEMORY_TOO_SMALL, message)
        return super().broken(code)

    def _settings(self, databases: int) -> list[tuple[str, str]]:
        return [
            ("port", "0"),
            ("unixsocket", str(self.socket)),
            ("unixsocketperm", "700"),
            ("dir", str(self.data)),
            ("dbfilename", FILE),
            ("databases", str(max(_LEAST_DATABASES, databases))),
            ("save", '""'),
            ("appendonly", "yes" if self.replay else "no"),
            *(_PARTS if self.replay else ()),
            ("replicaof", "127.0.0.1 0"),
            ("maxmemory", "0"),
            ("daemonize", "no"),
            ("logfile", '""'),
        ]

    def _ready(self) -> bool:
        with contextlib.suppress(WorldFault, ReplyError), self.connect() as wire:
            return wire.call("PING") == b"PONG" and b"loading:0" in _text(wire.call("INFO", "persistence"))
        return False


def parse_keyspace(reply: Reply) -> dict[int, tuple[int, int]]:
    """Understand `INFO keyspace`."""
    found = {}
    for line in _text(reply).decode().splitlines():
        name, _, value = line.partition(":")
        if name.startswith("db") and name[2:].isdigit():
            fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            found[int(name[2:])] = (int(fields["keys"]), int(fields["expires"]))
    return found


def _text(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else b""
