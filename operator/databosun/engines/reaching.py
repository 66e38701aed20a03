"""How a server is reached, the same for every engine: addresses of a name, and one error for several hosts."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, WorldFault

LOOK_UP_SECONDS = 10.0


def resolve(host: str, port: int, *, seconds: float = LOOK_UP_SECONDS) -> tuple[str, ...]:
    """The addresses of a name. In a thread of its own: the C resolver cannot be interrupted and may take minutes."""
    answer: queue.Queue[tuple[str, ...] | OSError] = queue.Queue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            answer.put(error)
        else:
            answer.put(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    try:
        got = answer.get(timeout=seconds)
    except queue.Empty:
        message = f"looking up {host} took more than {seconds:.0f} s; check the cluster's DNS and spec.connection.host"
        raise WorldFault(Reason.UNKNOWN_HOST, message) from None
    if isinstance(got, OSError):
        message = f"{host} has no address: {got}; check spec.connection.host"
        raise WorldFault(Reason.UNKNOWN_HOST, message) from got
    return got


def combined(errors: Sequence[DatabosunError]) -> DatabosunError:
    """One error for all hosts: definite (UserFault) only where every host said so."""
    if not errors:
        return WorldFault(Reason.CONNECT_FAILED, "no host of spec.connection names a server")
    if len(errors) == 1:
        return errors[0]
    text = " | ".join(fault.message for fault in errors)
    first = next((fault for fault in errors if isinstance(fault, WorldFault)), errors[0])
    return type(first)(first.reason, text)
