"""One server of our own: reachable over a socket in a folder of its own, ended with this process whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.program import bound
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.programs import Program, clean_environment
from databosun.engines.redis.resp import Reply, ReplyError, Wire

FILE = "dump.rdb"
_LOOK_SECONDS = 0.02
_STOP_SECONDS = 60.0
_KEPT_LINES = 200
_LEAST_DATABASES = 16
_NOISE = ("SYNC", "MASTER", "PRIMARY", "replication ID", "cached")


class PrivateServer:
    """Call `start`, then `connect`; `close` in the end.

    It loads its file as a replica, since a master drops at once what has expired meanwhile; `promote` makes it one. The
    master that it names is port 0, which nobody can listen on: it talks to nobody, and never writes its file anew.
    """

    def __init__(self, program: Program, data: Path) -> None:
        self.program = program
        self.data = data
        self.folder = Path(tempfile.mkdtemp(prefix="bosun-"))
        self.socket = self.folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader: threading.Thread | None = None

    def start(self, databases: int, pulse: Callable[[], None]) -> None:
        """Start, and wait until all is loaded. SafetyStop(RecoveryFailed) with its own words."""
        config = self.folder / "server.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self._settings(databases)))
        self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            bound([str(self.program.path), str(config)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(self.folder),
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name="private server's log", daemon=True)
        self._reader.start()
        while not self._ready():
            pulse()
            if self._process.poll() is not None:
                raise self._broken()
            time.sleep(_LOOK_SECONDS)

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

    def keyspace(self) -> dict[int, tuple[int, int]]:
        """Keys, and keys with a time to live, by database."""
        with self.connect() as wire:
            return parse_keyspace(wire.call("INFO", "keyspace"))

    def stop(self, pulse: Callable[[], None]) -> None:
        """Stop cleanly; it has nothing to save."""
        process = self._demand()
        process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + _STOP_SECONDS
        while process.poll() is None:
            pulse()
            if time.monotonic() > limit:
                raise WorldFault(Reason.RECOVERY_FAILED, f"the copy did not stop within {_STOP_SECONDS:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def kill(self) -> None:
        """End it at once; harmless where it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        if self._reader:
            self._reader.join(timeout=5.0)
        if self._process and self._process.stdout:
            self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        """What it last said about its data."""
        lines = [line for line in self._lines if not any(word in line for word in _NOISE)]
        return " | ".join(line.strip() for line in lines[-8:])[:1500]

    def _settings(self, databases: int) -> list[tuple[str, str]]:
        return [
            ("port", "0"),
            ("unixsocket", str(self.socket)),
            ("unixsocketperm", "700"),
            ("dir", str(self.data)),
            ("dbfilename", FILE),
            ("databases", str(max(_LEAST_DATABASES, databases))),
            ("save", '""'),
            ("appendonly", "no"),
            ("replicaof", "127.0.0.1 0"),
            ("maxmemory", "0"),
            ("daemonize", "no"),
            ("logfile", '""'),
        ]

    def _ready(self) -> bool:
        with contextlib.suppress(WorldFault, ReplyError), self.connect() as wire:
            return wire.call("PING") == b"PONG" and b"loading:0" in _text(wire.call("INFO", "persistence"))
        return False

    def _demand(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the private server was never started"
            raise RuntimeError(msg)
        return self._process

    def _read_log(self) -> None:
        for raw in self._demand().stdout or ():
            self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))

    def _broken(self) -> Exception:
        """What its end means."""
        if self._reader:
            self._reader.join(timeout=5.0)
        code = self._demand().returncode
        if code == -signal.SIGKILL:
            message = (
                "the copy was killed while it loaded, as the kernel does where a pod takes too much memory; raise "
            )
            return UserFault(Reason.MEMORY_TOO_SMALL, message + "podTemplate.resources.limits.memory")
        return SafetyStop(Reason.RECOVERY_FAILED, f"the copy does not come up (status {code}): {self.said()}")


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
