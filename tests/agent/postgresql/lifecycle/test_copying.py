"""What a COPY sends is gathered whole, and what goes wrong in the middle of it is said."""

from __future__ import annotations

import psycopg
import pytest

from databosun.engines.postgresql.copying import copying
from support.lifecycling import DATABASE, Keeper

pytestmark = pytest.mark.servers
SIZE = 1000


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_pieces_are_whole_rows_and_nothing_is_missing(keeper: Keeper, rows: int) -> None:
    with keeper.server.connect(DATABASE) as connection:
        pieces = list(copying(connection, f"COPY (SELECT i FROM generate_series(1, {rows}) AS i) TO STDOUT", SIZE))
        assert b"".join(pieces) == b"".join(b"%d\n" % number for number in range(1, rows + 1))
        assert all(piece.endswith(b"\n") for piece in pieces)
        assert all(len(piece) >= SIZE for piece in pieces[:-1])
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_row_that_is_larger_than_a_piece_is_whole(keeper: Keeper) -> None:
    with keeper.server.connect(DATABASE) as connection:
        assert list(copying(connection, "COPY (SELECT repeat('x', 3000000)) TO STDOUT", SIZE)) == [
            b"x" * 3_000_000 + b"\n"
        ]


def test_an_error_after_many_rows_is_raised_and_the_session_goes_on(keeper: Keeper) -> None:
    with keeper.server.connect(DATABASE) as connection:
        taken: list[bytes] = []
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            taken += copying(
                connection, "COPY (SELECT 1 / (20000 - i) FROM generate_series(1, 30000) AS i) TO STDOUT", SIZE
            )
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_reader_that_gives_up_leaves_a_session_that_goes_on(keeper: Keeper) -> None:
    with keeper.server.connect(DATABASE) as connection:
        stream = copying(connection, "COPY (SELECT i FROM generate_series(1, 5000000) AS i) TO STDOUT", SIZE)
        assert next(stream)
        stream.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_ends_in_the_middle_is_an_error(keeper: Keeper) -> None:
    with keeper.server.connect(DATABASE) as connection:
        stream = copying(connection, "COPY (SELECT i FROM generate_series(1, 50000000) AS i) TO STDOUT", SIZE)
        assert next(stream)
        keeper.sql(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        with pytest.raises(psycopg.OperationalError):
            for _ in stream:
                pass
