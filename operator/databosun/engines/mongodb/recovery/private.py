"""One server of our own: reachable over one socket in a private folder, acting for nobody, ended with this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mongodb.connect import Client, Endpoint, opened
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.recovery.programs import Server
from databosun.engines.mongodb.server import FERRETDB
from databosun.engines.privateserver import PrivateProcess

_CACHE_GIB = "0.25"
# Nothing is deleted by age, nothing is sent anywhere, no session of the original's is looked after.
_QUIET = ("ttlMonitorEnabled=false", "diagnosticDataCollectionEnabled=false", "disableLogicalSessionCacheRefresh=true")


class PrivateServer(PrivateProcess):
    """Call `start`, then `client`; `close` in the end."""

    def __init__(self, program: Server, data: Path) -> None:
        super().__init__()
        self.program = program
        self.data = data
        self.socket = self.folder / "s.sock"

    def start(self, pulse: Callable[[], None]) -> None:
        """Start with an empty folder, and wait until it answers. SafetyStop(RecoveryFailed) with its own words."""
        with guarded(f"writing below {self.data}"):
            self.data.mkdir(mode=0o700)
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.run(self._command(), environment, self._answers, pulse)

    @contextmanager
    def client(self, *, silent: float = 86400.0) -> Iterator[Client]:
        """A session over the socket; the copy demands no login. `silent`: seconds that an answer may take."""
        where = DatabaseTarget(
            namespace="",
            name="copy",
            uid="",
            engine=EngineName.MONGODB,
            hosts=[str(self.socket)],
            port=0,
            tls=TLSMode.DISABLE,
        )
        with opened(Target(where, Credentials("", "")), Endpoint(str(self.socket), 0), silent=silent) as client:
            yield client

    def broken(self, code: int | None) -> DatabosunError:
        """What its end means."""
        if any("No space left on device" in line for line in self._lines):
            message = f"the disk was full while the copy recovered ({self.said()}); raise podTemplate.scratch.size"
            return UserFault(Reason.SCRATCH_TOO_SMALL, message)
        return super().broken(code)

    def _command(self) -> list[str]:
        program = str(self.program.path)
        if self.program.product == FERRETDB:
            return [program, "-unix", str(self.socket), "-data", str(self.data)]
        command = [program, "--dbpath", str(self.data), "--bind_ip", str(self.socket), "--filePermissions", "0700"]
        command += ["--unixSocketPrefix", str(self.folder), "--wiredTigerCacheSizeGB", _CACHE_GIB, "--noscripting"]
        for setting in _QUIET:
            command += ["--setParameter", setting]
        return command

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            with self.client():
                return True
        except DatabosunError:
            return False
