"""mariadb-backup itself: which one, how it is run, and what it means when it fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import tool_fault
from databosun.engines.mysql.tools import Tool, environment_of, find_tool, series_in, tool_version, wrong_tool
from databosun.engines.program import bound

PROGRAM, UNPACKER = "mariadb-backup", "mbstream"
_ENDED_WELL = "completed OK!"
_LOOK_SECONDS = 0.2
# Without io_uring, which a pod's seccomp profile may forbid.
COMMON = ("--skip-innodb-use-native-aio",)
_STAMP = re.compile(r"\[\d\d\] (?:FATAL ERROR: )?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")

_Meaning = tuple[type[DatabosunError], Reason, str]
_AGAIN = "the next attempt starts anew"
_WORDS: tuple[tuple[re.Pattern[str], _Meaning], ...] = tuple(
    (re.compile(words, re.IGNORECASE), meaning)
    for words, meaning in (
        (
            "Lock wait timeout",
            (WorldFault, Reason.LOCK_TIMEOUT, f"SHOW PROCESSLIST shows who keeps what is waited for locked; {_AGAIN}"),
        ),
        (
            "Access denied|missing required privilege",
            (UserFault, Reason.PERMISSION_DENIED, "grant what the message names to the backup user"),
        ),
        (
            "Permission denied",
            (UserFault, Reason.DATA_VOLUME_UNREADABLE, "set spec.dataVolume.runAsUser to the user that the files have"),
        ),
        ("gone away|Lost connection|server closed", (WorldFault, Reason.CONNECTION_LOST, _AGAIN)),
        (
            "was only able to copy log|log block .*mismatch|innodb_log_file_size",
            (
                WorldFault,
                Reason.REDO_OVERWRITTEN,
                "the server wrote more than its redo log holds while its files were copied: raise innodb_log_file_size",
            ),
        ),
        (
            "page corruption|corrupted page|is corrupted",
            (UserFault, Reason.DATA_CORRUPTED, "the server's own data is damaged: restore or repair it"),
        ),
    )
)


class BackupTool(Tool):
    """One running mariadb-backup or mbstream."""

    TELLING: tuple[str, ...] = ("error", "Error", "ERROR", "Can't", "mismatch", "only able to copy", _ENDED_WELL)

    def fault(self, said: str, doing: str) -> DatabosunError:
        """What its last words mean."""
        said = " ".join(_STAMP.sub("", said).split())[:1000]
        for words, (fault, reason, advice) in _WORDS:
            if words.search(said):
                return fault(reason, f"{doing}: {said}; {advice}")
        return tool_fault(said, doing)

    def require_completed(self, doing: str) -> None:
        """Demand its exit code and its word: it has ended with 0 without that it was through before."""
        self.require_success(doing)
        if not self.stderr_tail().endswith(_ENDED_WELL):
            message = f"{doing}: {self.name} ended with 0 and without `{_ENDED_WELL}`: {self.stderr_tail()[-500:]}"
            raise WorldFault(Reason.TOOL_FAILED, message)


def backup_program(dialect: Dialect, series: tuple[int, int]) -> tuple[Path, str]:
    """The program of the server's very series, and its version. UserFault(ToolMissing, WrongToolVersion)."""
    program = find_tool(PROGRAM, dialect)
    version = tool_version(program)
    if series_in(version, dialect) != series:
        raise wrong_tool(program, version, f"needs that of {dialect.name} {series[0]}.{series[1]}")
    return program, version


def run_backup_tool(
    argv: Sequence[str], home: Path, dialect: Dialect, pulse: Callable[[], None], *, doing: str
) -> None:
    """Run it to its end, and demand that it went through; `pulse` runs while it does, and may raise."""
    with BackupTool(bound(argv), env=environment_of(home, dialect), cwd=home) as tool:
        while not tool.ended(within=_LOOK_SECONDS):
            pulse()
        tool.require_completed(doing)
