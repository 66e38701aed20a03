"""PostgreSQL's own client programs: where they are, which version, and how one is run so that it always ends."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess  # every call is a list of arguments, no shell
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.postgresql.connect import Session, conninfo
from databosun.engines.postgresql.faults import tool_fault
from databosun.engines.postgresql.reasons import Reason

BIN_ENVIRONMENT = "DATABOSUN_POSTGRESQL_BIN"
IMAGE_BIN = Path("/opt/postgresql/bin")
STDERR_KEPT = 16 * 1024
GRACE_SECONDS = 5.0
_POLL_MILLISECONDS = 1000
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def find_tool(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Its path: DATABOSUN_POSTGRESQL_BIN, else in the runner image's folder, else on PATH. UserFault(ToolMissing)."""
    said = environment.get(BIN_ENVIRONMENT)
    if said:
        candidates = [Path(said) / name]
    else:
        on_path = shutil.which(name, path=environment.get("PATH"))
        candidates = [IMAGE_BIN / name, *([Path(on_path)] if on_path else [])]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    message = (
        f"{name} was found neither in ${BIN_ENVIRONMENT} ({said or 'not set'}) nor in {IMAGE_BIN} nor on PATH; "
        "use the runner image of this engine and major version (Database.spec.runner.image)"
    )
    raise UserFault(Reason.TOOL_MISSING, message)


def tool_version(program: Path) -> str:
    """What `--version` prints, such as `pg_dump (PostgreSQL) 15.20`."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserFault(Reason.TOOL_MISSING, f"{program} --version: {error}; use a working runner image") from error
    return done.stdout.strip() or done.stderr.strip()


def tool_of_major(name: str, major: int) -> tuple[Path, str]:
    """The program and its version, of the server's own major. UserFault(WrongToolVersion) names what to change."""
    program = find_tool(name)
    version = tool_version(program)
    match = _VERSION.search(version)
    if match is None or int(match[1]) != major:
        message = (
            f"{program} is {version!r}, but the server is PostgreSQL {major} and needs the client of its own major "
            "version; "
            f'use the runner image of PostgreSQL {major}: set Database.spec.version to "{major}" or leave it and '
            "Database.spec.runner.image out"
        )
        raise UserFault(Reason.WRONG_TOOL_VERSION, message)
    return program, version


def tool_environment(session: Session, home: Path) -> dict[str, str]:
    """A clean environment: nothing inherited that libpq reads, English messages, no password on the command line."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "LC_ALL": "C",
        "TZ": "UTC",
        "PGPASSWORD": session.target.credentials.password,
    }


def tool_conninfo(session: Session, dbname: str | None) -> str:
    """The `--dbname` argument: everything but the password."""
    return conninfo(session.target, session.endpoint, dbname)


class Tool:
    """One running program in a session of its own. Leaving the block ends the whole group, whatever happened inside."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, capture: bool = False) -> None:
        self.name = Path(argv[0]).name
        self._tail = bytearray()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise WorldFault(Reason.TOOL_FAILED, f"{self.name} could not be started: {error}") from error
        self._reader = threading.Thread(target=self._read_stderr, name=f"{self.name} stderr", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process, also the group's leader."""
        return self._process.pid

    def read(self, size: int, pulse: Callable[[], None]) -> bytes:
        """The next bytes that it prints, empty at the end; needs `capture`. `pulse` runs each second and may raise."""
        if self._process.stdout is None:
            message = f"{self.name} was started without capture"
            raise ValueError(message)
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(_POLL_MILLISECONDS):
            pulse()
        return os.read(descriptor, size)

    def ended(self, *, within: float = 0.0) -> bool:
        """Wait at most so many seconds; True where the program has ended."""
        try:
            self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait()
        self._reader.join(timeout=GRACE_SECONDS)
        return code

    def require_success(self, doing: str) -> None:
        """Raise what the program's last words mean where it did not exit with 0."""
        code = self.wait()
        if code == 0:
            return
        said = self.stderr_tail()
        if code < 0:
            message = f"{doing}: {self.name} was killed by signal {-code} ({signal.Signals(-code).name}); {said}"
            raise WorldFault(Reason.TOOL_KILLED, message.strip("; "))
        raise tool_fault(said or f"{self.name} exited with status {code}", doing)

    def stderr_tail(self) -> str:
        """The last words of the program, without its notices."""
        lines = bytes(self._tail).decode("utf-8", "replace").splitlines()
        telling = [
            line for line in lines if "error:" in line or "detail:" in line or "hint:" in line or "FATAL" in line
        ]
        return " ".join(telling or lines[-5:])

    def pause(self) -> None:
        """Stop the group until `resume`; the server waits in its send."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Terminate the group, kill what does not go, and reap. pg_dump cancels its queries on SIGTERM."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self.resume()
            if not self.ended(within=GRACE_SECONDS):
                self._signal(signal.SIGKILL)
        # Workers that outlived their leader still belong to the group.
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=GRACE_SECONDS)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _read_stderr(self) -> None:
        stream = self._process.stderr
        while stream is not None and (chunk := os.read(stream.fileno(), 4096)):
            self._tail += chunk
            del self._tail[:-STDERR_KEPT]


def group_members(leader: int) -> tuple[int, ...]:
    """The processes of a group, from /proc: the leader's own workers."""
    members = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _group_of(int(entry.name)) == leader:
            members.append(int(entry.name))
    return tuple(members)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None
