"""An archiver as its pod runs it, what it says, and a recovery made of nothing but what it left in the bucket."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from databosun.agent.children import Children
from databosun.agent.redact import Redactor
from databosun.agent.stop import Stop
from databosun.agent.walfetch import WalFetcher
from databosun.api.archive import GAP_EVENT, POSITION_EVENT, LogGap, PositionLine
from databosun.api.backuptasks import ArchiveTask, DropSlotTask
from databosun.api.result import Finding
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.wal import parse_lsn, segment_name
from databosun.engines.base import Credentials, Target
from databosun.engines.registry import load_archiver
from databosun.storage.layout import Layout
from databosun.storage.owner import Claimant, claim
from databosun.storage.port import ObjectStore
from databosun.storage.volume import VolumeStore
from databosun.storage.walnames import WalFolder
from databosun.storage.walog import WalLog, read_history, read_log
from support.agekeys import AgeKey
from support.agentrun import CLUSTER, NAMESPACE, UID, Ran, Workplace, read
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, SUPERUSER, Server, hand_over
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
ROLE = f"""CREATE ROLE "{BACKUP_ROLE}" LOGIN REPLICATION PASSWORD '{PASSWORD.replace("'", "''")}'"""
BOUND = {"max_slot_wal_keep_size": "'4GB'"}


