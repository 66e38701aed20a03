"""An oplog that is shipped: somebody who writes, what is restored of it, and an archiver of scripted members."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import zstandard
from pymongo.errors import PyMongoError

from databosun.agent.children import Children
from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.agent.stop import Stop
from databosun.agent.walship import Shipper, ShipPlan
from databosun.agent.walstore import WalBucket
from databosun.api.archive import PositionLine
from databosun.api.drill import PointKind, RecoveryPoint
from databosun.engines.archiving import ArchivePlan, ArchiveState
from databosun.engines.base import Target
from databosun.engines.mongodb.archiver import archive
from databosun.storage.layout import Layout
from databosun.storage.volume import VolumeStore
from databosun.storage.walog import WalLog, read_log
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard

LATEST = RecoveryPoint(kind=PointKind.LATEST)


class Writer:
    """Inserts documents one by one in a thread until told to stop; `acknowledged`: how many the server confirmed."""

    def __init__(self, server: MongoServer, *, width: int = 600, pause: float = 0.0) -> None:
        self._server = server
        self._width = width
        self._pause = pause
        self._stop = threading.Event()
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        numbers = self._server.client.shop.numbers
        with suppress(PyMongoError):
            while not self._stop.wait(self._pause):
                numbers.insert_one({"_id": f"{self.acknowledged:06}", "text": "x" * self._width})
                self.acknowledged += 1


def restored(yard: MongoYard, backup: str, until: RecoveryPoint) -> object:
    """What a restored volume holds, served as a StatefulSet would serve it."""
    recovery = yard.pod()
    ran = yard.restore(backup, pod=recovery, until=until, id=f"restore-{secrets.token_hex(4)}")
    assert ran.result.restore, ran.output[-4000:]
    with yard.served(recovery.restored / ran.result.restore.data_directory) as found:
        return found


class Life:
    """The archiver of one target in a thread, with a shipper of its own, writing into a folder. `end` it."""

    def __init__(self, target: Target, folder: Path, *, max_lag: float = 0.2) -> None:
        self.store = VolumeStore(folder)
        self.state = ArchiveState(PositionLine(database_uid="u"))
        self.stop = threading.Event()
        self.fault: BaseException | None = None
        children = Children(Stop(), Redactor())

        def bucket(system: str) -> WalBucket:
            return WalBucket(self.store, Layout("prod", "shop").wal(system, "MongoDB"), children, [], lambda: None)

        plan = ShipPlan(max_lag / 2, bucket)
        self._shipper = Shipper(plan, self.state, Log(io.StringIO(), Redactor()), self.stop, lambda _: self.stop.set())
        self._plan = ArchivePlan(
            lambda: target, self.stop, cluster_id="c", namespace="shop", max_lag=max_lag, max_retained=1 << 30
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def line(self) -> PositionLine:
        """What it would say now."""
        return self.state.snapshot()

    def end(self) -> None:
        """Ship what is open, and stop; what ended it by itself is raised."""
        self.stop.set()
        self._thread.join(300)
        self._shipper.finish(300)
        if self.fault is not None:
            raise self.fault

    def log(self) -> WalLog:
        """As the store has it."""
        system = self.line.system_identifier
        assert system
        return read_log(self.store, Layout("prod", "shop").wal(system, "MongoDB"))

    def files(self) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of each file."""
        found: dict[int, bytes] = {}
        for number, one in sorted(self.log().segments[1].items()):
            unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
            file = (number * self.log().segment_bytes) >> 32
            found[file] = found.get(file, b"") + unzip.decompress(self.store.get(one.key, limit=1 << 26))
        yield from found.items()

    def _run(self) -> None:
        try:
            archive(self._plan, self._shipper, self.state)
        except BaseException as fault:  # carried to the test
            self.fault = fault
