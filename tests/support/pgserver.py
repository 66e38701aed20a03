"""Real PostgreSQL servers for tests: on loopback and a Unix socket in a folder of their own, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
# initdb wants a user that has a name, and never root.
UID, GID = pwd.getpwnam("nobody")[2:4]
SUPERUSER = "postgres"
# Debian's own server, which hack/packages installs together with pg_cron.
DEBIAN_MAJOR = 15
DEBIAN = Path(f"/usr/lib/postgresql/{DEBIAN_MAJOR}/bin")
PASSWORD = "it's: a \\ secret"
_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "fsync": "off",
    "full_page_writes": "on",
    "shared_buffers": "'16MB'",
    "max_connections": "60",
    "max_wal_senders": "8",
    "max_replication_slots": "8",
    "wal_level": "replica",
    "autovacuum": "off",
    "lc_messages": "'C'",
    "log_min_messages": "warning",
}


@cache
def bin_dir(major: int) -> Path:
    """Where the programs of a major version are; brought on first use."""
    done = subprocess.run(
        [str(ROOT / "hack/tools/tools"), "get", f"postgresql-{major}"], check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def identity() -> dict[str, Any]:
    """Arguments of Popen that leave root behind; nothing where the tests run as somebody else."""
    return {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}


def hand_over(path: Path) -> None:
    """Give a folder and all in it to the server's user."""
    if os.geteuid() == 0:
        for folder, _, names in os.walk(path):
            for name in ("", *names):
                os.chown(os.path.join(folder, name), UID, GID, follow_symlinks=False)


def open_folder(prefix: str) -> Path:
    """A temporary folder that the server's user owns and can reach."""
    folder = Path(tempfile.mkdtemp(prefix=f"databosun-{prefix}-"))
    folder.chmod(0o755)
    hand_over(folder)
    return folder


class Server:
    """One server. `stop` it in the end; `remove` deletes its folder."""

    def __init__(
        self,
        major: int,
        *,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = (),
        programs: Path | None = None,
    ) -> None:
        self.major = major
        self.bin = programs or bin_dir(major)
        self.folder = open_folder(f"pg{major}")
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = {**_SETTINGS, **({"summarize_wal": "on"} if major >= 17 else {}), **(settings or {})}
        self.hba = (
            *hba,
            "local all all trust",
            "local replication all trust",
            "host all all 127.0.0.0/8 scram-sha-256",
            "host replication all 127.0.0.0/8 scram-sha-256",
        )

    def init(self, *arguments: str) -> None:
        """Make the data directory."""
        self.run(
            "initdb",
            f"--pgdata={self.data}",
            f"--username={SUPERUSER}",
            "--no-sync",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            *arguments,
        )

    def configure(self, **more: str) -> None:
        """Write the configuration; `more` overrides for good."""
        self.settings |= more
        lines = [f"{name} = {value}" for name, value in self.settings.items()]
        lines += [f"port = {self.port}", f"unix_socket_directories = '{self.folder}'"]
        (self.data / "postgresql.conf").write_text("\n".join(lines) + "\n")
        (self.data / "pg_hba.conf").write_text("\n".join(self.hba) + "\n")
        hand_over(self.data)

    def start(self) -> None:
        """Start and wait until it answers."""
        self.run("pg_ctl", f"--pgdata={self.data}", f"--log={self.folder}/log", "--wait", "--timeout=60", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop; harmless where it does not run."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", f"--pgdata={self.data}", "--wait", f"--mode={mode}", "stop", check=False)

    def reload(self) -> None:
        """Have the configuration read again."""
        self.sql("SELECT pg_reload_conf()")

    def kill(self) -> None:
        """End all of its processes without warning, as a lost node does."""
        kill_postmaster(self.data)

    def remove(self) -> None:
        """Stop and delete."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, program: str, *arguments: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """One of this version's programs, as the server's user."""
        argv = [str(self.bin / program), *arguments]
        env = {
            "PATH": f"{self.bin}:{os.defpath}",
            "LC_ALL": "C",
            "HOME": str(self.folder),
            "PGHOST": str(self.folder),
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": PASSWORD,
        }
        # Output goes to a file: a server that was started would hold a pipe open for ever.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=env,
                check=False,
                cwd=self.folder,
                timeout=timeout,
                text=True,
                **identity(),
            )
            said.seek(0)
            output = said.read()
        if check and done.returncode != 0:
            log = self.folder / "log"
            raise AssertionError(
                f"{program} exited {done.returncode}: {output}\n{log.read_text() if log.exists() else ''}"
            )
        return subprocess.CompletedProcess(argv, done.returncode, output, "")

    def connect(self, dbname: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """A superuser's session over the Unix socket."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=SUPERUSER, dbname=dbname, autocommit=True, **more
        )

    def sql(self, statement: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one, if any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def standby(self) -> Server:
        """A streaming standby of this server, started."""
        other = Server(self.major, settings=self.settings, hba=self.hba, programs=self.bin)
        self.run("pg_basebackup", f"--pgdata={other.data}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        other.configure()
        other.start()
        return other


def kill_postmaster(data: Path) -> None:
    """End a server and all of its processes without warning."""
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)
    for pid in [*_children(postmaster), postmaster]:
        os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            if int(status.rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(entry.name))
    return found
