"""How far back a log in a bucket reaches, for who must know that nothing from before an instant is left in it."""

from __future__ import annotations

from datetime import datetime

from databosun.domain.errors import SafetyStop
from databosun.domain.wal import History, parse_lsn
from databosun.storage.port import ObjectMissing, ObjectStore
from databosun.storage.walnames import WalFolder, is_beside
from databosun.storage.walog import StoredSegment, read_description, read_history, segment_of
from databosun.storage.waltimes import hours_of, read_pairs

UNKNOWN = "an instant that nothing there tells"


def reaches_back(store: ObjectStore, folder: WalFolder, until: datetime) -> str | None:
    """Since when there is log, in words, where that is `until` or before, or not known; None where all is later. What
    has a name that no object of a log has may hold anything."""
    size: int | None = None
    firsts: dict[int, StoredSegment] = {}
    for one in store.list(folder.root):
        if is_beside(folder, one.key):
            continue
        try:
            size = size or read_description(store, folder).segment_bytes
        except (ObjectMissing, SafetyStop):
            return UNKNOWN
        segment = segment_of(one, size)
        if segment is None or one.key.rpartition("/")[0] != folder.timeline(segment.timeline):
            return f"{UNKNOWN} ({one.key} is nothing that belongs to a log)"
        known = firsts.get(segment.timeline)
        if known is None or segment.start < known.start:
            firsts[segment.timeline] = segment
    for timeline, first in sorted(firsts.items()):
        since = _begins_after(store, folder, first)
        if since is None or since <= until:
            told = since.strftime("%Y-%m-%dT%H:%M:%SZ") if since is not None else UNKNOWN
            return f"{told} (timeline {timeline})"
    return None


def _begins_after(store: ObjectStore, folder: WalFolder, first: StoredSegment) -> datetime | None:
    """An instant that all in the log came after: that of the newest pair at or below its first byte. None: no pair
    says so."""
    try:
        history = read_history(store, folder, first.timeline)
        return _newest_below(store, folder, history, first.start)
    except (ObjectMissing, SafetyStop):
        return None


def _newest_below(store: ObjectStore, folder: WalFolder, history: History, begin: int) -> datetime | None:
    for branch in reversed(history.branches):
        limit = begin if branch.end is None else min(begin, branch.end)
        best: datetime | None = None
        for key in hours_of(store, folder, branch.timeline):
            pairs = read_pairs(store, key)
            below = [pair.at for pair in pairs if parse_lsn(pair.lsn) <= limit]
            best = max((*below, *([best] if best else [])), default=None)
            if len(below) < len(pairs):
                break
        if best is not None:
            return best
    return None
