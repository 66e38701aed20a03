"""Reading a restored copy by SQL: a few plain statements for each kind of server, read-only, each within its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Protocol

from databosun.engines.base import Target


class SqlError(Exception):
    """What the server said to a statement. `gone`: the connection is of no use any more."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class Session(Protocol):
    """A login to one database of the copy. Methods raise SqlError."""

    @property
    def version(self) -> str:
        """Of the server."""
        ...

    def databases(self) -> Sequence[str]:
        """Names of all databases that hold something of the user's."""
        ...

    def tables(self) -> Sequence[str]:
        """Names of this database's own tables, as a statement takes them."""
        ...

    def value(self, query: str, seconds: float) -> object:
        """The one value that a query gives. ValueError where it gives something else."""
        ...

    def count(self, table: str, seconds: float) -> int:
        """Rows of a table, as a user names it."""
        ...

    def rows(self, table: str, seconds: float) -> int:
        """Count a table out of `tables`."""
        ...

    def read(self, table: str, seconds: float) -> int:
        """Read every value of a table out of `tables`; its rows."""
        ...

    def kill(self) -> None:
        """End it from another thread."""
        ...


class Dialect(Protocol):
    """How to log in. Raises DatabosunError where that cannot be done."""

    def __call__(
        self, target: Target, host: str, port: int, database: str | None
    ) -> AbstractContextManager[Session]: ...


_MODULES = {"PostgreSQL": "postgresql", "MySQL": "mysql", "MariaDB": "mysql"}


def dialect_of(engine: str) -> Dialect:
    """The dialect of what RDS runs; its driver is loaded by now, and not before."""
    found: Callable[..., AbstractContextManager[Session]] = import_module(
        f"databosun.engines.rds.sql.{_MODULES[engine]}"
    ).login
    return found
