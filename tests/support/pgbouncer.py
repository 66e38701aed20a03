"""A real PgBouncer on loopback, sent to another server as a callback of a failover does it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from support.pgserver import free_port, hand_over, identity, open_folder
from support.waiting import eventually

HOST = "127.0.0.1"
LOOK_SECONDS = 0.1
Place = tuple[str, int]


class PgBouncer:
    """`remove` it in the end."""

    def __init__(self, user: str, password: str, *, mode: str = "transaction", size: int = 20) -> None:
        """`size`: sessions at the server, for each user and database."""
        self.port = free_port()
        self._pool = f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
        self.folder = open_folder("pgbouncer")
        self._user, self._password = user, password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, host: str, port: int) -> None:
        """Until it lets clients through to a server."""
        self._configure(host, port)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/pgbouncer", str(self.folder / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **identity(),
            )  # fmt: skip
        eventually("PgBouncer lets clients through", self._lets_through)

    def point(self, host: str, port: int) -> None:
        """To another server: what waits goes there, and sessions of clients stay."""
        self._configure(host, port)
        assert self._process
        self._process.send_signal(signal.SIGHUP)

    @contextmanager
    def following(self, leader: Callable[[], Place | None]) -> Iterator[None]:
        """Pointed at whoever leads, as soon as that is another one."""
        over = threading.Event()

        def follow() -> None:
            known = None
            while not over.wait(LOOK_SECONDS):
                found = leader()
                if found not in (None, known):
                    known = found
                    self.point(*known)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def remove(self) -> None:
        """End and delete."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self, host: str, port: int) -> None:
        (self.folder / "users.txt").write_text(f'"{self._user}" "{self._password}"\n')
        part = self.folder / "pgbouncer.part"
        part.write_text(
            f"[databases]\n* = host={host} port={port}\n"
            f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {self.folder}/users.txt\n"
            f"{self._pool}server_login_retry = 0.2\nserver_fast_close = 1\nquery_wait_timeout = 1\n"
        )
        part.rename(self.folder / "pgbouncer.ini")
        hand_over(self.folder)

    def _lets_through(self) -> bool:
        try:
            psycopg.connect(
                host=HOST, port=self.port, user=self._user, password=self._password, dbname="postgres"
            ).close()
        except psycopg.OperationalError:
            return False
        return True
