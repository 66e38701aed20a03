"""What COPY … TO STDOUT sends, gathered: the server sends each row as a message of its own, and to wait for each as if
it were the only one costs the reader more than the rows cost the server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import LiteralString

from psycopg import errors, pq, sql
from psycopg.waiting import Ready, Wait

from databosun.engines.postgresql.connect import Connection

COPY_BYTES = 256 * 1024

Waiting = Generator[Wait, Ready | int, tuple[list[bytes | bytearray | memoryview], bool]]


def copied(
    connection: Connection, query: sql.Composed, sink: Callable[[bytes], None], pulse: Callable[[], None]
) -> int:
    """Hand over the lines of a COPY, in pieces that are worth it, and say how many they were."""
    count = 0
    for piece in copying(connection, query, COPY_BYTES):
        sink(piece)
        count += piece.count(b"\n")
        pulse()
    return count


def json_lines(row: sql.Identifier, source: sql.Composable) -> sql.Composed:
    """A COPY of rows as JSON, a line each, by their name in `source`. In such text a line break or a tab can only be
    space between its parts, and only where a column is `json`: in strings they are escaped."""
    return sql.SQL(
        "COPY (SELECT pg_catalog.replace(pg_catalog.replace(pg_catalog.replace("
        "pg_catalog.row_to_json({})::text, E'\\n', ' '), E'\\r', ' '), E'\\t', ' ') FROM {}) "
        "TO STDOUT (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')"
    ).format(row, source)


def copying(connection: Connection, query: LiteralString | sql.Composed, size: int) -> Generator[bytes, None, None]:
    """Pieces of whole rows, of about so many bytes each. Raises what the server says, as the driver does."""
    with connection.cursor().copy(query):
        more = True
        while more:
            held, more = connection.wait(_gathered(connection.pgconn, size))
            if held:
                yield b"".join(held)


def _gathered(connection: pq.abc.PGconn, size: int) -> Waiting:
    """What came, and whether more may come."""
    held: list[bytes | bytearray | memoryview] = []
    gathered = 0
    while gathered < size:
        count, data = connection.get_copy_data(1)
        if count < 0:
            yield from _ended(connection)
            return held, False
        if count == 0:
            yield from _readable(connection)
            continue
        held.append(data)
        gathered += count
    return held, True


def _ended(connection: pq.abc.PGconn) -> Generator[Wait, Ready | int, None]:
    """Read to the end of the command."""
    failed: pq.abc.PGresult | None = None
    while True:
        while connection.is_busy():
            yield from _readable(connection)
        result = connection.get_result()
        if result is None:
            break
        failed = failed or (result if result.status != pq.ExecStatus.COMMAND_OK else None)
    if failed is not None:
        raise errors.error_from_result(failed)


def _readable(connection: pq.abc.PGconn) -> Generator[Wait, Ready | int, None]:
    while not (yield Wait.R):
        continue
    connection.consume_input()
