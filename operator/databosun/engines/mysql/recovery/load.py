"""Artefacts into a running server: a dump through the client, a log through mariadb-binlog, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import zstandard

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop
from databosun.engines.base import ArtefactReader
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.mysql.tools import Tool, environment_of, find_tool
from databosun.engines.program import bound

_CHUNK = 1024 * 1024
_LOOK_SECONDS = 0.2
_PIPE = -1  # subprocess.PIPE
# What speaks of the pod or of the agent, not of the backup.
_NOT_THE_BACKUPS = frozenset(
    {Reason.SCRATCH_TOO_SMALL, Reason.TOOL_MISSING, Reason.WRONG_TOOL_VERSION, Reason.TOOL_KILLED, "Interrupted"}
)


def inflated(reader: ArtefactReader) -> Iterator[bytes]:
    """The data of a compressed artefact. SafetyStop(ArtefactCorrupt) where it is none."""
    source = cast("IO[bytes]", _Whole(reader))
    stream = zstandard.ZstdDecompressor().stream_reader(
        source, read_size=_CHUNK, read_across_frames=True, closefd=False
    )
    while True:
        try:
            data = stream.read(_CHUNK)
        except zstandard.ZstdError as error:
            message = f"{reader.name}: the zstd stream cannot be read: {error}"
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, message) from error
        if not data:
            return
        yield data


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
    argv = [str(find_tool("mariadb-binlog")), "--no-defaults", "--skip-gtid-strict-mode", *map(str, pieces)]
    home = server.folder
    with (
        Tool(bound(argv), env=environment_of(home), cwd=home, capture=True) as reading,
        _client(server, reading.stdout_descriptor) as client,
    ):
        reading.let_go_of_stdout()
        _wait(client, pulse)
        # Whoever is at fault says so first: a client that ended early breaks the pipe of the other.
        _demand(client, "replaying the binary log")
        _wait(reading, pulse)
        _demand(reading, "reading the binary log")


def _client(server: PrivateServer, stdin: int) -> Tool:
    argv = [
        str(find_tool("mariadb")),
        *server.client_arguments,
        "--default-character-set=utf8mb4",
        "--binary-mode",
        "--sandbox",
        "--max-allowed-packet=1G",
        "--init-command=SET SESSION sql_log_bin = 0, foreign_key_checks = 0",
    ]
    return Tool(bound(argv), env=environment_of(server.folder), cwd=server.folder, stdin=stdin)


def _wait(tool: Tool, pulse: Callable[[], None]) -> None:
    while not tool.ended(within=_LOOK_SECONDS):
        pulse()


def _demand(tool: Tool, doing: str) -> None:
    try:
        tool.require_success(doing)
    except DatabosunError as fault:
        if fault.reason in _NOT_THE_BACKUPS:
            raise
        raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault


class _Whole:
    """A reader as zstandard reads one."""

    def __init__(self, reader: ArtefactReader) -> None:
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        return bytes(self._reader.read(max(size, 0)))
