"""The format check of a dump: begin and end are those of mariadb-dump or mysqldump, and which objects lie between.

Rows are never parsed: only lines that begin with a comment are looked at, and no line break of a value is left as one.
"""

from __future__ import annotations

import re

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mysql.definitions import Inventory

_BEGIN = re.compile(rb"\A(?:/\*[^\n]*\n)?-- (?:MariaDB|MySQL) dump ")
_END = re.compile(rb"\n-- Dump completed(?: on [^\n]*)?\n+\Z")
_PURGED_BEGIN = b"\n/* SET @@GLOBAL.GTID_PURGED="
_MARK = re.compile(rb"\n(?:-- |/\*!50)|" + re.escape(_PURGED_BEGIN))
_KEPT = 4096
_NAME = rb"`((?:[^`\n]|``)+)`"
_SCHEMA = re.compile(rb"-- Current Database: " + _NAME)
_TABLE = re.compile(rb"-- Table structure for table " + _NAME)
_SEQUENCE = re.compile(rb"-- Sequence structure for " + _NAME)
_VIEW = re.compile(rb"-- Final view structure for view " + _NAME)
_ROUTINE = re.compile(rb"/\*!50003 DROP (?:PROCEDURE|FUNCTION|PACKAGE|PACKAGE BODY) IF EXISTS ")
_EVENT = re.compile(rb"/\*!50106 DROP EVENT IF EXISTS ")
_TRIGGER = re.compile(rb"/\*!50003 CREATE\*/ ")
_LOG = re.compile(
    rb"-- CHANGE (?:MASTER|REPLICATION SOURCE) TO "
    rb"(?:MASTER|SOURCE)_LOG_FILE='([^'\n]+)', (?:MASTER|SOURCE)_LOG_POS=(\d+);"
)
_GTID = re.compile(rb"-- SET GLOBAL gtid_slave_pos='([0-9,-]*)';")
# MySQL's, in a comment of its own, with a line for each server that ever wrote.
_PURGED = re.compile(rb"/\* SET @@GLOBAL\.GTID_PURGED='\+?([^']*)';\*/")


class DumpCheck:
    """A StreamCheck. `inventory`: by schema, complete once it is closed. `log`, `gtid`: where its snapshot lies."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._carried = b"\n"
        self._head = self._tail = b""
        self._bytes = 0
        self._schema: Inventory | None = None
        self.inventory: dict[str, Inventory] = {}
        self.log: tuple[str, int] | None = None
        self.gtid: str | None = None

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        self._bytes += len(data)
        if len(self._head) < _KEPT:
            self._head += bytes(data[:_KEPT])
        self._tail = (self._tail + bytes(data[-_KEPT:]))[-_KEPT:]
        window = self._carried + bytes(data)
        # A mark that may go on in the next piece is left for it.
        limit = window.rfind(b"\n") if len(window) - window.rfind(b"\n") < _KEPT else len(window) - 8
        if self._schema is None and (begun := window.find(_PURGED_BEGIN)) >= 0 and b"*/" not in window[begun:]:
            limit = begun
        self._look(window, limit)
        self._carried = window[limit:]

    def close(self) -> int:
        """Demand beginning and end."""
        if not _BEGIN.match(self._head):
            message = f"begins with {self._head[:60]!r}, not as a dump does"
        elif not _END.search(self._tail):
            message = "is cut: its last line is not `-- Dump completed`"
        else:
            return self._bytes
        raise WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._name} {message} ({self._bytes} bytes)")

    def _look(self, window: bytes, limit: int) -> None:
        for found in _MARK.finditer(window, 0, min(len(window), limit + 8)):
            if found.start() < limit:
                end = window.find(b"*/", found.start()) + 2 if found[0] == _PURGED_BEGIN else found.start() + _KEPT
                self._line(window[found.start() + 1 : end])

    def _line(self, line: bytes) -> None:
        if found := _SCHEMA.match(line):
            self._schema = self.inventory.setdefault(_name(found[1]), Inventory())
        elif found := _LOG.match(line):
            self.log = (found[1].decode(), int(found[2]))
        elif found := _GTID.match(line):
            self.gtid = found[1].decode()
        elif found := _PURGED.match(line):
            self.gtid = b"".join(found[1].split()).decode()
        elif self._schema is not None:
            self._count(self._schema, line)

    def _count(self, schema: Inventory, line: bytes) -> None:
        for names, pattern in ((schema.tables, _TABLE), (schema.sequences, _SEQUENCE), (schema.views, _VIEW)):
            if found := pattern.match(line):
                names.add(_name(found[1]))
                return
        schema.triggers += bool(_TRIGGER.match(line))
        schema.routines += bool(_ROUTINE.match(line))
        schema.events += bool(_EVENT.match(line))


class ScriptCheck:
    """A StreamCheck for a dump of accounts, or a script: it is whole where its last line is."""

    def __init__(self, name: str, ends_with: bytes) -> None:
        self._name = name
        self._end = ends_with
        self._tail = b""
        self._bytes = 0

    def feed(self, data: memoryview) -> None:
        """Remember the end."""
        self._bytes += len(data)
        self._tail = (self._tail + bytes(data[-_KEPT:]))[-_KEPT:]

    def close(self) -> int:
        """Demand it."""
        if self._end not in self._tail:
            message = f"{self._name} is cut ({self._bytes} bytes): {self._end.decode()!r} is not at its end"
            raise WorldFault(Reason.FORMAT_CHECK_FAILED, message)
        return self._bytes


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("``", "`")
