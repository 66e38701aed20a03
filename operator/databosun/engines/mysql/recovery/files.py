"""The files of a physical backup: unpacked, made consistent by the program that took them, and fit for a server."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop
from databosun.engines.inflate import inflated
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.physical.program import (
    COMMON,
    UNPACKER,
    BackupTool,
    backup_program,
    run_backup_tool,
)
from databosun.engines.mysql.physical.take import COPY
from databosun.engines.mysql.recovery.facts import Backup
from databosun.engines.mysql.recovery.load import NOT_THE_BACKUPS
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.mysql.tools import environment_of, find_tool
from databosun.engines.program import bound
from databosun.engines.recovery import RecoveryPlan, Source

_PIPE = -1  # subprocess.PIPE
_MEMORY = "256M"


def unpack(server: PrivateServer, base: Backup, source: Source, plan: RecoveryPlan) -> None:
    """Into the server's data directory. SafetyStop(RecoveryFailed) with the programs' own words."""
    server.prepare()
    try:
        _extract(server, base, source, plan)
        program, _ = backup_program(server.dialect, server.series)
        argv = [
            str(program),
            "--no-defaults",
            "--prepare",
            f"--target-dir={server.data}",
            f"--tmpdir={server.temporary}",
            f"--use-memory={_MEMORY}",
            *COMMON,
        ]
        doing = f"applying the redo log of {base.id}"
        run_backup_tool(argv, server.folder, server.dialect, plan.pulse, doing=doing)
    except DatabosunError as fault:
        if isinstance(fault, SafetyStop) or fault.reason in NOT_THE_BACKUPS:
            raise
        raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault


def _extract(server: PrivateServer, base: Backup, source: Source, plan: RecoveryPlan) -> None:
    with guarded(f"writing {server.data}"):
        server.data.mkdir(mode=0o700)
    argv = [str(find_tool(UNPACKER, server.dialect)), "--extract", f"--directory={server.data}"]
    with (
        source.open(base.id, COPY) as reader,
        BackupTool(
            bound(argv), env=environment_of(server.folder, server.dialect), cwd=server.folder, stdin=_PIPE
        ) as tool,
    ):
        for data in inflated(reader, plan.pulse):
            if not tool.write(data, plan.pulse):
                break
        tool.close_stdin()
        while not tool.ended(within=0.2):
            plan.pulse()
        tool.require_success(f"unpacking the files of {base.id}")
