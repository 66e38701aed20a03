"""Lays a backup's files out: archives unpacked, chains combined, tablespaces below the place and nowhere else."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from databosun.domain.errors import DatabosunError, SafetyStop, WorldFault
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.filemanifest import manifest_files
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.checksums import compare_checksums
from databosun.engines.postgresql.recovery.facts import Backup
from databosun.engines.postgresql.recovery.programs import run_tool
from databosun.engines.postgresql.recovery.unpack import unpack
from databosun.engines.recovery import Source

MANIFEST = "backup_manifest"
AUTO_CONF = "postgresql.auto.conf"
SAVED = ".saved-by-databosun"
_BASE, _WAL = "base.tar.zst", "pg_wal.tar.zst"
_ARCHIVES_AT_ONCE = 2
_LINKS_SINCE = 18  # pg_combinebackup --link
# What a server leaves about its own life; of another one it would only mislead.
_FOREIGN = ("standby.signal", "recovery.signal", "postmaster.opts", "postmaster.pid")


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one restore, all below `root`."""

    root: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    @property
    def tablespaces(self) -> Path:
        """One folder a tablespace, named by its oid."""
        return self.root / "tablespaces"

    @property
    def chain(self) -> Path:
        """The backups that are to be combined, each unpacked; empty afterwards."""
        return self.root / "chain"


def lay_out(backups: Sequence[Backup], source: Source, place: Place, pulse: Callable[[], None]) -> None:
    """Leave the files of the last backup of a chain at the place, as its server had them."""
    with guarded(f"writing below {place.root}"):
        if len(backups) == 1:
            _unpack_all([(backups[0], place.data, place.tablespaces)], source, pulse)
        else:
            _combine(backups, source, place, pulse)
        _link(place.data, backups[-1].tablespaces, place.tablespaces, absolute=False)


def make_private(backup: Backup, place: Place) -> None:
    """Take what would make the copy act as the original: settings, signals. Tablespaces keep the links made here."""
    with guarded(f"preparing {place.data}"):
        for name in _FOREIGN:
            (place.data / name).unlink(missing_ok=True)
        auto = place.data / AUTO_CONF
        if auto.exists():
            auto.replace(auto.with_name(AUTO_CONF + SAVED))
        tablespace_map = place.data / "tablespace_map"
        if tablespace_map.exists():
            # The server makes the links anew from this file when it starts.
            lines = [f"{oid} {_relative(oid)}\n" for oid in backup.tablespaces]
            tablespace_map.write_text("".join(lines))
        (place.data / "recovery.signal").touch()
    _demand_own_links(place)


def verify_files(major: int, place: Place, pulse: Callable[[], None]) -> None:
    """Compare every file with the server's own manifest. SafetyStop(FilesDamaged) names those that differ."""
    try:
        arguments = ["--quiet", "--skip-checksums", str(place.data)]
        run_tool("pg_verifybackup", major, arguments, pulse, doing="verifying the files")
    except DatabosunError as fault:
        if fault.reason != Reason.DATABASE_ERROR:
            raise
        raise SafetyStop(Reason.FILES_DAMAGED, fault.message) from fault
    with guarded(f"reading the files below {place.data}"):
        compare_checksums(place.data, manifest_files((place.data / MANIFEST).read_bytes()), pulse)


def room_for(backups: Sequence[Backup]) -> int:
    """Bytes at the place, at most: all inputs, of a chain the result beside them, and the log kept at a time."""
    inputs = sum(backup.logical_bytes for backup in backups)
    output = inputs if len(backups) > 1 else 0
    return inputs + output + inputs // 20 + 512 * 1024 * 1024


def _combine(backups: Sequence[Backup], source: Source, place: Place, pulse: Callable[[], None]) -> None:
    last = backups[-1]
    jobs = [(one, place.chain / one.id, place.chain / f"{one.id}.tablespaces") for one in backups]
    _unpack_all(jobs, source, pulse)
    for one, data, spaces in jobs:
        _link(data, one.tablespaces, spaces, absolute=True)
    mapping = []
    for oid in last.tablespaces:
        (place.tablespaces / str(oid)).mkdir(parents=True, mode=0o700)
        mapping.append(f"--tablespace-mapping={place.chain}/{last.id}.tablespaces/{oid}={place.tablespaces}/{oid}")
    how = "--link" if last.major >= _LINKS_SINCE else "--copy-file-range"
    inputs = [str(data) for _, data, _ in jobs]
    arguments = ["--no-sync", how, *mapping, f"--output={place.data}", *inputs]
    run_tool("pg_combinebackup", last.major, arguments, pulse, doing=f"combining the chain of {last.id}")
    shutil.rmtree(place.chain)


def _unpack_all(jobs: Sequence[tuple[Backup, Path, Path]], source: Source, pulse: Callable[[], None]) -> None:
    """Two archives at once: one waits for storage or decompresses while the other writes."""
    failed = threading.Event()

    def go_on() -> None:
        pulse()
        if failed.is_set():
            raise WorldFault(Reason.RECOVERY_FAILED, "given up, because another archive could not be unpacked")

    with ThreadPoolExecutor(_ARCHIVES_AT_ONCE, thread_name_prefix="unpack") as pool:
        running = []
        for backup, data, spaces in jobs:
            data.mkdir(parents=True, mode=0o700)
            for name in _largest_first(backup, source):
                running.append(pool.submit(_unpack_one, backup, name, source, _target(name, data, spaces), go_on))
        done, pending = wait(running, return_when=FIRST_EXCEPTION)
        failures = [error for future in done if (error := future.exception())]
        if failures:
            failed.set()
            for future in pending:
                future.cancel()
            raise failures[0]
    for backup, data, _ in jobs:
        (data / MANIFEST).write_bytes(source.read_plain(backup.id, MANIFEST))


def _largest_first(backup: Backup, source: Source) -> list[str]:
    names = [name for name in backup.artefacts if name != MANIFEST]
    return sorted(names, key=lambda name: -source.size(backup.id, name))


def _target(name: str, data: Path, spaces: Path) -> Path:
    if name == _BASE:
        return data
    return data / "pg_wal" if name == _WAL else spaces / name.split(".", 1)[0]


def _unpack_one(backup: Backup, name: str, source: Source, to: Path, pulse: Callable[[], None]) -> None:
    with source.open(backup.id, name) as reader:
        unpack(reader, to, pulse)


def _link(data: Path, oids: Sequence[int], spaces: Path, *, absolute: bool) -> None:
    links = data / "pg_tblspc"
    for oid in oids:
        link = links / str(oid)
        link.unlink(missing_ok=True)
        link.symlink_to(spaces / str(oid) if absolute else _relative(oid))


def make_movable(place: Place) -> None:
    """Have no link depend on where the place is mounted; of a server that is stopped."""
    for link in (place.data / "pg_tblspc").iterdir():
        if link.is_symlink() and (target := link.resolve()).is_relative_to(place.tablespaces.resolve()):
            link.unlink()
            link.symlink_to(f"../../tablespaces/{target.name}")


def _relative(oid: int) -> str:
    """From pg_tblspc/: the place can be mounted anywhere."""
    return f"../../tablespaces/{oid}"


def _demand_own_links(place: Place) -> None:
    """No path of the data directory may lead out of the place: a drill that writes elsewhere harms production."""
    root = place.root.resolve()
    for folder, folders, files in os.walk(place.data):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                message = f"{path} leads to {path.resolve()}, out of {root}; the copy is not started"
                raise SafetyStop(Reason.UNSAFE_ARCHIVE, message)
