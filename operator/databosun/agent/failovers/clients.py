"""Clients that write and read at a steady rate, as applications do, and watchers that ask single nodes.

Each is a thread with one session and one write on its way. What a client missed while it waited is not made up for:
load never rises above the rate that was asked for, and it never rises when the database is in trouble.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from databosun.api.failoverprobe import ErrorName, PathKind
from databosun.domain.ledger import Claim, ClientHistory, Fate, History
from databosun.engines.failover import ProbeError, ProbeSession, Watcher

PATIENCE_SECONDS = 1.0
"""How long a client waits to be let in, and for an answer, before it tries anew."""
WATCH_SECONDS = 0.1
JOIN_SECONDS = 15.0
MOST_CLAIMS = 20_000
"""Of one node: 33 minutes of all that it said, an hour of every second one, and so on."""
SAMPLE_WRITES = 20
"""Of each client, as fast as they are answered: what the database can take is reckoned from them."""
MOST_SHARE = 0.01
"""Of that, what all clients together may take for themselves."""

Clock = Callable[[], float]
Met = dict[str, tuple[ErrorName, str]]
"""Of each kind of error, what it is, and one message: whole, or a secret that was cut would not be known for one."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a client gets in: the name of the path, and what opens a session for client `number`."""

    name: str
    open: Callable[[int], ProbeSession]
    kind: PathKind = PathKind.SERVICE


class _Closing(Protocol):
    def close(self) -> None: ...


@dataclass
class Client:
    """One writer, or one reader, with a history of its own. `broken`: sessions that ended under it."""

    name: str
    number: int
    way: Way
    history: ClientHistory
    reads: bool
    met: Met = field(default_factory=dict)
    broken: int = 0
    _session: ProbeSession | None = None

    def step(self, clock: Clock) -> None:
        """One write, connecting first where there is no session; whatever comes of it goes into the history."""
        seq = self.history.send(clock())
        fate, node, kind = Fate.ACKNOWLEDGED, None, None
        try:
            if self._session is None:
                self._session = self.way.open(self.number)
            if self.reads:
                self._session.read()
            else:
                self._session.write(seq)
            node = self._session.node  # now, since it may have been sent elsewhere
        except ProbeError as error:
            fate, kind = error.fate, error.kind
            node = self._session.node if self._session else None
            self.met.setdefault(kind, (error.name, str(error)))
            if error.broken:
                self.broken += self._session is not None
                self.close()
        self.history.end(clock(), fate, node=node, error=kind)

    def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
            self._session = None


