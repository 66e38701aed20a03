"""Connections: addresses, TLS, login."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Target
from databosun.engines.reaching import resolve
from databosun.engines.redis.faults import connect_fault, handshake_fault, reply_fault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire

CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: `host` as given or announced (TLS checks it), `address` as resolved."""

    host: str
    port: int
    address: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" ({self.address})" if self.address != self.host else "")


def endpoints_of(host: str, port: int) -> tuple[Endpoint, ...]:
    """One for each address of a name. WorldFault(UnknownHost)."""
    return tuple(Endpoint(host, port, address) for address in resolve(host, port))


def open_wire(
    target: Target,
    endpoint: Endpoint,
    pulse: Callable[[], None] = lambda: None,
    *,
    login: bool = True,
    seconds: float = CONNECT_SECONDS,
) -> Wire:
    """Connect and log in, each within `seconds`. UserFault or WorldFault says what was refused and how to mend it."""
    where = str(endpoint)
    try:
        plain = socket.create_connection((endpoint.address, endpoint.port), timeout=seconds)
    except OSError as error:
        raise connect_fault(error, where) from error
    try:
        _keep_alive(plain)
        connection = _secured(target, plain, endpoint.host)
    except TimeoutError as error:
        plain.close()
        raise handshake_fault(where) from error
    except OSError as error:
        plain.close()
        raise connect_fault(error, where) from error
    except DatabosunError:
        plain.close()
        raise
    wire = Wire(connection, where, pulse)
    try:
        if login:
            _log_in(wire, target, seconds)
    except BaseException:
        wire.close()
        raise
    return wire


def _log_in(wire: Wire, target: Target, seconds: float) -> None:
    credentials = target.credentials
    if not credentials.password:
        return
    arguments = (credentials.username, credentials.password) if credentials.username else (credentials.password,)
    try:
        wire.call("AUTH", *arguments, seconds=seconds)
    except ReplyError as error:
        raise reply_fault(error, f"logging in to {wire.where} as {credentials.username or 'default'}", "") from error


def _secured(target: Target, plain: socket.socket, host: str) -> socket.socket:
    mode = target.database.tls
    if mode is TLSMode.DISABLE:
        return plain
    credentials = target.credentials
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode is TLSMode.VERIFY_FULL
    if mode is TLSMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    elif credentials.ca is None:
        raise UserFault(Reason.TLS_FAILURE, f"tls.mode {mode} needs the authority's certificate in tls.caSecretRef")
    else:
        context.load_verify_locations(cafile=credentials.ca)
    if credentials.cert and credentials.key:
        context.load_cert_chain(credentials.cert, credentials.key)
    return context.wrap_socket(plain, server_hostname=host)


def _keep_alive(connection: socket.socket) -> None:
    """Notice a peer that is gone within about a minute, also while only reading."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
