"""A probe names what is missing, and what it says to run is what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.mysql.conftest import back_up, target_of
from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.mysql import ENGINE
from support.mariaserver import MariaServer

pytestmark = pytest.mark.servers

EVERYTHING = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "REPLICATION SLAVE", "BINLOG MONITOR")


@pytest.fixture
def limited(maria: MariaServer) -> Iterator[Target]:
    """An account that may log in and nothing else."""
    yield target_of(maria, user="limited")
    maria.sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM limited@'%'")


def findings_of(target: Target, *methods: Method, incremental: bool = False) -> dict[str, Finding]:
    """Findings by reason."""
    found = ENGINE.probe(target, methods or (Method.AUTO,), incremental=incremental).findings
    return {finding.reason: finding for finding in found}


def test_a_good_account_has_no_findings(maria: MariaServer) -> None:
    found = ENGINE.probe(target_of(maria), [Method.AUTO], incremental=True)
    assert found.findings == []
    assert found.engine_version == maria.sql("SELECT VERSION()")[0][0].split("-")[0]
    assert found.bytes
    assert not found.in_recovery


def test_the_statement_that_is_given_mends_it(maria: MariaServer, limited: Target, workplace: Path) -> None:
    missing = findings_of(limited)["PermissionDenied"]
    assert set(missing.blocks) == {"Logical", "Auto"}
    maria.sql(missing.fix or "")
    assert "PermissionDenied" not in findings_of(limited, incremental=True)
    captured, _ = back_up(limited, workplace)
    assert captured.objects
    log = findings_of(limited, incremental=True)["NoReplicationPrivilege"]
    assert log.blocks == []
    maria.sql(log.fix or "")
    assert findings_of(limited, incremental=True) == {}


@pytest.mark.parametrize("privilege", ["SHOW VIEW", "TRIGGER", "EVENT"])
def test_a_dump_that_would_lack_something_is_refused_beforehand(
    maria: MariaServer, limited: Target, workplace: Path, privilege: str
) -> None:
    """Without TRIGGER, mariadb-dump ends with 0 and a dump that has no triggers."""
    maria.sql(f"GRANT {', '.join(one for one in EVERYTHING if one != privilege)} ON *.* TO limited@'%'")
    with pytest.raises(UserFault, match=privilege) as caught:
        back_up(limited, workplace)
    assert caught.value.reason == "PermissionDenied"
    assert f"GRANT {privilege} ON *.* TO 'limited'@'%';" in caught.value.message
    assert not list((workplace / "b").iterdir())


def test_a_role_in_force_counts(maria: MariaServer, limited: Target) -> None:
    maria.sql(
        "CREATE OR REPLACE ROLE backing_up;\n"
        f"GRANT {', '.join(EVERYTHING)} ON *.* TO backing_up;\n"
        "GRANT backing_up TO limited@'%';\n"
        "SET DEFAULT ROLE backing_up FOR limited@'%'"
    )
    try:
        assert findings_of(limited, incremental=True) == {}
    finally:
        maria.sql("SET DEFAULT ROLE NONE FOR limited@'%';\nDROP ROLE backing_up")


def test_grants_on_one_schema_do_for_that_schema_and_hide_others(maria: MariaServer, limited: Target) -> None:
    maria.sql("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.* TO limited@'%'")
    maria.sql("GRANT SELECT ON mysql.* TO limited@'%'")
    assert "PermissionDenied" in findings_of(limited), "the whole server cannot be seen"
    assert findings_of(target_of(maria, user="limited", database="shop")) == {}
    elsewhere = findings_of(target_of(maria, user="limited", database="nowhere"))
    assert set(elsewhere) == {"PermissionDenied", "NoSuchDatabase"}


def test_tables_without_transactions_are_refused_unless_the_policy_allows_them(
    own_maria: Callable[..., MariaServer], workplace: Path
) -> None:
    server = own_maria()
    server.sql("CREATE TABLE old (id INT) ENGINE = MyISAM;\nINSERT INTO old VALUES (1)", "shop")
    with pytest.raises(UserFault, match=r"shop\.old \(MyISAM\)") as caught:
        back_up(target_of(server), workplace)
    assert caught.value.reason == "NotTransactional"
    assert "consistency: Partial" in caught.value.message
    captured, _ = back_up(target_of(server), workplace, "partial", consistency="Partial")
    assert {note.split(":")[0] for note in captured.notes} == {"AccountsLeft", "NotTransactional"}
    assert "shop.old" in {found.name for found in captured.objects}
    finding = findings_of(target_of(server))["NotTransactional"]
    assert finding.blocks == []
    server.sql(finding.fix or "")
    assert findings_of(target_of(server)) == {}


def test_a_view_that_no_dump_gets_past_is_the_users_to_mend(
    own_maria: Callable[..., MariaServer], workplace: Path
) -> None:
    server = own_maria()
    server.sql("CREATE TABLE gone (id INT);\nCREATE VIEW aa AS SELECT id FROM gone;\nDROP TABLE gone", "shop")
    with pytest.raises(UserFault, match="aa") as caught:
        back_up(target_of(server), workplace)
    assert caught.value.reason == "ViewInvalid"


def test_physical_is_said_not_to_be(maria: MariaServer, workplace: Path) -> None:
    with pytest.raises(UserFault) as caught:
        back_up(target_of(maria), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "UnsupportedMethod"


def test_a_log_of_statements_is_warned_of(own_maria: Callable[..., MariaServer]) -> None:
    server = own_maria()
    server.sql("SET GLOBAL binlog_format = 'STATEMENT'")
    found = findings_of(target_of(server), incremental=True)
    assert set(found) == {"BinlogFormat"}
    assert found["BinlogFormat"].blocks == []


def test_a_hook_runs_within_its_time_and_its_errors_are_its_own(own_maria: Callable[..., MariaServer]) -> None:
    server = own_maria()
    server.sql("GRANT INSERT ON shop.* TO backup@'%'")
    target = target_of(server, database="shop")
    ENGINE.run_hook(target, Hook(name="mark", sql="INSERT INTO nothing VALUES (42)"))
    assert server.sql("SELECT id FROM nothing", "shop") == [(42,)]
    with pytest.raises(UserFault, match="nonsense") as caught:
        ENGINE.run_hook(target, Hook(name="bad", sql="SELECT nonsense"))
    assert caught.value.reason == "HookFailed"
    with pytest.raises(UserFault, match="timeout of 1s") as caught:
        ENGINE.run_hook(target, Hook(name="slow", sql="SELECT SLEEP(100) FROM customers", timeout="1s"))
    assert caught.value.reason == "HookTimeout"
