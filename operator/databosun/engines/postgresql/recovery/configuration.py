"""The private server's own configuration: reachable over one socket, archiving nothing, talking to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

from databosun.api.drill import PointKind, RecoveryPoint

PORT = 5432
SHELL_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
# What the copy itself may need; the primary's own are taken where they are higher.
_FLOOR = {
    "max_connections": 20,
    "max_worker_processes": 8,
    "max_wal_senders": 0,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


# Reachable over its socket, acting for nobody, speaking one language.
_ALONE = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "ssl": "off",
    "wal_level": "replica",
    "archive_mode": "off",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%n ",
    "log_checkpoints": "off",
    "lc_messages": "C",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "restart_after_crash": "off",
    # Queries during recovery are not needed, and forbidding them lifts the limits that a standby must keep.
    "hot_standby": "off",
}
# Nothing of the copy outlives a crash of its pod; what shall last is flushed in the end, and that is counted.
_THROWN_AWAY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1d",
    "jit": "off",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",  # containers have 64 MiB of the other kind
}


@dataclass(frozen=True, slots=True)
class Privacy:
    """What the configuration depends on. `folder`: of the socket, the configuration and nothing else, mode 0700."""

    folder: Path
    major: int
    minima: Mapping[str, int] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)


def write_configuration(privacy: Privacy, recovery: Mapping[str, str]) -> Path:
    """Write postgresql.conf, pg_hba.conf and pg_ident.conf into the folder; returns the first."""
    folder = privacy.folder
    (folder / "pg_hba.conf").write_text("local all all trust\n")
    (folder / "pg_ident.conf").write_text("")
    settings = {**private_settings(privacy), **recovery}
    file = folder / "postgresql.conf"
    file.write_text("".join(f"{name} = {quoted(value)}\n" for name, value in settings.items()))
    return file


def private_settings(privacy: Privacy) -> dict[str, str]:
    """All settings but those of the recovery itself. The rest are the server's defaults, never the original's."""
    folder = privacy.folder
    minima = {name: str(max(least, privacy.minima.get(name, 0))) for name, least in _FLOOR.items()}
    return {
        **_ALONE,
        **_THROWN_AWAY,
        "port": str(PORT),
        "unix_socket_directories": str(folder),
        "hba_file": str(folder / "pg_hba.conf"),
        "ident_file": str(folder / "pg_ident.conf"),
        "shared_preload_libraries": ",".join(privacy.preload),
        **minima,
        **({"event_triggers": "off"} if privacy.major >= 17 else {}),
        **privacy.more,
    }


def recovery_settings(until: RecoveryPoint, timeline: int | None, restore_command: str) -> dict[str, str]:
    """Where recovery gets its log from, and where it ends; it always ends in a promotion."""
    settings = {
        "restore_command": restore_command,
        "recovery_target_action": "promote",
        "recovery_target_timeline": str(timeline) if timeline else "current",
    }
    match until.kind:
        case PointKind.IMMEDIATE:
            settings["recovery_target"] = "immediate"
        case PointKind.TIME if until.time is not None:
            settings["recovery_target_time"] = until.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        case PointKind.LSN if until.lsn is not None:
            # What begins at that position is not part of it: a position says how much of the log counts.
            settings |= {"recovery_target_lsn": until.lsn, "recovery_target_inclusive": "off"}
        case PointKind.RESTORE_POINT if until.name is not None:
            settings["recovery_target_name"] = until.name
        case PointKind.NONE | PointKind.LATEST:
            pass
        case _:
            msg = f"a recovery point of kind {until.kind} needs its value"
            raise ValueError(msg)
    return settings


def quoted(value: str) -> str:
    """A value as postgresql.conf takes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