@dataclass
class Eye:
    """Asks one node, again and again, whether it takes writes.

    Of a long test every second claim is let go, and then as many as come too soon: each that is kept is as true as it
    was, and one of late is worth what one of early is. A claim after a while without any is kept always.
    """

    member: str
    open: Callable[[], Watcher]
    claims: list[Claim] = field(default_factory=list)
    asked: int = 0
    took: int = 0
    met: Met = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _apart: float = 0.0
    _watcher: Watcher | None = None

    def step(self, clock: Clock) -> None:
        """One look. A node that does not answer claims nothing."""
        began = clock()
        self.asked += 1
        try:
            if self._watcher is None:
                self._watcher = self.open()
            took = self._watcher.takes_writes()
        except ProbeError as error:
            self.met.setdefault(error.kind, (error.name, str(error)))
            self.counts[error.kind] += 1
            self.close()
            return
        self.took += took
        if took and (not self.claims or began - self.claims[-1].began >= self._apart):
            self.claims.append(Claim(self.member, began, clock()))
            if len(self.claims) >= MOST_CLAIMS:
                del self.claims[1::2]
                self._apart = 2 * max(self._apart, WATCH_SECONDS)

    def close(self) -> None:
        """Hang up."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


def rate_within(asked: float, clients: int, capacity: float) -> float:
    """Writes a second of each client: what is asked for, as far as all of them stay within their share."""
    return min(asked, MOST_SHARE * capacity / clients) if capacity else asked


class Crowd:
    """All clients and watchers of a test, each in a thread. `stop` ends them and waits for them."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.writes, self.reads = History(), History()
        self.ways: list[Way] = []
        self.writers: list[Client] = []
        self.eyes: list[Eye] = []
        self._readers: list[Client] = []
        self._clock = clock
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._crashed: list[BaseException] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_writers(self, way: Way, count: int) -> None:
        """Clients that write by one way; their numbers go on over all ways."""
        self.ways.append(way)
        for number in range(len(self.writers), len(self.writers) + count):
            name = f"{way.name}-{number}"
            self.writers.append(Client(name, number, way, self.writes.client(name), reads=False))

    def add_reader(self, way: Way) -> None:
        """One client that reads by a way what its first writer wrote."""
        name = f"{way.name}-reader"
        number = next(one.number for one in self.writers if one.way is way)
        self._readers.append(Client(name, number, way, self.reads.client(name), reads=True))

    def add_eye(self, member: str, open_watcher: Callable[[], Watcher]) -> None:
        """One watcher of a node."""
        self.eyes.append(Eye(member, open_watcher))

    def sample(self) -> float:
        """Writes a second that the database answers to all writers at once; 0 where it answers none."""
        self._write(1)  # they have connected then
        began = self._clock()
        self._write(SAMPLE_WRITES)
        seconds = self._clock() - began
        answered = sum(one.history.count_acknowledged(began) for one in self.writers)
        return answered / seconds if seconds else 0.0

    def start(self, per_second: float) -> None:
        """Begin, or go on after a stop, evenly spread, so that what happens between two writes of one client another
        one sees."""
        self._stop.clear()
        pace = 1.0 / per_second
        began = time.monotonic()
        for index, client in enumerate(self.writers):
            self._run(client.name, began + pace * index / len(self.writers), pace, client.step, client)
        for client in self._readers:
            self._run(client.name, began, pace, client.step, client)
        for eye in self.eyes:
            self._run(f"watch {eye.member}", began, WATCH_SECONDS, eye.step, eye)

    def stop(self) -> None:
        """End all; what still waits for an answer is over within its patience. Raises what a thread died of."""
        self._stop.set()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self.check()

    @property
    def still(self) -> bool:
        """Whether none of its threads is at work."""
        return not self._threads

    def check(self) -> None:
        """Raise what a thread died of: a history with a hole proves nothing."""
        if self._crashed:
            raise self._crashed[0]

    @property
    def sightings(self) -> Sequence[Sequence[Claim]]:
        """Who said that it takes writes, by node."""
        return [tuple(eye.claims) for eye in self.eyes]

    def silent_ways(self, since: float) -> list[Way]:
        """Those by which no client was acknowledged anything after an instant."""
        heard = {one.way.name for one in self.writers if one.history.last_acknowledged(since) is not None}
        return [way for way in self.ways if way.name not in heard]

    def examples(self, way: Way) -> list[str]:
        """What the writers of a way were told, each once."""
        return sorted({said for one in self.writers if one.way is way for _, said in one.met.values()})

    def acknowledged_since(self, at: float, node: str | None = None) -> bool:
        """Whether any write was acknowledged after an instant; `node`: by it, or by one that is not known."""
        newest = [client.last_acknowledged(at) for client in self.writes.clients.values()]
        return any(one is not None and (node is None or one.node in (node, None)) for one in newest)

    def _write(self, count: int) -> None:
        """All writers at once, so many writes each, but for one that is not answered."""

        def work(client: Client) -> None:
            try:
                for _ in range(count):
                    began = self._clock()
                    client.step(self._clock)
                    if client.history.count_acknowledged(began) == 0:
                        break
            except BaseException as error:  # carried to whoever looks: this is a thread
                self._crashed.append(error)

        threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in self.writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.check()

    def _run(self, name: str, first: float, pace: float, step: Callable[[Clock], None], owner: _Closing) -> None:
        def work() -> None:
            try:
                for _ in self._ticks(first, pace):
                    step(self._clock)
            except BaseException as error:  # carried to whoever looks: this is a thread
                self._crashed.append(error)
            finally:
                owner.close()

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _ticks(self, first: float, pace: float) -> Iterator[None]:
        due = first
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            yield
            due = max(due + pace, time.monotonic())
