"""A chain becomes a running copy: its full (a dump into a new server, or the files of one), then the log after it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.inflate import inflated
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.logical import DUMP, USERS
from databosun.engines.mysql.positions import PIECES
from databosun.engines.mysql.recovery.copy import RunningCopy
from databosun.engines.mysql.recovery.facts import (
    Backup,
    demand_restorable,
    left_plugins,
    loaded_plugins,
    read_chain,
)
from databosun.engines.mysql.recovery.files import unpack
from databosun.engines.mysql.recovery.load import load_script, replay
from databosun.engines.mysql.recovery.log import replay_log
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.recovery import Reached, RecoveryPlan, Source

DATA = "data"
_BY_LOG = (PointKind.LATEST, PointKind.TIME, PointKind.LSN, PointKind.GTID)


@contextmanager
def recover_chain(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backups = read_chain(plan.chain)
    base, last = backups[0], backups[-1]
    if plan.until.kind not in (PointKind.NONE, *_BY_LOG):
        message = (
            f"{base.dialect.name} is restored to a time, a position, a transaction or the newest, not "
            f"to {plan.until.kind}"
        )
        raise UserFault(Reason.POINT_NOT_COVERED, message)
    demand_restorable(base)
    seconds: dict[str, float] = {"replay": 0.0}
    waited, began = source.waited, time.monotonic()
    server = PrivateServer(plan.place / DATA, base.dialect, base.series, base.settings, loaded_plugins(base))
    try:
        (_from_files if base.method is Method.PHYSICAL else _from_dump)(server, base, source, plan, seconds)
        seconds["fetch"] = source.waited - waited
        seconds["restore"] = time.monotonic() - began - seconds["start"] - seconds["fetch"]
        if len(backups) > 1:
            _replay(server, backups[1:], source, plan, seconds)
        reached = Reached(last.position, last.last_commit)
        if plan.until.kind in _BY_LOG:
            began = time.monotonic()
            reached = replay_log(server, last, plan)
            seconds["replay"] += time.monotonic() - began
        server.connect().close()
        yield RunningCopy(server, backups, reached, seconds, _notes(base, plan), plan)
    finally:
        server.close()


def _from_dump(
    server: PrivateServer, base: Backup, source: Source, plan: RecoveryPlan, seconds: dict[str, float]
) -> None:
    began = time.monotonic()
    server.install(plan.pulse)
    server.start(plan.pulse)
    server.take_over(base.tablespaces)
    seconds["start"] = time.monotonic() - began
    _load(server, base, source, plan)


def _from_files(
    server: PrivateServer, base: Backup, source: Source, plan: RecoveryPlan, seconds: dict[str, float]
) -> None:
    unpack(server, base, source, plan)
    began = time.monotonic()
    server.start(plan.pulse)
    seconds["start"] = time.monotonic() - began


def _load(server: PrivateServer, base: Backup, source: Source, plan: RecoveryPlan) -> None:
    with source.open(base.id, DUMP) as reader:
        load_script(server, reader, plan.pulse, doing=f"restoring the dump of {base.id}")
    if base.accounts:
        with source.open(base.id, USERS) as reader:
            load_script(server, reader, plan.pulse, doing=f"restoring the accounts of {base.id}")


def _replay(
    server: PrivateServer, others: Sequence[Backup], source: Source, plan: RecoveryPlan, seconds: dict[str, float]
) -> None:
    """Every piece is fetched and compared with its digest before any of it is replayed."""
    waited, began = source.waited, time.monotonic()
    folder = plan.place / "pieces"  # the shipped log is spooled beside it
    pieces: list[Path] = []
    with guarded(f"writing below {folder}"):
        folder.mkdir(mode=0o700)
        for number, backup in enumerate(others):
            for name in sorted(one for one in backup.artefacts if one.startswith(PIECES)):
                path = folder / f"{number:04d}-{Path(name).name.removesuffix('.zst')}"
                with source.open(backup.id, name) as reader, path.open("wb") as file:
                    for data in inflated(reader):
                        file.write(data)
                        plan.pulse()
                pieces.append(path)
    seconds["fetch"] += source.waited - waited
    if pieces:
        replay(server, pieces, plan.pulse)
    shutil.rmtree(folder)
    seconds["replay"] = time.monotonic() - began - (source.waited - waited)


def _notes(base: Backup, plan: RecoveryPlan) -> tuple[str, ...]:
    left = left_plugins(base)
    found = (f"not loaded in the copy: {', '.join(left)}",) if left else ()
    if plan.until.time is None or not plan.until.time.microsecond or not base.dialect.stamps_seconds:
        return found
    whole = plan.until.time.replace(microsecond=0).isoformat()
    return (*found, f"the binary log counts whole seconds: what was committed since {whole} is left out")
