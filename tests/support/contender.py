"""An operator reduced to its Lease, as a process that can be killed: `python contender.py KUBECONFIG NAMESPACE NAME`.

Says `leading` once it leads and `lost` when it no longer does. SIGTERM ends it cleanly, SIGKILL does not.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from databosun.domain.lease import LeaseTiming
from databosun.kube.client import KubeClient
from databosun.kube.lease import KubeLease
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from databosun.runtime.clock import Clock, SystemClock
from databosun.runtime.leader import Leader, LeaseLost

# Shorter than the real spans, so that a takeover takes seconds, and long enough for a busy machine.
QUICK = LeaseTiming(duration=15, renew_every=0.5, give_up_after=12.0, fresh_for=8.0)


def leader(
    kubeconfig: str, namespace: str, name: str, clock: Clock, patience: float = 5.0
) -> tuple[Leader, KubeClient]:
    """A contender for the Lease `tests` of the namespace; `patience`: seconds that a request may take."""
    settings = TransportSettings(threads=2, connect_timeout=patience, read_timeout=patience, total_timeout=patience)
    client = KubeClient(Transport(load_configuration(kubeconfig), settings))
    return Leader(KubeLease(client, namespace, "tests"), name, clock, QUICK), client


async def main(kubeconfig: str, namespace: str, name: str) -> None:
    one, client = leader(kubeconfig, namespace, name, SystemClock())
    work = asyncio.ensure_future(_lead(one))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    await asyncio.wait({work})
    await one.release()
    client.close()


async def _lead(one: Leader) -> None:
    try:
        await one.acquire()
        _say("leading")
        await one.hold()
    except LeaseLost:
        _say("lost")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
