"""What each way showed, counted from one ledger of all."""

from __future__ import annotations

from databosun.domain.ledger import Fate, History, ReadBack
from databosun.domain.ledgerjudge import Span, judge
from databosun.domain.ledgerpaths import ErrorCount, judge_paths


def write(
    history: History, client: str, at: float, fate: Fate, node: str | None = None, error: str | None = None
) -> int:
    one = history.client(client)
    seq = one.send(at)
    one.end(at + 0.1, fate, node=node, error=error)
    return seq


def test_downtime_is_of_each_way_and_losses_are_of_all() -> None:
    history = History()
    ack, refused, unknown = Fate.ACKNOWLEDGED, Fate.FAILED, Fate.UNKNOWN
    for at in (0.0, 1.0):
        write(history, "service-0", at, ack, "a")
        write(history, "pooler-1", at, ack, "a")
        write(history, "pooler-2", at, ack, "a")
    write(history, "service-0", 3.0, refused, error="25006")
    write(history, "service-0", 4.0, ack, "b")
    write(history, "pooler-1", 3.0, unknown, error="57P01")
    write(history, "pooler-1", 4.0, refused, error="57P01")
    write(history, "pooler-1", 9.0, ack, "b")
    write(history, "pooler-2", 3.0, refused, error="Timeout")
    lost = write(history, "service-0", 9.5, ack, "b")
    held = {"service-0": {0, 1, 3}, "pooler-1": {0, 1, 4}, "pooler-2": {0, 1}}
    span = Span(2.0, 10.0, "b")
    judged = judge(history, [ReadBack(9.9, held)], span)
    ways = {"service": ["service-0"], "pooler": ["pooler-1", "pooler-2"]}
    service, pooler = judge_paths(history, judged.clients, ways, span)
    assert judged.losses.lost.count == 1
    assert judged.losses.lost.sample[0].seq == lost
    assert round(judged.downtime.seconds, 3) == 5.0
    assert (service.acknowledged, service.failed, service.unknown, service.before) == (4, 1, 0, 2)
    assert (round(service.downtime.seconds, 3), round(pooler.downtime.seconds, 3)) == (5.5, 8.0)
    assert (pooler.acknowledged, pooler.failed, pooler.unknown, pooler.clients) == (5, 2, 1, 2)
    assert (round(service.first or 0, 3), round(service.all or 0, 3)) == (2.1, 2.1)
    assert (round(pooler.first or 0, 3), pooler.all) == (7.1, None)  # one of them never wrote again
    assert pooler.errors == (ErrorCount("57P01", 2, 1), ErrorCount("Timeout", 1, 0))
    assert sum(one.acknowledged for one in (service, pooler)) == judged.acknowledged
