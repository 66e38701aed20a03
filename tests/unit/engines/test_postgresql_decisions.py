"""Pure decisions of the PostgreSQL engine: which method, which chain, what an error means, names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from databosun.api.result import Finding
from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Parent
from databosun.engines.choosing import choose_method
from databosun.engines.postgresql.choose import begins_too_early
from databosun.engines.postgresql.faults import guarded, login_fault, server_fault, tool_fault
from databosun.engines.postgresql.fingerprint import Table, expected_lines, quote, verify_script
from databosun.engines.postgresql.incremental import decide_chain
from databosun.engines.postgresql.logical import artefact_names
from databosun.engines.postgresql.server import Role, ServerFacts
from databosun.engines.postgresql.tools import find_tool

NO_REPLICATION = Finding(
    reason="NoReplicationPrivilege", message="lacks REPLICATION", fix="ALTER ROLE b REPLICATION;", blocks=["Physical"]
)
NO_DATA = Finding(
    reason="PermissionDenied", message="cannot read t", fix="GRANT pg_read_all_data TO b;", blocks=["Logical"]
)
WARNING = Finding(reason="SettingsHidden", message="hidden")

FACTS = ServerFacts(
    host="db",
    version_num=180006,
    version_text="PostgreSQL 18.6 on x86_64-pc-linux-gnu, compiled by gcc",
    system_identifier="7",
    in_recovery=False,
    timeline=3,
    now=datetime(2026, 3, 1, tzinfo=UTC),
    role=Role("backup", superuser=False, replication=True, bypass_rls=False),
    settings={"summarize_wal": "on"},
    databases=(),
)
PARENT = Parent(
    id="b-1",
    base="b-1",
    chain_length=0,
    engine_manifest=b"{}",
    position=Position(lsn="0/1", timeline=3),
    system_identifier="7",
    engine_version="18.3",
)


@pytest.mark.parametrize(
    ("database", "findings", "method", "note"),
    [
        (None, [], Method.PHYSICAL, "whole server is backed up"),
        (None, [WARNING, NO_DATA], Method.PHYSICAL, "whole server is backed up"),
        (None, [NO_REPLICATION], Method.LOGICAL, "ALTER ROLE b REPLICATION;"),
        ("shop", [NO_REPLICATION], Method.LOGICAL, "connection.database is shop"),
    ],
)
def test_auto_says_what_it_takes_and_why(
    database: str | None, findings: list[Finding], method: Method, note: str
) -> None:
    choice = choose_method(Method.AUTO, database, findings)
    assert choice.method is method
    assert len(choice.notes) == 1
    assert choice.notes[0].startswith(f"AutoMethod: {method.value}")
    assert note in choice.notes[0]


@pytest.mark.parametrize(
    ("standby", "redo", "log_begin", "too_early"),
    [
        (True, "0/2FFFFFF", "0/3000000", True),
        (True, "0/3000000", "0/3000000", False),
        (True, "0/2FFFFFF", None, False),
        (False, "0/2FFFFFF", "0/3000000", False),
    ],
)
def test_a_standbys_restart_point_says_where_its_backup_begins(
    *, standby: bool, redo: str, log_begin: str | None, too_early: bool
) -> None:
    assert begins_too_early(replace(FACTS, in_recovery=standby, redo_lsn=redo), log_begin) is too_early


@pytest.mark.parametrize(
    ("wanted", "database", "findings", "reason"),
    [
        (Method.AUTO, None, [NO_REPLICATION, NO_DATA], "PermissionDenied"),
        (Method.AUTO, "shop", [NO_DATA], "PermissionDenied"),
        (Method.PHYSICAL, None, [NO_REPLICATION], "NoReplicationPrivilege"),
        (Method.LOGICAL, None, [NO_DATA], "PermissionDenied"),
        (Method.SNAPSHOT, None, [], "UnsupportedMethod"),
    ],
)
def test_what_cannot_be_done_is_refused(
    wanted: Method, database: str | None, findings: list[Finding], reason: str
) -> None:
    with pytest.raises(UserFault) as caught:
        choose_method(wanted, database, findings)
    assert caught.value.reason == reason


def test_an_explicit_method_is_not_hindered_by_findings_about_the_other() -> None:
    assert choose_method(Method.LOGICAL, None, [NO_REPLICATION]).notes == ()
    assert choose_method(Method.PHYSICAL, None, [NO_DATA]).notes == ()


@pytest.mark.parametrize("wanted", [BackupType.INCREMENTAL, BackupType.DIFFERENTIAL])
def test_a_fitting_parent_carries(wanted: BackupType) -> None:
    chain = decide_chain(wanted, PARENT, FACTS, timeline=3)
    assert (chain.parent, chain.note) == (PARENT, None)


def test_a_full_needs_no_parent_and_no_note() -> None:
    chain = decide_chain(BackupType.FULL, PARENT, FACTS, timeline=3)
    assert (chain.parent, chain.note) == (None, None)


@pytest.mark.parametrize(
    ("parent", "facts", "said"),
    [
        (None, FACTS, "there is no backup"),
        (replace(PARENT, engine_manifest=b""), FACTS, "no backup_manifest"),
        (replace(PARENT, system_identifier="8"), FACTS, "of system 8"),
        (replace(PARENT, system_identifier=None), FACTS, "of system None"),
        (replace(PARENT, engine_version="17.9"), FACTS, "of PostgreSQL 17.9"),
        (replace(PARENT, position=Position(timeline=2)), FACTS, "the timeline is 3"),
        (replace(PARENT, chain_length=8), FACTS, "chain of 8"),
        (PARENT, replace(FACTS, settings={"summarize_wal": "off"}), "summarize_wal is off"),
        (PARENT, replace(FACTS, version_num=160015), "PostgreSQL 16 has no incremental"),
    ],
)
def test_what_cannot_carry_is_said_and_a_full_taken(parent: Parent | None, facts: ServerFacts, said: str) -> None:
    chain = decide_chain(BackupType.INCREMENTAL, parent, facts, timeline=3)
    assert chain.parent is None
    assert chain.note
    assert chain.note.startswith("IncrementalUnsupported: ")
    assert said in chain.note
    assert chain.note.endswith("; a Full was taken instead")


def test_the_eighth_in_a_chain_is_still_taken() -> None:
    parent = replace(PARENT, chain_length=7)
    assert decide_chain(BackupType.INCREMENTAL, parent, FACTS, timeline=3).parent is parent


@pytest.mark.parametrize(
    ("text", "fault", "reason"),
    [
        ('FATAL:  password authentication failed for user "b"', UserFault, "WrongPassword"),
        ("fe_sendauth: no password supplied", UserFault, "WrongPassword"),
        (
            'FATAL:  no pg_hba.conf entry for replication connection from host "10.0.0.1", user "b", no encryption',
            UserFault,
            "NoPgHbaEntry",
        ),
        ("FATAL:  unsupported startup parameter: replication", UserFault, "PgBouncer"),
        ('FATAL:  role "b" does not exist', UserFault, "NoSuchRole"),
        ('FATAL:  role "b" is not permitted to log in', UserFault, "NoSuchRole"),
        ('FATAL:  database "shop" does not exist', UserFault, "NoSuchDatabase"),
        (
            'FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.',
            UserFault,
            "NoConnectPrivilege",
        ),
        ("FATAL:  must be superuser or replication role to start walsender", UserFault, "NoReplicationPrivilege"),
        ("FATAL:  permission denied to start WAL sender", UserFault, "NoReplicationPrivilege"),
        ("server does not support SSL, but SSL was required", UserFault, "TLSNotOffered"),
        ("SSL error: certificate verify failed: self-signed certificate in certificate chain", UserFault, "TLSFailure"),
        ('server certificate for "localhost" does not match host name "db"', UserFault, "TLSFailure"),
        (
            "connection failed: Connection refused\n\tIs the server running on that host?",
            WorldFault,
            "ConnectionRefused",
        ),
        ("connection timeout expired", WorldFault, "ConnectTimeout"),
        ("No route to host", WorldFault, "HostUnreachable"),
        ("FATAL:  the database system is starting up", WorldFault, "ServerNotReady"),
        ("FATAL:  sorry, too many clients already", WorldFault, "TooManyConnections"),
        (
            "FATAL:  number of requested standby connections exceeds max_wal_senders (currently 2)",
            WorldFault,
            "NoWalSender",
        ),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", WorldFault, "ConnectFailed"),
    ],
)
def test_a_refused_login_says_who_must_act(text: str, fault: type[DatabosunError], reason: str) -> None:
    found = login_fault(text, where="db:5432", user="b", replication=False)
    assert (type(found), found.reason) == (fault, reason)
    assert "db:5432" in found.message


@pytest.mark.parametrize(
    ("said", "code", "fault", "reason"),
    [
        ("the standby was promoted during online backup", "55000", WorldFault, "Promoted"),
        ("requested WAL segment 000000010000000000000002 has already been removed", "58P01", WorldFault, "WalRemoved"),
        ("invalid page in block 7 of relation base/5/16390", "XX001", UserFault, "DataCorrupted"),
        ("WAL level not sufficient for making an online backup", "55000", UserFault, "WalLevelMinimal"),
        ('permission denied for table "t"', "42501", UserFault, "PermissionDenied"),
        ("permission denied for large object 7", "42501", UserFault, "LargeObjectsUnreadable"),
        ('query would be affected by row-level security policy for table "t"', "42501", UserFault, "RowLevelSecurity"),
        ("canceling statement due to conflict with recovery", "40001", WorldFault, "RecoveryConflict"),
        ("canceling statement due to lock timeout", "55P03", WorldFault, "LockTimeout"),
        ('relation "t" does not exist', "42P01", WorldFault, "SchemaChanged"),
        ("terminating connection due to administrator command", "57P01", WorldFault, "ConnectionLost"),
        ("could not extend file: No space left on device", "53100", WorldFault, "ServerOutOfResources"),
        ("something new", "XX000", WorldFault, "DatabaseError"),
    ],
)
def test_what_a_server_says(said: str, code: str, fault: type[DatabosunError], reason: str) -> None:
    found = server_fault(said, code, "dumping")
    assert (type(found), found.reason) == (fault, reason)
    assert found.message.startswith("dumping: ")


def test_a_full_disk_is_ours_or_the_servers() -> None:
    ours = tool_fault("pg_dump: error: could not write to file: No space left on device", "pg_dump")
    assert (type(ours), ours.reason) == (UserFault, "ScratchTooSmall")
    theirs = tool_fault("pg_dump: error: query failed: ERROR:  could not write: No space left on device", "pg_dump")
    assert theirs.reason != "ScratchTooSmall"
    with pytest.raises(UserFault, match="ScratchTooSmall"), guarded("writing"):
        raise OSError(28, "No space left on device")


def test_artefact_names_are_plain_and_never_the_same() -> None:
    odd = ["shop", "Shop", "a/b", "a?b", "ünï", "x" * 63, "x" * 62 + "y"]
    names = artefact_names(odd)
    assert list(names) == odd
    assert names["shop"] == "db-shop"
    assert len({name.lower() for name in names.values()}) == len(odd)
    assert all(name.isascii() and "/" not in name and len(name) < 60 for name in names.values())


@pytest.mark.parametrize(
    ("name", "quoted"), [("t", "t"), ("T", '"T"'), ('a"b', '"a""b"'), ("1a", '"1a"'), ("a b", '"a b"')]
)
def test_names_are_quoted_where_needed(name: str, quoted: str) -> None:
    assert quote(name) == quoted


def test_the_expected_lines_follow_the_script() -> None:
    tables = (Table("public", "a", 0, by_value=True), Table("public", "it's", 0, by_value=False))
    objects = (
        ObjectCount(name="shop.public.a", rows=2, fingerprint="v:5"),
        ObjectCount(name="shop.x", rows=0, fingerprint="t:0"),
    )
    assert expected_lines(tables, objects) == 'public.a\t2\tv:5\npublic."it\'s"\t0\tt:0\n'
    script = verify_script(tables)
    assert script.index("hash_record_extended") < script.index("hashtextextended")
    assert "'public.\"it''s\"'" in script


def test_tools_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    said, on_path = tmp_path / "said", tmp_path / "path"
    for folder in (said, on_path):
        folder.mkdir()
        (folder / "pg_tool").write_text("#!/bin/sh\n")
        (folder / "pg_tool").chmod(0o755)
    assert find_tool("pg_tool", {"PATH": str(on_path)}) == on_path / "pg_tool"
    assert find_tool("pg_tool", {"PATH": str(on_path), "DATABOSUN_POSTGRESQL_BIN": str(said)}) == said / "pg_tool"
    with pytest.raises(UserFault, match=r"ToolMissing.*runner image"):
        find_tool("pg_other", {"PATH": str(on_path)})
