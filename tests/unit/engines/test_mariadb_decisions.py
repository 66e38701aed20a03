"""What the engine of MariaDB decides without a server: formats, grants, meanings of errors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pymysql
import pytest

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.mysql.binlogfile import MAGIC, BinlogWalk
from databosun.engines.mysql.definitions import Inventory, missing_from
from databosun.engines.mysql.dialect import MARIADB
from databosun.engines.mysql.dumpcheck import DumpCheck, ScriptCheck
from databosun.engines.mysql.faults import driver_fault, login_fault, tool_fault
from databosun.engines.mysql.grants import Grants, grant_statement, parse_grants
from databosun.engines.mysql.positions import Mark, read_mark
from databosun.engines.mysql.relay import _Framing
from databosun.engines.mysql.server import series_of
from databosun.engines.mysql.tools import series_in

DUMP = b"""/*M!999999\\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- CHANGE MASTER TO MASTER_LOG_FILE='bin.000002', MASTER_LOG_POS=786;

--
-- Current Database: `sh``op`
--

--
-- Table structure for table `a``b`
--
INSERT INTO `a``b` VALUES
(1,'-- Current Database: `no`\\n-- Table structure for table `no`'),
(2,'x');
/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`l`*/ /*!50003 trigger t before update on `a``b` for each row set @a = 1 */;;
/*!50106 DROP EVENT IF EXISTS `ev` */;
/*!50003 DROP PROCEDURE IF EXISTS `p` */;
/*!50003 DROP FUNCTION IF EXISTS `f` */;

--
-- Final view structure for view `v`
--
-- SET GLOBAL gtid_slave_pos='0-7-27';

