"""Artefacts into a running server: a dump through the client, a log through its reader, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop
from databosun.engines.inflate import inflated
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.mysql.tools import Tool, environment_of, find_tool
from databosun.engines.program import bound
from databosun.engines.recovery import ArtefactReader

_LOOK_SECONDS = 0.2
_PIPE = -1  # subprocess.PIPE
_GATHERED = 256 * 1024
# What speaks of the pod or of the agent, not of the backup.
NOT_THE_BACKUPS = frozenset(
    {Reason.SCRATCH_TOO_SMALL, Reason.TOOL_MISSING, Reason.WRONG_TOOL_VERSION, Reason.TOOL_KILLED, "Interrupted"}
)


def load_script(server: PrivateServer, reader: ArtefactReader, pulse: Callable[[], None], *, doing: str) -> None:
    """Run a dump. SafetyStop(RecoveryFailed) with the client's own words."""
    with _client(server, _PIPE) as client:
        for data in inflated(reader):
            if not client.write(data, pulse):
                break
            pulse()
        client.close_stdin()
        _wait(client, pulse)
        _demand(client, doing)


def replay(server: PrivateServer, pieces: Sequence[Path], pulse: Callable[[], None]) -> None:
    """All of a log, in one go and for every schema: what spans two files, or schemas, is whole only so."""
    argv = [*_reader(server), *map(str, pieces)]
    home = server.folder
    with (
        Tool(bound(argv), env=environment_of(home, server.dialect), cwd=home, capture=True) as reading,
        _client(server, reading.stdout_descriptor) as client,
    ):
        reading.let_go_of_stdout()
        _wait(client, pulse)
        # Whoever is at fault says so first: a client that ended early breaks the pipe of the other.
        _demand(client, "replaying the binary log")
        _wait(reading, pulse)
        _demand(reading, "reading the binary log")


class Replay:
    """Events of a log into a server, as they come: a log's first four bytes, then whole transactions. Then `finish`."""

    def __init__(self, server: PrivateServer, pulse: Callable[[], None]) -> None:
        self._pulse = pulse
        self._program = server.dialect.log_reader
        self._gathered = bytearray()
        self._programs = ExitStack()
        argv = [*_reader(server), "-"]
        home = server.folder
        with ExitStack() as stack:
            reading = Tool(bound(argv), env=environment_of(home, server.dialect), cwd=home, capture=True, stdin=_PIPE)
            self._reading = stack.enter_context(reading)
            self._client = stack.enter_context(_client(server, reading.stdout_descriptor))
            reading.let_go_of_stdout()
            self._programs = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._programs.close()

    def write(self, data: bytes | bytearray) -> None:
        """The next bytes. SafetyStop(RecoveryFailed) with the client's own words where it takes no more."""
        self._gathered += data
        if len(self._gathered) >= _GATHERED:
            self._flush()

    def finish(self) -> None:
        """Demand that all of it was replayed."""
        self._flush()
        self._end()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        if not self._reading.write(gathered, self._pulse):
            self._end()
            raise SafetyStop(Reason.RECOVERY_FAILED, f"{self._program} read no more of the log, and does not say why")

    def _end(self) -> None:
        self._reading.close_stdin()
        _wait(self._client, self._pulse)
        _demand(self._client, "replaying the binary log")
        _wait(self._reading, self._pulse)
        _demand(self._reading, "reading the binary log")


def _reader(server: PrivateServer) -> list[str]:
    dialect = server.dialect
    return [str(find_tool(dialect.log_reader, dialect)), "--no-defaults", *dialect.reader_flags]


def _client(server: PrivateServer, stdin: int) -> Tool:
    argv = [
        str(find_tool(server.dialect.client, server.dialect)),
        *server.client_arguments,
        "--default-character-set=utf8mb4",
        "--binary-mode",
        *server.dialect.client_flags,
        "--max-allowed-packet=1G",
        "--init-command=SET SESSION sql_log_bin = 0, foreign_key_checks = 0",
    ]
    return Tool(bound(argv), env=environment_of(server.folder, server.dialect), cwd=server.folder, stdin=stdin)


def _wait(tool: Tool, pulse: Callable[[], None]) -> None:
    while not tool.ended(within=_LOOK_SECONDS):
        pulse()


def _demand(tool: Tool, doing: str) -> None:
    try:
        tool.require_success(doing)
    except DatabosunError as fault:
        if fault.reason in NOT_THE_BACKUPS:
            raise
        raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault
