"""What is decided about MySQL without a server: what its programs, grants and dumps say."""

from __future__ import annotations

from typing import Any, cast

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.engines.mysql import server
from databosun.engines.mysql.accounts_mysql import _DEFAULT_ROLES, _stands
from databosun.engines.mysql.connect import demand_supported
from databosun.engines.mysql.definitions import Inventory
from databosun.engines.mysql.dialect import MARIADB, MYSQL, Dialect
from databosun.engines.mysql.dumpcheck import DumpCheck
from databosun.engines.mysql.grants import parse_grants
from databosun.engines.mysql.recovery.private import tablespace_statements
from databosun.engines.mysql.tools import series_in
from databosun.engines.registry import load_archiver

UUID, OTHER = "6e4300c6-ec45-11f1-956a-02fc00000001", "7e4300c6-ec45-11f1-956a-02fc00000002"
DUMP = f"""-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
SET @@SESSION.SQL_LOG_BIN= 0;

--
-- GTID state at the beginning of the backup 
--

/* SET @@GLOBAL.GTID_PURGED='+{UUID}:1-7:9,
{OTHER}:tagged:1-5';*/

--
-- Position to start replication or point-in-time recovery from
--

-- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='bin.000002', SOURCE_LOG_POS=1875;

--
-- Current Database: `shop`
--

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!80016 DEFAULT ENCRYPTION='N' */;

--
-- Table structure for table `a`
--

CREATE TABLE `a` (`id` int);
INSERT INTO `a` VALUES (1);
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `t` BEFORE UPDATE ON `a` FOR EACH ROW SET @a=1
 */;;

--
-- Dumping events for database 'shop'
--
/*!50106 DROP EVENT IF EXISTS `e` */;

--
-- Dumping routines for database 'shop'
--
/*!50003 DROP FUNCTION IF EXISTS `f` */;
/*!50003 DROP PROCEDURE IF EXISTS `p` */;

--
-- Final view structure for view `v`
--

/*!50001 DROP VIEW IF EXISTS `v`*/;

-- Dump completed on 2026-11-29 22:37:55
""".encode()


@pytest.mark.parametrize("size", [1, 7, 61, 4096, 1 << 20])
def test_a_dump_is_understood_whatever_pieces_it_comes_in(size: int) -> None:
    check = DumpCheck("dump.sql.zst")
    for at in range(0, len(DUMP), size):
        check.feed(memoryview(DUMP)[at : at + size])
    assert check.close() == len(DUMP)
    assert check.inventory == {"shop": Inventory(tables={"a"}, views={"v"}, triggers=1, routines=2, events=1)}
    assert check.log == ("bin.000002", 1875)
    assert check.gtid == f"{UUID}:1-7:9,{OTHER}:tagged:1-5"


def test_a_set_of_gtids_is_taken_whole_however_many_servers_wrote() -> None:
    many = ",\n".join(f"{number:08x}-ec45-11f1-956a-02fc00000001:1-{number}" for number in range(1, 400))
    data = DUMP.replace(f"+{UUID}:1-7:9,\n{OTHER}:tagged:1-5".encode(), b"+" + many.encode())
    for size in (997, 4096, 1 << 20):
        check = DumpCheck("dump.sql.zst")
        for at in range(0, len(data), size):
            check.feed(memoryview(data)[at : at + size])
        check.close()
        assert check.gtid == many.replace("\n", "")
        assert check.log == ("bin.000002", 1875)


def test_programs_of_the_other_product_have_no_series() -> None:
    assert series_in("mysqldump Ver 9.7.4-2 for Linux on x86_64 ((Debian))", MYSQL) == (9, 7)
    assert series_in("mysqld Ver 8.0.46 for Linux on x86_64 (MySQL Community Server - GPL)", MYSQL) == (8, 0)
    assert series_in("mysqldump Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", MYSQL) is None
    assert series_in("mysqldump Ver 9.7.4-2 for Linux on x86_64 ((Debian))", MARIADB) is None


def test_what_is_revoked_of_one_schema_is_not_had_everywhere() -> None:
    shown = parse_grants(
        [
            "GRANT SELECT, RELOAD ON *.* TO `u`@`%`",
            "GRANT FLUSH_TABLES,SHOW_ROUTINE ON *.* TO `u`@`%`",
            "REVOKE SELECT ON `pay`.* FROM `u`@`%`",
        ]
    )
    assert shown.has("RELOAD")
    assert shown.has("SHOW_ROUTINE")
    assert not shown.has("SELECT")
    assert shown.has("SELECT", "shop")
    assert not shown.has("SELECT", "pay")


def test_default_roles_wait_until_they_are_granted() -> None:
    said = (
        "CREATE USER `a`@`%` IDENTIFIED WITH 'x' AS 0x24 DEFAULT ROLE `r`@`%`,`s ``1`@`%` REQUIRE NONE ACCOUNT UNLOCK"
    )
    assert _DEFAULT_ROLES.sub("", said) == "CREATE USER `a`@`%` IDENTIFIED WITH 'x' AS 0x24 REQUIRE NONE ACCOUNT UNLOCK"


def test_a_privilege_on_what_is_gone_does_not_stand() -> None:
    there = {("", "sh`op", "orders"), ("PROCEDURE", "shop", "pay")}
    assert _stands("GRANT SELECT ON `sh``op`.`orders` TO `u`@`%`", there)
    assert not _stands("GRANT SELECT ON `shop`.`orders` TO `u`@`%`", there)
    assert _stands("GRANT EXECUTE ON PROCEDURE `shop`.`Pay` TO `u`@`%`", there)
    assert not _stands("GRANT EXECUTE ON FUNCTION `shop`.`pay` TO `u`@`%`", there)
    assert _stands("GRANT SELECT ON `gone`.* TO `u`@`%`", there)
    assert _stands("GRANT PROXY ON ``@`` TO `root`@`localhost` WITH GRANT OPTION", there)


def test_no_name_of_a_tablespace_leads_out_of_the_data() -> None:
    assert tablespace_statements({"../x`y": 0, "b": 8192}) == [
        "CREATE TABLESPACE `../x``y` ADD DATAFILE 'tablespace0.ibd'",
        "CREATE TABLESPACE `b` ADD DATAFILE 'tablespace1.ibd' FILE_BLOCK_SIZE = 8192",
    ]


@pytest.mark.parametrize(("said", "unfit"), [([], False), ([("PRIMARY",)], False), ([("SECONDARY",)], True)])
def test_a_secondary_of_a_group_is_a_replica_of_unknown_lag(
    monkeypatch: pytest.MonkeyPatch, said: list[tuple[str]], unfit: bool
) -> None:
    monkeypatch.setattr(server, "rows", lambda *_: said)
    found = server._member(cast("Any", None), MYSQL)
    assert (found is not None and found.lag is None and "name the primary" in found.problem) is unfit


@pytest.mark.parametrize(
    ("dialect", "version", "served"),
    [
        (MYSQL, "9.7.4-2", True),
        (MYSQL, "8.0.23", True),
        (MYSQL, "8.0.22", False),
        (MYSQL, "5.7.44-log", False),
        (MYSQL, "10.11.19-MariaDB", False),
        (MARIADB, "10.11.19-MariaDB-0+deb12u1", True),
        (MARIADB, "10.5.29-MariaDB", False),
        (MARIADB, "9.7.4-2", False),
    ],
)
def test_a_version_that_is_not_served_is_named_with_what_is(dialect: Dialect, version: str, served: bool) -> None:
    if served:
        demand_supported(dialect, version, "h:1")
        return
    with pytest.raises(UserFault, match=f"h:1 runs .*{version}.*expected .* or later") as caught:
        demand_supported(dialect, version, "h:1")
    assert caught.value.reason == "UnsupportedVersion"


@pytest.mark.parametrize("engine", EngineName)
def test_what_is_not_shipped_is_not_claimed(engine: EngineName) -> None:
    """The operator plans by the one, the agent acts by the other."""
    if CAPABILITIES[engine].log_onto:
        assert load_archiver(engine)
        return
    with pytest.raises(UserFault, match="does not archive") as caught:
        load_archiver(engine)
    assert caught.value.reason == "ContinuousUnsupported"
