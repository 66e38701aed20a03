"""Serves /healthz, /readyz and /metrics. A probe that raises is a probe that failed: the answer comes all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

logger = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""Says what is wrong, or None. Looks at memory only: it runs in the event loop."""

OK: Final = "ok"
RENDER_TIMEOUT: Final = 10.0


class HealthServer:
    """The operator's only listening port.

    `healthy`: whether this process is worth keeping. `ready`: whether it does its work, or stands by to do it. `render`
    gives the metrics; it runs in a thread, one at a time.
    """

    def __init__(
        self,
        *,
        healthy: Mapping[str, Probe],
        ready: Mapping[str, Probe],
        render: Callable[[], bytes],
        host: str | None,
        port: int,
        render_timeout: float = RENDER_TIMEOUT,
    ) -> None:
        self._render = render
        self._render_timeout = render_timeout
        self._rendering = asyncio.Lock()
        self._address = (host, port)
        app = web.Application()
        app.router.add_get("/healthz", _answering(healthy))
        app.router.add_get("/readyz", _answering(ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=1)

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        return int(self._runner.addresses[0][1])

    async def _metrics(self, _request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self._render_timeout), self._rendering:
                body = await asyncio.to_thread(self._render)
        except TimeoutError:
            text = f"the metrics were not ready within {self._render_timeout:g} s"
            return web.Response(status=503, text=text)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _answering(probes: Mapping[str, Probe]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        verdicts = {name: _ask(name, probe) for name, probe in probes.items()}
        fine = all(verdict == OK for verdict in verdicts.values())
        return web.json_response({"ok": fine, "checks": verdicts}, status=200 if fine else 503)

    return answer


def _ask(name: str, probe: Probe) -> str:
    try:
        return probe() or OK
    except Exception as error:
        # Whatever a probe raises, the kubelet must get an answer, and it must not be a good one.
        logger.exception("a probe failed", extra={"fields": {"probe": name}})
        return f"the probe failed: {type(error).__name__}: {error}"