-- Dump completed on 2026-11-28 19:00:25
"""


def pieces(data: bytes, size: int) -> Iterator[memoryview]:
    """The same bytes in pieces."""
    for at in range(0, len(data), size):
        yield memoryview(data)[at : at + size]


def checked(data: bytes, size: int = 1 << 20) -> DumpCheck:
    """A dump that was looked at."""
    check = DumpCheck("dump.sql.zst")
    for piece in pieces(data, size):
        check.feed(piece)
    assert check.close() == len(data)
    return check


@pytest.mark.parametrize("size", [1, 2, 7, 61, 4096, 1 << 20])
def test_a_dump_is_understood_whatever_pieces_it_comes_in(size: int) -> None:
    check = checked(DUMP, size)
    assert check.inventory == {"sh`op": Inventory(tables={"a`b"}, views={"v"}, triggers=1, routines=2, events=1)}
    assert check.log == ("bin.000002", 786)
    assert check.gtid == "0-7-27"


def test_a_long_line_of_rows_hides_nothing_behind_it() -> None:
    rows = b"INSERT INTO `a` VALUES\n(1,'" + b"x" * 300_000 + b"');\n"
    data = DUMP.replace(b"--\n-- Final view", rows + b"--\n-- Final view")
    for size in (997, 65536):
        assert checked(data, size).inventory["sh`op"].views == {"v"}


@pytest.mark.parametrize("cut", [1, 2, 30, 60, len(DUMP) - 5])
def test_a_cut_dump_is_none(cut: int) -> None:
    with pytest.raises(WorldFault) as caught:
        checked(DUMP[:-cut])
    assert caught.value.reason == "FormatCheckFailed"


def test_what_is_no_dump_is_none() -> None:
    with pytest.raises(WorldFault, match="begins with"):
        checked(b"hello\n-- Dump completed\n")
    script = ScriptCheck("users.sql.zst", b"-- Dump completed")
    script.feed(memoryview(b"CREATE USER a;\n-- Dump comp"))
    with pytest.raises(WorldFault, match="is cut"):
        script.close()


def test_what_a_dump_lacks_is_named() -> None:
    wanted = {"a": Inventory(tables={"t", "u"}, views={"v"}, triggers=2), "b": Inventory()}
    assert missing_from(wanted, {"a": Inventory(tables={"t"}, triggers=1)}) == [
        "table a.u",
        "view a.v",
        "1 of the 2 triggers of a",
        "schema b",
    ]
    assert missing_from(wanted, wanted) == []


def event(kind: int, body: bytes, end: int, when: int = 1_000_000_000) -> bytes:
    """One event with its checksum."""
    data = struct.pack("<IBIIIH", when, kind, 7, 19 + len(body) + 4, end, 0) + body
    return data + struct.pack("<I", zlib.crc32(data))


def piece() -> bytes:
    """A description, a transaction that ends at 500, and another one."""
    described = event(15, b"\x04\x00" + b"\0" * 70 + b"\x01", 0)
    return MAGIC + described + event(162, b"gtid", 450) + event(16, b"xid-----", 500) + event(16, b"xid-----", 560)


def walked(data: bytes) -> BinlogWalk:
    """A piece of a log that was looked at."""
    walk = BinlogWalk("bin.000001")
    walk.feed(memoryview(data))
    walk.close()
    return walk


@pytest.mark.parametrize("size", [1, 3, 40, 1 << 20])
def test_a_piece_of_the_log_is_walked_to_its_end(size: int) -> None:
    walk = BinlogWalk("bin.000001", until=500)
    for part in pieces(piece(), size):
        walk.feed(part)
    assert walk.close() == len(piece())
    assert (walk.end, walk.events) == (560, 4)
    assert walk.last_commit == datetime.fromtimestamp(1_000_000_000, UTC)
    assert walk.offset == len(piece()) - len(event(16, b"xid-----", 560))


def test_a_piece_of_an_idle_server_ends_where_it_begins() -> None:
    described = piece()[: len(MAGIC) + len(event(15, b"\x04\x00" + b"\0" * 70 + b"\x01", 0))]
    for data in (described, piece()):
        walk = BinlogWalk("bin.000001", 400, 400)
        walk.feed(memoryview(data))
        walk.close()
        assert walk.offset == len(described), "and no more, whatever was written since"


def test_a_flipped_bit_anywhere_is_found() -> None:
    good = piece()
    in_use = len(MAGIC) + 17  # whether the server still writes the file: no part of what it says
    for at in set(range(len(good))) - {in_use}:
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(WorldFault) as caught:
            walked(bytes(bad))
        assert caught.value.reason == "FormatCheckFailed", at


def test_a_cut_anywhere_but_between_events_is_found() -> None:
    good = piece()
    ends = [len(MAGIC) + len(event(15, b"\x04\x00" + b"\0" * 70 + b"\x01", 0))]
    ends += [len(good) - 2 * len(event(16, b"xid-----", 0)), len(good) - len(event(16, b"xid-----", 0))]
    for length in set(range(len(good))) - set(ends):
        with pytest.raises(WorldFault) as caught:
            walked(good[:length])
        assert caught.value.reason == "FormatCheckFailed"


def test_a_goodbye_is_told_from_a_query_that_looks_like_one() -> None:
    quit_packet = b"\x01\x00\x00\x00\x01"
    query = b"\x07\x00\x00\x00\x03SELECT"
    assert not _Framing().quits(query)
    assert _Framing().quits(query + quit_packet)
    assert not _Framing().quits(b"\x06\x00\x00\x00\x03" + quit_packet), "inside of a packet"
    framing = _Framing()
    assert [framing.quits(bytes([one])) for one in query] == [False] * len(query)
    assert framing.quits(quit_packet)


def test_grants_count_everywhere_or_in_their_schema() -> None:
    grants = Grants(frozenset({"SELECT"}), {"sh\\_op": frozenset({"TRIGGER"})})
    assert grants.has("SELECT")
    assert grants.has("TRIGGER", "sh_op")
    assert not grants.has("TRIGGER", "shXop")
    assert not grants.has("TRIGGER")
    shown = parse_grants(
        [
            "GRANT `reader` TO `u`@`%`",
            "GRANT SELECT, SHOW VIEW ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*D8'",
            "GRANT ALL PRIVILEGES ON `a``b`.* TO `u`@`%`",
            "GRANT TRIGGER ON `shop`.`orders` TO `u`@`%`",
        ]
    )
    assert shown == Grants(
        frozenset({"SELECT", "SHOW VIEW"}),
        {"a`b": frozenset({"ALL PRIVILEGES"})},
        tables={("shop", "orders"): frozenset({"TRIGGER"})},
    )
    assert not shown.has("TRIGGER", "shop")
    assert shown.has("EVENT", "a`b")
    assert not shown.has("TRIGGER", "shop")
    assert grant_statement(["EVENT"], "o'b@10.%", "a`b") == "GRANT EVENT ON `a``b`.* TO 'o''b'@'10.%';"


@pytest.mark.parametrize(
    ("said", "reason", "fault"),
    [
        ("mariadb-dump: Error 1412: Table definition has changed, please retry", "SchemaChanged", WorldFault),
        (
            "mariadb-dump: Couldn't execute 'SHOW FIELDS': SHOW VIEW command denied (1142)",
            "PermissionDenied",
            UserFault,
        ),
        ("ERROR 1146 (42S02) at line 7: Table 'a.b' doesn't exist", "SchemaChanged", WorldFault),
        ("mariadb: write: No space left on device", "ScratchTooSmall", UserFault),
        ("something else", "DatabaseError", WorldFault),
    ],
)
def test_the_words_of_a_tool_say_who_must_act(said: str, reason: str, fault: type[Exception]) -> None:
    found = tool_fault(said, "dump")
    assert (type(found), found.reason) == (fault, reason)


def test_errors_of_the_driver_say_who_must_act() -> None:
    lost = driver_fault(pymysql.OperationalError(2013, "Lost connection"), "count")
    assert (type(lost), lost.reason) == (WorldFault, "ConnectionLost")
    closed = driver_fault(pymysql.InterfaceError(0, ""), "count")
    assert closed.reason == "ConnectionLost"
    damaged = driver_fault(pymysql.InternalError(1712, "Index t is corrupted"), "count")
    assert (type(damaged), damaged.reason) == (UserFault, "DataCorrupted")
    expired = login_fault(pymysql.OperationalError(1820, "You must reset"), where="h:1", user="u")
    assert (type(expired), expired.reason) == (UserFault, "WrongPassword")
    slow = login_fault(pymysql.OperationalError(2003, "Can't connect (timed out)"), where="h:1", user="u")
    assert (type(slow), slow.reason) == (WorldFault, "ConnectTimeout")


def test_versions() -> None:
    assert series_of("11.4.2-MariaDB") == (11, 4)
    assert series_in("mariadb-dump Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", MARIADB) == (
        10,
        11,
    )
    assert series_in("mariadb-dump from 11.4.3-MariaDB, client 10.19 for Linux (x86_64)", MARIADB) == (11, 4)
    assert series_in("mariadbd Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", MARIADB) == (
        10,
        11,
    )
    assert series_in("mariadb-binlog Ver 3.5 for debian-linux-gnu at x86_64", MARIADB) is None


def test_a_mark_is_read_back() -> None:
    mark = Mark("bin.000007", 4711, "0-7-27")
    assert read_mark(mark.document()) == mark
    assert read_mark(b"{}\n") is None
