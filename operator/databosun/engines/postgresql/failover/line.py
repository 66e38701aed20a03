"""One connection to PostgreSQL in which nothing waits for longer than is said: a server that was killed, stopped or cut
off answers nothing, and a client finds that out by itself."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from databosun.api.failoverprobe import ErrorName
from databosun.domain.errors import DatabosunError
from databosun.domain.ledger import Fate
from databosun.engines.base import Target
from databosun.engines.failover import ProbeError, probe_error
from databosun.engines.postgresql.connect import Endpoint, conninfo
from databosun.engines.postgresql.faults import login_fault

TIMEOUT = "Timeout"
LOST = "ConnectionLost"
READ_ONLY = "25006"
# The server ended in the midst of it, or says itself that it does not know: it may be committed.
_IN_DOUBT = ("57P", "08", "40003", "58", "XX")
_NAMES: Sequence[tuple[str, ErrorName]] = (
    (READ_ONLY, ErrorName.READ_ONLY),
    ("57P03", ErrorName.STARTING),
    ("57P", ErrorName.SHUTTING_DOWN),
    ("57014", ErrorName.TIMEOUT),
    ("53300", ErrorName.TOO_MANY_CONNECTIONS),
    ("40", ErrorName.CONFLICT),
    ("55P03", ErrorName.CONFLICT),
    ("08", ErrorName.CONNECTION_LOST),
)
# PgBouncer has one code for all that it has to say, and says nothing but words to who logs in.
_POOLER: Sequence[tuple[re.Pattern[str], ErrorName]] = (
    (re.compile("query_wait_timeout|server login has been failing|server down|DNS lookup failed|server login failed"),
     ErrorName.NO_SERVER_BEHIND),
    (re.compile("no more connections allowed"), ErrorName.TOO_MANY_CONNECTIONS),
    (re.compile("server closed the connection unexpectedly|Connection reset by peer"), ErrorName.CONNECTION_LOST),
)  # fmt: skip
_POLLS: Mapping[int, int] = {
    pq.PollingStatus.READING: select.POLLIN,
    pq.PollingStatus.WRITING: select.POLLOUT,
}
Row = tuple[str | None, ...]


class Line:
    """A session. Every method raises ProbeError, and is over within `seconds`."""

    def __init__(self, connection: pq.abc.PGconn, seconds: float) -> None:
        self._pq = connection
        self._seconds = seconds

    @classmethod
    def open(cls, target: Target, endpoint: Endpoint, dbname: str, seconds: float) -> Line:
        """Log in. Nothing was done where that fails."""
        text = make_conninfo(conninfo(target, endpoint, dbname), password=target.credentials.password)
        connection = pq.PGconn.connect_start(text.encode())
        until = time.monotonic() + seconds
        try:
            while (status := connection.connect_poll()) != pq.PollingStatus.OK:
                if status == pq.PollingStatus.FAILED:
                    raise _not_let_in(connection, target, endpoint)
                _await(connection.socket, _POLLS[status], until, Fate.FAILED)
            connection.nonblocking = 1
        except psycopg.Error as error:
            fault = _not_let_in(connection, target, endpoint)
            connection.finish()
            raise fault from error
        except BaseException:
            connection.finish()
            raise
        return cls(connection, seconds)

    def ask(self, statement: str, values: Sequence[int] = ()) -> list[Row]:
        """Run one statement; its rows, as text."""
        until = time.monotonic() + self._seconds
        try:
            self._pq.send_query_params(statement.encode(), [str(one).encode() for one in values])
            while self._pq.flush():
                _await(self._pq.socket, select.POLLIN | select.POLLOUT, until, Fate.UNKNOWN)
                self._pq.consume_input()
            rows: list[Row] = []
            refused: ProbeError | None = None
            while (result := self._next(until)) is not None:
                if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
                    refused = refused or told(result)
                else:
                    rows += _rows(result)
            if refused is not None:
                raise refused
            return rows
        except (psycopg.Error, OSError) as error:
            raise ProbeError(LOST, _one_line(str(error)), Fate.UNKNOWN, broken=True) from error

    def close(self) -> None:
        """Hang up without a word: a server that does not answer is not waited for."""
        self._pq.finish()

    def _next(self, until: float) -> pq.abc.PGresult | None:
        """The next result. Where the connection ended, what the server said before it did, if it said anything."""
        try:
            while self._pq.is_busy():
                _await(self._pq.socket, select.POLLIN, until, Fate.UNKNOWN)
                self._pq.consume_input()
        except psycopg.Error as lost:
            result = self._pq.get_result()
            if result is None:
                raise lost from None
            return result
        return self._pq.get_result()


def told(result: pq.abc.PGresult) -> ProbeError:
    """What a client is told, and what that means for its write."""
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or b""
    said = _one_line((result.error_message or b"").decode("utf-8", "replace"))
    unknown = not state or severity in (b"FATAL", b"PANIC") or state.startswith(_IN_DOUBT)
    # A client that is told "read only" looks for another server.
    return ProbeError(
        state or LOST,
        said,
        Fate.UNKNOWN if unknown else Fate.FAILED,
        broken=unknown or state == READ_ONLY,
        name=_name(state, said),
    )


def _name(state: str, said: str) -> ErrorName | None:
    if not state or state.startswith("08"):
        worded = next((name for words, name in _POOLER if words.search(said)), None)
        if worded is not None:
            return worded
    return next((name for code, name in _NAMES if state.startswith(code)), None)


def _rows(result: pq.abc.PGresult) -> list[Row]:
    def text(row: int, column: int) -> str | None:
        value = result.get_value(row, column)
        return None if value is None else value.decode()

    return [tuple(text(row, column) for column in range(result.nfields)) for row in range(result.ntuples)]


def _await(socket: int, what: int, until: float, fate: Fate) -> None:
    poll = select.poll()
    poll.register(socket, what)
    left = until - time.monotonic()
    if left <= 0 or not poll.poll(max(1.0, left * 1000)):
        raise ProbeError(TIMEOUT, "the server did not answer in time", fate, broken=True)


def _not_let_in(connection: pq.abc.PGconn, target: Target, endpoint: Endpoint) -> ProbeError:
    said = (connection.error_message or b"no connection").decode("utf-8", "replace")
    fault: DatabosunError = login_fault(said, where=str(endpoint), user=target.credentials.username, replication=False)
    error = probe_error(fault)
    error.name = _name("", said) or error.name
    return error


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