@dataclass
class Pod:
    """One archiver's pod; `start` and `kill` it as often as you like. All lives of it share one log file.

    `weed` None: it writes to its volume.
    """

    place: Workplace
    weed: Seaweed | None
    bucket: str
    hosts: Sequence[str]
    port: int
    key: AgeKey | None = None
    endpoint: str | None = None
    task: dict[str, Any] = field(default_factory=dict)
    volume: bool = False
    prefix: str = "prod"
    engine: EngineName = EngineName.POSTGRESQL
    user: str = BACKUP_ROLE
    password: str = PASSWORD
    process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> ObjectStore:
        """The bucket, past any proxy, or the volume."""
        if self.volume or self.weed is None:
            return VolumeStore(self.place.paths.volume)
        return self.weed.store(self.bucket)

    @property
    def layout(self) -> Layout:
        """The names there."""
        return Layout(self.prefix, NAMESPACE)

    def start(self) -> None:
        """Write the request and run."""
        where = None if self.volume else self.weed
        self.place.s3 = where.target(self.bucket, endpoint=self.endpoint) if where else None
        self.place.storage = {"age_recipients": [self.key.recipient] if self.key else [], "prefix": self.prefix}
        self.place.secrets = {
            "database": {"username": self.user, "password": self.password},
            "storage": {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY},
        }
        values = {"database_uid": UID, "max_lag_seconds": 1.0, "max_retained_bytes": 1 << 32, **self.task}
        deadline = datetime.now(UTC) + timedelta(days=3650)
        request = self.place.request(ArchiveTask(**values), database=self.database, deadline=deadline)
        self.place.write(request)
        claim(self.store, self.layout, Claimant(CLUSTER, "prod"), datetime.now(UTC))
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}
        argv = [sys.executable, "-m", "support.archiverprocess", str(self.place.root)]
        with self.log_file.open("ab") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, env=env)

    @property
    def database(self) -> DatabaseTarget:
        """The source as the request names it."""
        return DatabaseTarget(
            namespace=NAMESPACE,
            name="orders",
            uid=UID,
            engine=self.engine,
            hosts=list(self.hosts),
            port=self.port,
            tls=TLSMode.DISABLE,
        )

    def drop_slot(self, system: str) -> Ran:
        """Run the task that cleans up after the archiver."""
        return self.place.run(DropSlotTask(system_identifier=system), database=self.database)

    def preflight(self, *, allow_unbounded: bool) -> list[Finding]:
        """What is missing at the source."""
        target = Target(self.database, Credentials(self.user, self.password))
        return load_archiver(self.engine).preflight(target, allow_unbounded=allow_unbounded)

    def kill(self) -> None:
        """End it as a lost node does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> Ran:
        """End it as a deleted pod is ended; what it left."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=180)
        self.process = None
        return read(code, self.own_output(), self.place.paths.termination.read_bytes())

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self.place.root / "log"

    def own_output(self) -> str:
        """The lines of its last life."""
        text = self.log_file.read_text()
        return text[text.rindex('"event":"started"') :].partition("\n")[2]

    def lines(self, event: str) -> Iterator[dict[str, Any]]:
        """The lines of one kind, of all its lives."""
        for line in self.log_file.read_text().splitlines():
            if f'"event":"{event}"' in line and line.endswith("}"):
                yield json.loads(line)

    def positions(self) -> list[PositionLine]:
        """How far it said it was."""
        return [PositionLine.model_validate(line) for line in self.lines(POSITION_EVENT)]

    def gaps(self) -> list[LogGap]:
        """The gaps it said."""
        return [LogGap.model_validate(line) for line in self.lines(GAP_EVENT)]

    def latest(self) -> PositionLine | None:
        """The newest position line."""
        found = self.positions()
        return found[-1] if found else None

    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self.process is not None and self.process.poll() is None

    def peak_mib(self) -> float:
        """The most memory that this life has had, in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024

    def wait_for(self, lsn: str, seconds: float = 300) -> None:
        """Until it says that the store has the log up to a position."""

        def there() -> bool:
            assert self.running(), self.log_file.read_text()[-4000:]
            line = self.latest()
            return line is not None and line.lsn is not None and parse_lsn(line.lsn) >= parse_lsn(lsn)

        eventually(f"the log is stored up to {lsn}; {self.latest()}", there, seconds)

    def drained(self, seconds: float = 300) -> datetime:
        """Wait until all that was written so far is in the store; by when that was."""
        now = datetime.now(UTC)

        def reached() -> bool:
            assert self.running(), self.log_file.read_text()[-3000:]
            line = self.latest()
            return line is not None and line.recoverable_at is not None and line.recoverable_at > now

        eventually(f"recoverable behind {now}; {self.latest()}", reached, seconds)
        return now

    def says(self, what: str, seconds: float = 180, **expected: object) -> PositionLine:
        """The line that says so, once there is one."""

        def found() -> bool:
            assert self.running(), self.log_file.read_text()[-3000:]
            line = self.latest()
            return line is not None and all(getattr(line, name) == value for name, value in expected.items())

        eventually(f"{what}; {self.latest()}", found, seconds)
        line = self.latest()
        assert line
        return line

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its volume is elsewhere for a while."""
        volume = self.place.paths.volume.resolve()
        elsewhere = volume.with_name("away")
        shutil.move(volume, elsewhere)
        yield
        if volume.exists():
            shutil.rmtree(volume)
        shutil.move(elsewhere, volume)

    def wait_until_streaming(self, seconds: float = 180) -> None:
        """Until it has said a position without trouble."""

        def fine() -> bool:
            assert self.running(), self.log_file.read_text()[-4000:]
            line = self.latest()
            if line is None or line.trouble is not None:
                return False
            return line.slot is not None if self.engine is EngineName.POSTGRESQL else line.recoverable_at is not None

        eventually(f"the archiver streams; {self.latest()}", fine, seconds)

    # --- what it left

    def folder(self, server: Server) -> WalFolder:
        """The log's folder."""
        return self.layout.wal(system_identifier(server))

    def log(self, system: str) -> WalLog:
        """The log as the bucket has it."""
        return read_log(self.store, self.layout.wal(system, self.engine))

    def fetch_all(self, system: str, target: Path, timeline: int = 1) -> None:
        """Every segment along a timeline's history, and its history file, as `pg_wal` would have them."""
        folder = self.layout.wal(system)
        log = self.log(system)
        stop = Stop()
        fetcher = WalFetcher(self.store, Children(stop, Redactor()), [self.key.identity] if self.key else [])
        target.mkdir(parents=True, exist_ok=True)
        history = read_history(self.store, folder, timeline)
        for branch in history.branches:
            if branch.timeline > 1:
                data = self.store.get(folder.history(branch.timeline), limit=1 << 20)
                (target / f"{branch.timeline:08X}.history").write_bytes(data)
            for number, segment in log.segments.get(branch.timeline, {}).items():
                fetcher.fetch(
                    segment, log.segment_bytes, target / segment_name(branch.timeline, number, log.segment_bytes)
                )


