"""Wire the operator together: Kopf as event source, queue, Lease, lists and health server in one event loop."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from databosun import watching
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers.context import Images
from databosun.controllers.intake import Intake
from databosun.controllers.observing import Observer
from databosun.controllers.wiring import Installation, Watchers, Wired, wire
from databosun.domain.errors import UserFault, WorldFault
from databosun.kube.client import KubeClient
from databosun.kube.jobs import JobDefaults
from databosun.kube.lease import KubeLease
from databosun.kube.ratelimit import TokenBucket
from databosun.kube.resources import EVENTS, NAMESPACES
from databosun.kube.selfcheck import check_rights, wait_for_kinds
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from databosun.runtime.clock import Clock, SystemClock
from databosun.runtime.events import EventRecorder
from databosun.runtime.health import HealthServer
from databosun.runtime.leader import Leader, LeaseLost
from databosun.runtime.metrics import Metrics
from databosun.runtime.queue import Queue
from databosun.runtime.settings import Settings

logger = logging.getLogger(__name__)

FINISHED_EVERY = 60.0
FIRST_LOOKS = 20.0
FILL_AGAIN = 5.0
# Fifteen lists of 10,000 objects fit in this; a queue that moves nothing for longer will not recover by itself.
STUCK_AFTER = 180.0
GRACE = 15.0
# Short, so that several tries fit into the ten seconds after which the Lease is given up.
LEASE_TRANSPORT = TransportSettings(threads=2, connect_timeout=2, read_timeout=3, total_timeout=4)
LEASE_LOST = 3


@dataclass(slots=True)
class State:
    """What the probes say."""

    absent: tuple[str, ...] = ()
    started: bool = False
    filled: bool = False
    leading: bool = False


class Operator:
    """One operator process. `run` returns an exit code when it is told to stop or has lost its Lease."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._state = State()
        self._metrics = Metrics()
        self._queue: Queue | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask the operator to end cleanly."""
        self._stop.set()

    async def run(self) -> int:
        """Serve until told to stop. UserFault: rights are missing or a setting is wrong."""
        configuration = load_configuration()
        transport_settings = TransportSettings(
            threads=self._settings.api.threads,
            connect_timeout=self._settings.api.connect_timeout,
            read_timeout=self._settings.api.read_timeout,
            total_timeout=self._settings.api.total_timeout,
        )
        transport = Transport(configuration, transport_settings, observe=self._observe_request)
        kube = KubeClient(transport, TokenBucket(self._settings.api.write_qps, self._settings.api.write_burst))
        lease_client = KubeClient(Transport(load_configuration(), LEASE_TRANSPORT))
        health = HealthServer(
            healthy={"queue": self._check_queue},
            ready={"kinds": self._check_kinds, "lists": self._check_lists},
            render=self._metrics.render,
            host=self._settings.metrics_host,
            port=self._settings.metrics_port,
        )
        await health.start()
        logger.info(
            "started", extra={"fields": {"port": health.port, "namespaces": list(self._settings.namespaces) or "all"}}
        )
        try:
            return await self._serve(kube, lease_client)
        finally:
            await health.stop()
            kube.close()
            lease_client.close()

    async def _serve(self, kube: KubeClient, lease_client: KubeClient) -> int:
        preparing = asyncio.ensure_future(self._prepare(kube))
        if not await self._unless_stopped(preparing):
            return 0
        lease = self._settings.lease
        leader = Leader(KubeLease(lease_client, lease.namespace, lease.name), self._settings.pod_name, self._clock)
        self._metrics.watch_leader(lambda: leader.leading)
        self._state.started = True
        if not await self._unless_stopped(asyncio.ensure_future(leader.acquire())):
            return 0
        self._state.leading = True
        lost = await self._lead(kube, leader)
        if lost is not None:
            logger.error("stopping: the Lease is lost", extra={"fields": {"why": lost}})
            return LEASE_LOST
        await leader.release()
        logger.info("stopped")
        return 0

    async def _prepare(self, kube: KubeClient) -> None:
        await wait_for_kinds(kube, tell=self._tell_absent)
        await check_rights(kube, self._settings.namespaces, self._settings.lease.namespace)

    async def _unless_stopped(self, work: asyncio.Future[Any]) -> bool:
        """Wait for the work, or drop it when told to stop; says whether it was done."""
        stop = asyncio.ensure_future(self._stop.wait())
        done, pending = await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        if work in done:
            work.result()
        return work in done

    async def _lead(self, kube: KubeClient, leader: Leader) -> str | None:
        """Do the work until told to stop, or until any part ends. Says why the Lease was lost, if so."""
        holding = asyncio.ensure_future(leader.hold())
        wired = await self._wire(kube, leader)
        intake = wired.intake
        filled, kopf_stop = asyncio.Event(), asyncio.Event()

        async def fill() -> None:
            await self._fill(intake)
            self._state.filled = True
            logger.info("all objects are listed", extra={"fields": {"objects": len(wired.context.cache)}})
            filled.set()
            await asyncio.Event().wait()

        async def once_filled(work: Callable[[], Awaitable[None]]) -> None:
            await filled.wait()
            await work()

        async def watch_after_looks() -> None:
            # Kopf lists everything anew, which at 10,000 objects takes the time that their first looks need.
            waited = [asyncio.ensure_future(one) for one in (wired.queue.settled(), kopf_stop.wait())]
            await asyncio.wait(waited, timeout=FIRST_LOOKS, return_when=asyncio.FIRST_COMPLETED)
            for one in waited:
                one.cancel()
            await watching.watch(kube.endpoint, intake, self._settings.namespaces, kopf_stop)
            # Kopf takes the signals of a process whose main thread it runs in; its end is then our order to stop.
            self._stop.set()

        watched = asyncio.ensure_future(once_filled(watch_after_looks))
        works: tuple[Callable[[], Awaitable[None]], ...] = (
            wired.queue.run,
            lambda: self._resync(intake),
            lambda: self._refresh(intake),
        )
        parts = [watched, holding, asyncio.ensure_future(fill())]
        parts += [asyncio.ensure_future(once_filled(work)) for work in works]
        told = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({told, *parts}, return_when=asyncio.FIRST_COMPLETED)
            return None if self._stop.is_set() else _why_ended(parts)
        finally:
            self._state.leading = False
            # First what writes: whoever takes the Lease over must not find us at work.
            for part in (told, *parts[1:]):
                part.cancel()
            kopf_stop.set()
            if filled.is_set():
                await asyncio.wait({watched}, timeout=GRACE)
            watched.cancel()
            await asyncio.gather(told, *parts, return_exceptions=True)

    async def _fill(self, intake: Intake) -> None:
        """List everything, however long the API server is away or too slow: nothing can be decided before."""
        while True:
            try:
                return await intake.fill()
            except WorldFault as fault:
                fields = {"reason": fault.reason, "why": fault.message, "seconds": FILL_AGAIN}
                logger.warning("not all objects could be listed; trying again", extra={"fields": fields})
                await self._clock.sleep(FILL_AGAIN)

    async def _wire(self, kube: KubeClient, leader: Leader) -> Wired:
        settings = self._settings
        events = EventRecorder(
            lambda namespace, body: kube.create(EVENTS, namespace, body), self._clock, settings.pod_name
        )
        installation = Installation(
            cluster_id=await self._cluster_id(kube),
            images=Images(settings.runner.images, settings.runner.for_storage),
            jobs=JobDefaults(
                pull_policy=settings.runner.pull_policy,
                fixed_uid=settings.runner.fixed_uid,
                image_pull_secrets=settings.runner.image_pull_secrets,
            ),
            namespaces=settings.namespaces,
            workers=settings.workers,
        )
        watchers = Watchers(Observer(self._metrics).observe, self._metrics.reconciled)
        wired = wire(kube, self._clock, leader, events, installation, watchers)
        self._queue = wired.queue
        self._metrics.watch_queue(lambda: wired.queue.depth, lambda: wired.queue.running)
        wired.queue.tell(self._metrics.woke, self._metrics.panicked)
        return wired

    async def _cluster_id(self, kube: KubeClient) -> str:
        if self._settings.cluster_id:
            return self._settings.cluster_id
        namespace = await kube.get(NAMESPACES, "", "kube-system")
        if namespace is None:
            message = "DATABOSUN_CLUSTER_ID is not set and kube-system cannot be read; set clusterId in the chart"
            raise UserFault(Reason.BAD_SETTINGS, message)
        return str(namespace["metadata"]["uid"])

    async def _resync(self, intake: Intake) -> None:
        spread = random.Random()  # noqa: S311 (spreads load; nothing secret)
        while True:
            await asyncio.sleep(self._settings.resync.total_seconds() * spread.uniform(0.8, 1.2))
            await self._patiently(intake.resync)

    async def _refresh(self, intake: Intake) -> None:
        while True:
            await asyncio.sleep(FINISHED_EVERY)
            await self._patiently(intake.refresh_finished)

    @staticmethod
    async def _patiently(work: Callable[[], Any]) -> None:
        """A list that fails is made again at its next turn."""
        try:
            await work()
        except Exception:
            # The watches go on meanwhile; whatever is wrong with the API server, the queue's own calls will say.
            logger.exception("a list failed; trying again at its next turn")

    # --- probes

    def _tell_absent(self, missing: tuple[str, ...]) -> None:
        self._state.absent = missing

    def _check_queue(self) -> str | None:
        stuck = self._queue.stuck_for() if self._queue is not None else 0.0
        return f"no reconcile ended for {stuck:.0f} s" if stuck > STUCK_AFTER else None

    def _check_kinds(self) -> str | None:
        if self._state.absent:
            return f"these kinds are not served: {', '.join(self._state.absent)}; install the chart databosun-crds"
        return None if self._state.started else "starting"

    def _check_lists(self) -> str | None:
        return "listing all objects" if self._state.leading and not self._state.filled else None

    def _observe_request(self, call: Any, outcome: str, seconds: float) -> None:
        self._metrics.api_request(call.verb, call.resource.plural, outcome, seconds)


def _why_ended(parts: Sequence[asyncio.Future[Any]]) -> str | None:
    """After a first part ended: the words of a lost Lease; any other failure is raised."""
    for part in parts:
        if part.done():
            error = part.exception()
            if isinstance(error, LeaseLost):
                return str(error)
            if error is not None:
                raise error
            message = "a part of the operator that never ends came to an end"
            raise RuntimeError(message)
    return None


def main(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; returns the exit code."""

    async def serve() -> int:
        operator = Operator(settings)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, operator.stop)
        return await operator.run()

    return asyncio.run(serve())
