"""Through the whole agent: a time within a chain, asked for as a Restore asks for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.v1alpha1.backuppolicy import BackupType
from support.mongosample import fill
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard
from support.pgserver import open_folder
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def yard(own_server: Callable[..., MongoServer]) -> Iterator[MongoYard]:
    """A filled server, a store, and pods."""
    server = own_server()
    fill(server)
    folder = open_folder("yard")
    yield MongoYard(folder, server=server)
    shutil.rmtree(folder, ignore_errors=True)


def a_second_later() -> datetime:
    """The ends of backups are known to the second."""
    now = time.time()
    eventually("a second has passed", lambda: time.time() > now + 1.1)
    return datetime.now(UTC)


def test_a_volume_as_it_was_at_a_time_between_two_backups(yard: MongoYard) -> None:
    full = yard.back_up("orders-1")
    a_second_later()
    yard.change()
    wanted, at = yard.contents(), a_second_later()
    yard.its.client.shop.orders.delete_many({})
    a_second_later()
    yard.its.noop()
    yard.back_up("orders-2", on=full, type=BackupType.INCREMENTAL)
    pod = yard.pod()
    restored = yard.restore("orders-2", pod=pod, until=RecoveryPoint(kind=PointKind.TIME, time=at)).result.restore
    assert restored
    with yard.served(pod.restored / restored.data_directory) as found:
        assert found == wanted
    late = RecoveryPoint(kind=PointKind.TIME, time=datetime.now(UTC) + timedelta(hours=1))
    ran = yard.restore("orders-2", pod=yard.pod(), until=late, id="restore-2")
    assert ran.summary.reason == "LogMissing"