def system_identifier(server: Server) -> str:
    """Who a running server is."""
    return str(server.sql("SELECT system_identifier FROM pg_control_system()")[0][0])


def current_lsn(server: Server) -> str:
    """The end of what it has flushed."""
    return str(server.sql("SELECT pg_current_wal_flush_lsn()")[0][0])


def prepare(server: Server, *initdb: str) -> None:
    """A running server with the backup role."""
    server.init(*initdb)
    server.configure(**BOUND)
    server.start()
    server.sql(ROLE)


def base_of(server: Server, target: Path) -> Path:
    """A plain base backup, without the log that it needs."""
    server.run(
        "pg_basebackup", f"--pgdata={target}", "--checkpoint=fast", "--no-sync", "--wal-method=none", "--no-manifest"
    )
    return target


def recover(server: Server, base: Path, wal: Path, *, timeline: str = "latest", **settings: str) -> Server:
    """A server made of a base backup and fetched segments, recovered to the log's end and promoted."""
    copy = Server(server.major, settings=server.settings, hba=server.hba)
    shutil.copytree(base, copy.data)
    copy.data.chmod(0o700)
    hand_over(wal)
    copy.configure(
        restore_command=f"'cp {wal}/%f %p'",
        recovery_target_timeline=f"'{timeline}'",
        recovery_target_action="'promote'",
        **settings,
    )
    (copy.data / "recovery.signal").touch()
    hand_over(copy.data)
    copy.start()
    eventually("recovery ends", lambda: copy.sql("SELECT pg_is_in_recovery()") == [(False,)], 120)
    return copy


class Writer:
    """Commits rows one by one in a thread until told to stop; `acknowledged` are those that the server confirmed."""

    def __init__(self, server: Server, *, first: int = 0, width: int = 600) -> None:
        self._server = server
        self._width = width
        self._next = first
        self._stop = threading.Event()
        self.acknowledged: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(psycopg.Error), self._server.connect() as connection:
            while not self._stop.is_set():
                number, self._next = self._next, self._next + 1
                text = random.Random(number).randbytes(self._width // 2).hex()
                connection.execute("INSERT INTO t VALUES (%s, %s)", (number, text))
                self.acknowledged.append(number)


def beside(primary: Server) -> Server:
    """A streaming standby at the same port of another loopback address, 127.0.0.2, started."""
    other = Server(primary.major, settings={**primary.settings, "listen_addresses": "'127.0.0.2'"}, hba=primary.hba)
    other.port = primary.port
    primary.run("pg_basebackup", f"--pgdata={other.data}", "--checkpoint=fast", "--no-sync")
    # Not --write-recovery-conf: the program may know options that the libpq which the server loads does not.
    (other.data / "standby.signal").touch()
    other.configure(primary_conninfo=f"'host={primary.folder} port={primary.port} user={SUPERUSER}'")
    other.start()
    return other


def write_log(server: Server, mebibytes: int) -> None:
    """Make the server write that much log, at least."""
    server.sql("CREATE TABLE IF NOT EXISTS bulk (v bytea)")
    for _ in range(mebibytes):
        server.sql(
            "INSERT INTO bulk SELECT decode(string_agg(md5(random()::text), ''), 'hex') FROM generate_series(1, 65536)"
        )
