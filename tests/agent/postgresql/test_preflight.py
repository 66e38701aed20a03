"""A probe names what is missing, and what it says to run is what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent.postgresql.conftest import Workshop, target_of
from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.postgresql import ENGINE
from support.pgserver import Server

pytestmark = pytest.mark.servers


@pytest.fixture
def limited(server: Server) -> Iterator[Target]:
    """A role that may log in and nothing else."""
    yield target_of(server, user="limited")
    server.sql("REVOKE pg_read_all_data, pg_read_all_settings FROM limited")
    server.sql("ALTER ROLE limited NOREPLICATION NOBYPASSRLS; ALTER ROLE limited RESET ALL")


def findings_of(target: Target, *methods: Method, incremental: bool = False) -> dict[str, Finding]:
    """Findings by reason."""
    found = ENGINE.probe(target, methods, incremental=incremental).findings
    return {finding.reason: finding for finding in found}


def test_a_good_role_has_no_findings(server: Server) -> None:
    found = ENGINE.probe(target_of(server), [Method.PHYSICAL, Method.LOGICAL], incremental=server.major >= 17)
    assert found.findings == []
    assert found.reachable
    assert found.engine_version
    assert found.engine_version.startswith(f"{server.major}.")
    assert found.system_identifier == server.sql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    assert found.bytes
    assert found.bytes > 10_000_000
    assert not found.in_recovery


def test_each_missing_grant_is_named_and_its_statement_mends_it(server: Server, limited: Target) -> None:
    server.sql("CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY", "shop")
    try:
        found = findings_of(limited, Method.AUTO)
        assert set(found) == {
            "NoReplicationPrivilege",
            "PermissionDenied",
            "LargeObjectsUnreadable",
            "RowLevelSecurity",
            "SettingsHidden",
        }
        assert found["NoReplicationPrivilege"].blocks == ["Physical"]
        assert found["PermissionDenied"].blocks == ["Logical"]
        assert (
            "public.customers" in found["PermissionDenied"].message or "Odd schema" in found["PermissionDenied"].message
        )
        assert found["SettingsHidden"].blocks == []
        for finding in found.values():
            assert finding.fix
            server.sql(finding.fix)
        assert findings_of(limited, Method.AUTO) == {}
    finally:
        server.sql("DROP TABLE guarded", "shop")


def test_a_backup_that_cannot_work_is_refused_with_the_statement(workshop: Workshop, limited: Target) -> None:
    for method, reason, statement in (
        (Method.PHYSICAL, "NoReplicationPrivilege", 'ALTER ROLE "limited" REPLICATION;'),
        (Method.LOGICAL, "PermissionDenied", 'GRANT pg_read_all_data TO "limited";'),
    ):
        with pytest.raises(UserFault) as caught:
            workshop.back_up(f"b-{method.lower()}", method, target=limited)
        assert caught.value.reason == reason
        assert statement in caught.value.message


def test_unreadable_large_objects_are_a_refusal_not_an_omission(workshop: Workshop, limited: Target) -> None:
    workshop.server.sql("GRANT pg_read_all_data TO limited")
    with pytest.raises(UserFault) as caught:
        workshop.back_up("b", Method.LOGICAL, target=limited)
    assert caught.value.reason == "LargeObjectsUnreadable"
    assert 'ALTER ROLE "limited" SET lo_compat_privileges = on;' in caught.value.message


def test_auto_takes_logical_without_the_replication_privilege_and_says_so(
    workshop_of: Callable[[int], Workshop], servers: Callable[[int], Server]
) -> None:
    server = servers(16)
    server.sql("GRANT pg_read_all_data TO limited; ALTER ROLE limited SET lo_compat_privileges = on")
    try:
        captured, _ = workshop_of(16).back_up("b", Method.AUTO, target=target_of(server, user="limited"))
        assert captured.method is Method.LOGICAL
        assert captured.notes[0].startswith(
            "AutoMethod: Logical, because Physical is not possible: NoReplicationPrivilege"
        )
        assert 'ALTER ROLE "limited" REPLICATION;' in captured.notes[0]
    finally:
        server.sql("REVOKE pg_read_all_data FROM limited; ALTER ROLE limited RESET ALL")


def test_auto_takes_physical_of_a_server_and_logical_of_one_database(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(16)
    captured, _ = workshop.back_up("whole", Method.AUTO)
    assert captured.method is Method.PHYSICAL
    only = target_of(workshop.server, database="shop")
    captured, manifest = workshop.back_up("one", Method.AUTO, target=only)
    assert captured.method is Method.LOGICAL
    assert [a["name"] for a in manifest["artefacts"]] == ["globals.sql.zst", "db-shop.tar"]
    assert {found.name.split(".")[0].split(" ")[0] for found in captured.objects} == {"shop"}
    captured, _ = workshop.back_up("explicit", Method.PHYSICAL, target=only)
    assert captured.notes[0].startswith("WholeServer: connection.database is shop")


def test_settings_that_rule_out_physical_backups(own_server: Callable[..., Server]) -> None:
    server = own_server(17, wal_level="minimal", max_wal_senders="0", summarize_wal="off")
    target = target_of(server, user="postgres")
    server.sql("ALTER ROLE postgres PASSWORD 'it''s: a \\ secret'")
    found = findings_of(target, Method.PHYSICAL, incremental=True)
    assert set(found) == {"WalLevelMinimal", "NoWalSender", "SummarizeWalOff"}
    assert found["SummarizeWalOff"].blocks == []
    for finding in found.values():
        assert finding.fix
        for statement in finding.fix.split("--")[0].split(";"):
            if statement.strip():
                server.sql(statement)
    server.stop()
    (server.data / "postgresql.conf").write_text(
        "\n".join(
            line
            for line in (server.data / "postgresql.conf").read_text().splitlines()
            if not line.startswith(("wal_level", "max_wal"))
        )
    )
    server.start()
    assert findings_of(target, Method.PHYSICAL, incremental=True) == {}


def test_no_pg_hba_entry_for_replication(own_server: Callable[..., Server]) -> None:
    server = own_server(18)
    server.sql(
        "CREATE ROLE backup LOGIN REPLICATION PASSWORD 'it''s: a \\ secret'; GRANT pg_read_all_settings TO backup"
    )
    server.hba = tuple(line for line in server.hba if not line.startswith("host replication"))
    server.configure()
    server.reload()
    found = findings_of(target_of(server), Method.PHYSICAL)
    assert set(found) == {"NoPgHbaEntry"}
    assert found["NoPgHbaEntry"].blocks == ["Physical"]
    assert 'host replication "backup"' in (found["NoPgHbaEntry"].fix or "")


def test_before_17_a_warning_says_that_incrementals_become_fulls(servers: Callable[[int], Server]) -> None:
    found = findings_of(target_of(servers(15)), Method.PHYSICAL, incremental=True)
    assert list(found) == ["IncrementalUnsupported"]
    assert found["IncrementalUnsupported"].blocks == []


def test_a_subscription_that_the_dump_will_lack_is_said(
    own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop]
) -> None:
    server = own_server(16)
    server.sql(
        "CREATE ROLE backup LOGIN PASSWORD 'it''s: a \\ secret'; GRANT pg_read_all_data, pg_read_all_settings TO backup"
    )
    server.sql("CREATE SUBSCRIPTION far CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false)")
    captured, _ = workshop_of(server).back_up("b", Method.LOGICAL)
    assert any(note.startswith("SubscriptionsNotDumped:") and "far" in note for note in captured.notes)


class TestHooks:
    """SQL around a backup."""

    def test_it_runs_in_the_targets_database(self, servers: Callable[[int], Server]) -> None:
        target = target_of(servers(18), user="limited", database="shop")
        ENGINE.run_hook(target, Hook(name="check", sql="SELECT 1; SELECT 2"))

    def test_an_error_names_the_hook_and_the_code(self, servers: Callable[[int], Server]) -> None:
        with pytest.raises(UserFault) as caught:
            ENGINE.run_hook(target_of(servers(18)), Hook(name="broken", sql="SELECT 1 / 0"))
        assert caught.value.reason == "HookFailed"
        assert "broken" in caught.value.message
        assert "22012" in caught.value.message

    def test_it_ends_with_its_timeout(self, servers: Callable[[int], Server]) -> None:
        with pytest.raises(UserFault) as caught:
            ENGINE.run_hook(target_of(servers(18)), Hook(name="slow", sql="SELECT pg_sleep(60)", timeout="300ms"))
        assert caught.value.reason == "HookTimeout"
