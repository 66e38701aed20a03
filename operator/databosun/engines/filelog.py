"""What the archivers of logs that are rows of numbered files share: how such a log is kept, resumed, and given up.

Positions count files (domain/wal). Such a log has no timelines: one that is begun anew lies behind a gap, in files of
higher numbers.
"""

from __future__ import annotations

from datetime import datetime

from databosun.api.archive import LogGap
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.domain.wal import WalPoint, first_history, format_lsn
from databosun.engines.archiving import ArchiveState, WalSink

TIMELINE = 1
SEGMENT_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 1
FULL_PAUSE = 0.05
LONGEST_SAMPLE = 5.0


class FileLog:
    """The log of one server in the store, over all sessions of an archiver."""

    def __init__(self, sink: WalSink, state: ArchiveState) -> None:
        self._sink = sink
        self._state = state
        self._system: str | None = None

    def adopt(self, system_identifier: str, host: object) -> None:
        """Open the log of the server that answered. WorldFault(AnotherServer) where that is not the one of before."""
        if self._system not in (None, system_identifier):
            message = (
                f"{host} has system identifier {system_identifier}, and {self._system} was archived until now; the "
                "archiver starts anew for it"
            )
            raise WorldFault(Reason.ANOTHER_SERVER, message)
        self._sink.adopt(system_identifier, SEGMENT_BYTES, BLOCK_BYTES, files=True)
        self._system = system_identifier
        self._state.know(system_identifier=system_identifier, host=str(host))

    @property
    def end(self) -> int | None:
        """Where the store's log ends; None where it has none."""
        found = self._sink.stored_end(first_history())
        return found.lsn if found else None

    @property
    def mark(self) -> str | None:
        """What the archiver said of the newest file that the store has."""
        return self._sink.mark_of(TIMELINE)

    def begin(self, at: int, *, after_gap: bool) -> None:
        """Go on there, at the first byte of a segment."""
        self._sink.begin(WalPoint(TIMELINE, at), after_gap=after_gap)

    def record(self, begin: int, resume: int, now: datetime, reason: str, what: str) -> None:
        """What lies between two positions is lost. `what`: for people, and why; `now`: by the server's clock."""
        gap = LogGap(
            timeline=TIMELINE,
            begin=format_lsn(begin),
            end_timeline=TIMELINE,
            end=format_lsn(resume),
            end_time=now,
            reason=reason,
            message=f"{what}; no restore can cross it: a full backup is needed",
        )
        self._sink.record_gap(gap)

    def sampled(self, at: datetime, lsn: int) -> None:
        """Every commit up to then lies at or below a position."""
        self._sink.sampled(at, WalPoint(TIMELINE, lsn))
