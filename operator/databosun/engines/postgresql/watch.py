"""What the clock said at which position, sampled beside a long backup; it also notices a promotion in the middle."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import psycopg

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.connect import Connection, Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.filemanifest import parse_lsn
from databosun.engines.postgresql.reasons import Reason

_INTERVAL_SECONDS = 5.0
# A week of samples; far more than any deadline.
_KEPT = 120_000

# On a standby the age of its data counts, not its clock: its newest replayed commit or checkpoint, whichever is later
# (an idle primary commits nothing, but checkpoints).
_SAMPLE = """
SELECT r.standby,
       CASE WHEN r.standby THEN greatest(pg_catalog.pg_last_xact_replay_timestamp(),
                                         (pg_catalog.pg_control_checkpoint()).checkpoint_time)
            ELSE pg_catalog.clock_timestamp() END,
       (CASE WHEN r.standby THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_insert_lsn() END)::text
FROM (SELECT pg_catalog.pg_is_in_recovery() AS standby) AS r
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Every commit up to `at` lies at or below `lsn`."""

    standby: bool
    at: datetime
    lsn: int


def take_sample(connection: Connection) -> Sample:
    """Ask once. The clock is read before the position, so the promise of `Sample` holds."""
    with guarded("reading the server's clock and position"):
        row = connection.execute(_SAMPLE).fetchone()
    if row is None or not isinstance(row[1], datetime):
        raise WorldFault(Reason.DATABASE_ERROR, "the server did not tell its clock and position")
    return Sample(bool(row[0]), row[1].astimezone(UTC), parse_lsn(str(row[2])))


class Watch:
    """Samples in a thread until the block is left. Losing its connection costs precision, never the backup."""

    def __init__(self, session: Session) -> None:
        self._connection = open_sql(session)
        try:
            self.first = take_sample(self._connection)
        except BaseException:  # also an interrupt: the connection must not stay behind
            self._connection.close()
            raise
        self._samples: deque[Sample] = deque([self.first], maxlen=_KEPT)
        self._stop = threading.Event()
        self._promoted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch the server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # A dead peer is given up by the keepalives; the thread is a daemon, so nobody waits for that.
        self._thread.join(timeout=_INTERVAL_SECONDS)
        self._connection.close()

    def pulse(self) -> None:
        """WorldFault(Promoted) where the standby became a primary since the start."""
        if self._promoted.is_set():
            message = (
                "the standby was promoted while it was being backed up, which spoils the backup; the next attempt "
                "starts anew"
            )
            raise WorldFault(Reason.PROMOTED, message)

    def instant_of(self, lsn: str) -> datetime:
        """The newest instant whose commits all lie at or below that position."""
        position = parse_lsn(lsn)
        fitting = [sample.at for sample in self._samples if sample.lsn <= position]
        return max(fitting, default=self.first.at)

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            try:
                sample = take_sample(self._connection)
            except (DatabosunError, psycopg.Error):
                return
            self._samples.append(sample)
            if self.first.standby and not sample.standby:
                self._promoted.set()
