"""What recovery decides without a server: configurations, the end of a log, what the control file says."""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import segment_name
from databosun.engines.postgresql.recovery.configuration import Privacy, private_settings, quoted, recovery_settings
from databosun.engines.postgresql.recovery.control import parse_control
from databosun.engines.postgresql.recovery.feeder import Feeder
from databosun.engines.postgresql.recovery.tail import demand_complete_tail, record_end, record_start

SEGMENT = 1024 * 1024
CONTROL = """\
Database system identifier:           7712221390833014383
Database cluster state:               in production
Latest checkpoint's TimeLineID:       3
Bytes per WAL segment:                1048576
max_connections setting:              500
max_worker_processes setting:         12
max_wal_senders setting:              7
max_prepared_xacts setting:           64
max_locks_per_xact setting:           128
Data page checksum version:           1
"""


class Log:
    """Files in a folder as a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def take(self, name: str) -> Path | None:
        """A copy of the file, the caller's to take away."""
        self.asked.append(name)
        source = self.folder / name
        if not source.exists():
            return None
        target = self.folder / f"taken-{name}"
        target.write_bytes(source.read_bytes())
        return target


def test_the_primarys_minima_are_kept_and_nothing_listens(tmp_path: Path) -> None:
    control = parse_control(CONTROL)
    assert (control.timeline, control.segment_bytes, control.checksums) == (3, SEGMENT, True)
    settings = private_settings(Privacy(tmp_path, 18, control.settings))
    assert settings["max_connections"] == "500"
    assert settings["max_worker_processes"] == "12"
    assert settings["max_wal_senders"] == "7"
    assert settings["max_prepared_transactions"] == "64"
    assert settings["max_locks_per_transaction"] == "128"
    assert settings["listen_addresses"] == ""
    assert settings["archive_mode"] == "off"
    assert settings["wal_level"] == "replica"
    assert settings["max_logical_replication_workers"] == "0"
    assert settings["event_triggers"] == "off"
    assert "event_triggers" not in private_settings(Privacy(tmp_path, 16))


def test_a_control_file_that_makes_no_sense_is_said() -> None:
    with pytest.raises(SafetyStop, match="RecoveryFailed"):
        parse_control("Database cluster state: shut down\n")


@pytest.mark.parametrize(
    ("until", "name", "value"),
    [
        (RecoveryPoint(kind=PointKind.IMMEDIATE), "recovery_target", "immediate"),
        (RecoveryPoint(kind=PointKind.LSN, lsn="0/16B3748"), "recovery_target_lsn", "0/16B3748"),
        (RecoveryPoint(kind=PointKind.RESTORE_POINT, name="it's"), "recovery_target_name", "it's"),
        (
            RecoveryPoint(kind=PointKind.TIME, time=datetime(2026, 3, 1, 2, 3, 4, 567, tzinfo=UTC)),
            "recovery_target_time",
            "2026-03-01 02:03:04.000567+00",
        ),
    ],
)
def test_a_point_becomes_one_target(until: RecoveryPoint, name: str, value: str) -> None:
    settings = recovery_settings(until, 2, "exit 1")
    assert settings[name] == value
    assert settings["recovery_target_timeline"] == "2"
    assert settings["recovery_target_action"] == "promote"


def test_the_newest_has_no_target() -> None:
    settings = recovery_settings(RecoveryPoint(kind=PointKind.LATEST), None, "exit 1")
    assert set(settings) == {"restore_command", "recovery_target_action", "recovery_target_timeline"}
    with pytest.raises(ValueError, match="needs its value"):
        recovery_settings(RecoveryPoint(kind=PointKind.TIME), None, "exit 1")


def test_values_are_quoted() -> None:
    assert quoted("it's a \\ path") == "'it''s a \\\\ path'"


def segment_with(folder: Path, number: int, at: int, length: int) -> None:
    """A segment with a record of that length at an offset."""
    data = bytearray(SEGMENT)
    data[at : at + 4] = length.to_bytes(4, "little")
    (folder / segment_name(1, number, SEGMENT)).write_bytes(data)


def test_a_record_that_the_log_holds_only_the_beginning_of_is_no_gap(tmp_path: Path) -> None:
    reached = 5 * SEGMENT + 0x4000 + 0x100
    segment_with(tmp_path, 5, 0x4100, 5000)
    demand_complete_tail(Log(tmp_path), reached, reached + 3000, 1, SEGMENT)
    demand_complete_tail(Log(tmp_path), reached, reached + 2, 1, SEGMENT)
    demand_complete_tail(Log(tmp_path), reached, reached, 1, SEGMENT)


@pytest.mark.parametrize("length", [0, 1000])
def test_whole_records_that_were_not_replayed_are_a_gap(tmp_path: Path, length: int) -> None:
    reached = 5 * SEGMENT + 0x4000 + 0x100
    segment_with(tmp_path, 5, 0x4100, length)
    with pytest.raises(SafetyStop, match="LogGap"):
        demand_complete_tail(Log(tmp_path), reached, reached + 3000, 1, SEGMENT)


def test_a_segment_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(SafetyStop, match="LogGap"):
        demand_complete_tail(Log(tmp_path), 5 * SEGMENT, 6 * SEGMENT, 1, SEGMENT)


def test_records_begin_behind_page_headers_and_cross_them() -> None:
    assert record_start(0x4101, SEGMENT) == 0x4108
    assert record_start(0x4000, SEGMENT) == 0x4000 + 24
    assert record_start(SEGMENT, SEGMENT) == SEGMENT + 40
    assert record_end(0x4000 + 24, 100, SEGMENT) == 0x4000 + 124
    assert record_end(0x4000 + 24, 8192 - 24 + 10, SEGMENT) == 0x6000 + 24 + 10


def asked(feeder: Feeder, data: Path, name: str, place: str) -> int:
    """What the server would get."""
    command = feeder.command.replace("%f", name).replace("%p", place)
    return subprocess.run(["/bin/sh", "-c", command], cwd=data, check=False, timeout=60).returncode


def test_a_segment_is_put_in_its_place_or_said_not_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "data/pg_wal").mkdir(parents=True)
    (tmp_path / "log").mkdir()
    (tmp_path / "log/000000010000000000000001").write_bytes(b"wal")
    with Feeder(tmp_path, tmp_path / "data", Log(tmp_path / "log")) as feeder:
        assert asked(feeder, tmp_path, "000000010000000000000001", "pg_wal/RECOVERYXLOG") == 0
        assert (tmp_path / "data/pg_wal/RECOVERYXLOG").read_bytes() == b"wal"
        assert asked(feeder, tmp_path, "000000010000000000000002", "pg_wal/RECOVERYXLOG") == 1
        assert feeder.fault is None
        assert feeder.served == 1


def test_a_fault_ends_the_recovery_at_once_and_is_kept(tmp_path: Path) -> None:
    class Broken:
        def take(self, name: str) -> Path | None:
            raise SafetyStop("LogCorrupt", f"{name} is damaged")

    with Feeder(tmp_path, tmp_path, Broken()) as feeder:
        assert asked(feeder, tmp_path, "000000010000000000000001", "x") == 126
        assert isinstance(feeder.fault, SafetyStop)


def test_a_feeder_ends_while_nobody_asks(tmp_path: Path) -> None:
    before = threading.active_count()
    with Feeder(tmp_path, tmp_path, Log(tmp_path)):
        pass
    assert threading.active_count() == before
