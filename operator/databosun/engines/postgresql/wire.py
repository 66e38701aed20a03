"""Raw libpq in small, interruptible steps: nothing here waits in C, and every wait looks at the deadline."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from psycopg import pq

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.faults import guarded, server_fault
from databosun.engines.postgresql.reasons import Reason

_POLL_MILLISECONDS = 1000
_UPLOAD_CHUNK = 256 * 1024


class ServerRefused(Exception):
    """The server answered a command with an error; the caller decides what that means."""

    def __init__(self, said: str, sqlstate: str | None) -> None:
        super().__init__(said)
        self.said = said
        self.sqlstate = sqlstate


class Wire:
    """A replication connection driven by polling. `pulse` runs at least once a second and may raise."""

    def __init__(self, connection: Connection, *, deadline: datetime, pulse: Callable[[], None] = lambda: None) -> None:
        self._pq = connection.pgconn
        self._pq.nonblocking = 1
        self._deadline = deadline
        self._pulse = pulse
        self._poll = select.poll()
        self._poll.register(self._pq.socket, select.POLLIN)

    @property
    def backend_pid(self) -> int:
        """The server process of this connection."""
        return self._pq.backend_pid

    def run(self, command: str) -> pq.abc.PGresult:
        """Send a command that ends with one result of rows or none. Raises ServerRefused."""
        self.send(command)
        try:
            first = self.result()
            while self.result() is not None:
                pass
        except ServerRefused:
            self.drain()
            raise
        if first is None:
            raise WorldFault(
                Reason.CONNECTION_LOST, f"the server ended the connection at {command.split('(')[0].strip()}"
            )
        return first

    def send(self, command: str) -> None:
        """Send a command; results are read by `result`."""
        with guarded("sending to the server"):
            self._pq.send_query(command.encode())
            self._flush()

    def result(self) -> pq.abc.PGresult | None:
        """The next result, or None behind the last. Raises ServerRefused where it is an error."""
        with guarded("reading from the server"):
            while self._pq.is_busy():
                self._wait()
                self._pq.consume_input()
            got = self._pq.get_result()
        if got is not None and got.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
            raise self._refusal(got)
        return got

    def copy_out(self) -> Iterator[memoryview]:
        """The messages of a COPY OUT, each as soon as it is whole; no more is buffered than libpq needs for one."""
        while True:
            with guarded("reading from the server"):
                size, data = self._pq.get_copy_data(1)
                if size == 0:
                    self._wait()
                    self._pq.consume_input()
                    continue
            if size < 0:
                return
            yield data

    def copy_in(self, data: bytes) -> None:
        """Send everything of a COPY IN and its end."""
        with guarded("sending to the server"):
            for start in range(0, len(data), _UPLOAD_CHUNK):
                while self._pq.put_copy_data(data[start : start + _UPLOAD_CHUNK]) == 0:
                    self._flush()
                self._flush()
            while self._pq.put_copy_end() == 0:
                self._flush()
            self._flush()

    def drain(self) -> None:
        """Read what is left of a refused command, so that the next can be sent."""
        while True:
            try:
                if self.result() is None:
                    return
            except ServerRefused:
                continue

    def _flush(self) -> None:
        while self._pq.flush() == 1:
            self._wait(writing=True)
            self._pq.consume_input()

    def _wait(self, *, writing: bool = False) -> None:
        self._poll.modify(self._pq.socket, select.POLLIN | select.POLLOUT if writing else select.POLLIN)
        self._poll.poll(_POLL_MILLISECONDS)
        self._pulse()
        if datetime.now(UTC) >= self._deadline:
            message = (
                f"the run's deadline {self._deadline.isoformat()} has passed; raise spec.deadline or give the backup "
                "more bandwidth"
            )
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message)

    def _refusal(self, got: pq.abc.PGresult) -> ServerRefused:
        fields = (
            pq.DiagnosticField.MESSAGE_PRIMARY,
            pq.DiagnosticField.MESSAGE_DETAIL,
            pq.DiagnosticField.MESSAGE_HINT,
        )
        words = [value.decode("utf-8", "replace") for field in fields if (value := got.error_field(field))]
        code = got.error_field(pq.DiagnosticField.SQLSTATE)
        said = "; ".join(words) or self._pq.get_error_message() or "no message"
        return ServerRefused(said, code.decode() if code else None)


def refused_fault(refusal: ServerRefused, doing: str) -> DatabosunError:
    """The error for a refusal that nobody had a better use for."""
    return server_fault(refusal.said, refusal.sqlstate, doing)


def row(result: pq.abc.PGresult, index: int = 0) -> list[str | None]:
    """One row of a result as text."""
    values = (result.get_value(index, column) for column in range(result.nfields))
    return [value.decode("utf-8", "replace") if value is not None else None for value in values]
